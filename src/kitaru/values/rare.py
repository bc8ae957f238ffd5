"""Types of the standard library that are imported when the first of them is met: they cost 20 ms at start."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from kitaru.values.json_text import Json
from kitaru.values.walk import Decoder, Encoder, Reader, Refused, Writer


def encoder_for(cls: type) -> Encoder | None:
    """The encoder of an exact type, None where it is not one of these."""
    return _ENCODERS.get(cls)


def _fraction(value: Fraction, write: Writer) -> Json:
    return {"$fraction": [write.tree(value.numerator), write.tree(value.denominator)]}


def _read_fraction(payload: Json, read: Reader) -> object:
    return Fraction(*read.value(payload))


def _zone(value: Any, _write: Writer) -> Json:
    if value.key is None:
        raise Refused("a time zone without a name cannot be found again. Use ZoneInfo('Area/City').")
    return {"$zoneinfo": value.key}


_ENCODERS: dict[type, Encoder] = {
    Decimal: lambda value, _write: {"$decimal": str(value)},
    Fraction: _fraction,
    UUID: lambda value, _write: {"$uuid": str(value)},
    ZoneInfo: _zone,
}

DECODERS: dict[str, Decoder] = {
    "decimal": lambda payload, _read: Decimal(payload),
    "fraction": _read_fraction,
    "uuid": lambda payload, _read: UUID(payload),
    "zoneinfo": lambda payload, _read: ZoneInfo(payload),
}
