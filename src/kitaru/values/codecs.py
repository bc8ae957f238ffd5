"""Which codec carries which type: the table, the codecs that users register, and those that come late."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from kitaru.errors import KitaruSerializationError, KitaruUsageError
from kitaru.values import builtin
from kitaru.values.json_text import Json
from kitaru.values.walk import Decoder, Encoder, Reader, Refused, Writer

T = TypeVar("T")

ENTRY_POINT_GROUP = "kitaru.codecs"


class _Registered(NamedTuple):
    type: type
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]


# Owner: this module, under _lock. Process-wide, since a codec belongs to a type and not to a store.
_lock = threading.RLock()
_encoders: dict[type, Encoder] = dict(builtin.ENCODERS)
_decoders: dict[str, Decoder] = dict(builtin.DECODERS)


def encoder_for(cls: type, allow_pickle: bool) -> Encoder:
    """The encoder of an exact type. Raises ``Refused`` where there is none."""
    encode = _encoders.get(cls)
    if encode is not None:
        return encode
    raise Refused(f"a {cls.__module__}.{cls.__qualname__} has no codec.")


def decoder_for(tag: str) -> Decoder:
    """The decoder of a tag."""
    decode = _decoders.get(tag)
    if decode is not None:
        return decode
    raise KitaruSerializationError(f"no codec for ${tag}")
