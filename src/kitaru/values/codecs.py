"""Which codec carries which type: the table, the codecs that users register, and those that come late."""

from __future__ import annotations

import importlib
import pickle
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from kitaru.errors import KitaruSerializationError, KitaruUsageError
from kitaru.values import builtin, classes, exceptions, pydantic_values
from kitaru.values.json_text import Json
from kitaru.values.walk import Decoder, Encoder, Leaf, Reader, Refused, Step, Writer

T = TypeVar("T")

ENTRY_POINT_GROUP = "kitaru.codecs"
"""An entry point of this group is a function without arguments that calls ``register_codec``."""


class _Home(Protocol):
    """A module of codecs that is imported when the first value of its library is met."""

    DECODERS: dict[str, Decoder]

    def encoder_for(self, cls: type) -> Encoder | None: ...


# By the first name of a type's module. Libraries are optional, and what nobody uses is not imported.
_HOME_OF_MODULE = {
    "decimal": "kitaru.values.rare",
    "fractions": "kitaru.values.rare",
    "uuid": "kitaru.values.rare",
    "zoneinfo": "kitaru.values.rare",
    "numpy": "kitaru.values.numpy_values",
    "pandas": "kitaru.values.pandas_values",
    "polars": "kitaru.values.polars_values",
    "pyarrow": "kitaru.values.arrow_values",
    "PIL": "kitaru.values.pillow_values",
}

# By the first name of a tag: "numpy" of "$numpy.array".
_HOME_OF_TAG = {
    "decimal": "kitaru.values.rare",
    "fraction": "kitaru.values.rare",
    "uuid": "kitaru.values.rare",
    "zoneinfo": "kitaru.values.rare",
    "numpy": "kitaru.values.numpy_values",
    "pandas": "kitaru.values.pandas_values",
    "polars": "kitaru.values.polars_values",
    "arrow": "kitaru.values.arrow_values",
    "pillow": "kitaru.values.pillow_values",
}


class _Registered(NamedTuple):
    type: type
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]


# Owner: this module. Process-wide, since a codec belongs to a type and not to a store. Single look-ups and
# assignments need no lock; a class that two threads meet at once gets the same encoder twice.
_encoders: dict[type, Encoder] = dict(builtin.ENCODERS)
_decoders: dict[str, Decoder] = {
    **builtin.DECODERS,
    **classes.DECODERS,
    **exceptions.DECODERS,
    **pydantic_values.DECODERS,
    "pickle": Leaf(pickle.loads),  # the Reader asks whether that is allowed
}

# Owner: this module, under _lock.
_lock = threading.RLock()
_registered: dict[str, _Registered] = {}
_entry_points_loaded = False


def encoder_for(cls: type) -> Encoder:
    """The encoder of an exact type. Raises ``Refused`` where there is none."""
    encode = _encoders.get(cls) or _find_encoder(cls)
    if encode is None:
        _load_entry_points()
        encode = _encoders.get(cls)
    if encode is None:
        name = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
        if hasattr(cls, "__await__"):
            raise Refused(f"a {name} is no value yet. Take its value first: `await` it, or call .result() or .wait().")
        raise Refused(
            f"the type {name} has no exact form. Use plain data that is made from it, or register a codec: "
            f"kitaru.register_codec({cls.__name__}, name=..., encode=..., decode=...)."
        )
    _encoders[cls] = encode
    return encode


def decoder_for(tag: str) -> Decoder:
    """The decoder of a tag. Raises ``KitaruSerializationError`` where there is none."""
    decode = _decoders.get(tag)
    if decode is not None:
        return decode
    home = _HOME_OF_TAG.get(tag.partition(".")[0])
    decode = None if home is None else _import_home(home).DECODERS.get(tag)
    if decode is None:
        raise KitaruSerializationError(
            f"A recorded value has the tag ${tag}, which this version of Kitaru does not know. Upgrade Kitaru."
        )
    _decoders[tag] = decode
    return decode


def register_codec(
    type: type[T],
    *,
    name: str,
    encode: Callable[[T], object],
    decode: Callable[[Any], T],
) -> None:
    """Carry values of one type, in this process, from now on (S4.3).

    The codec holds for exactly this type, not for its subclasses. Call this at the top of the module that
    defines the type, so that every process that meets the type knows it. Registering the same name and
    type again replaces the functions, as happens when a module is reloaded.

    Args:
        type: The type.
        name: What records call the codec. Never change it: old records are found by it.
        encode: Makes of a value any other value that can be carried: a dict, a str, bytes ...
        decode: Makes the value again.

    Raises:
        KitaruUsageError: The name or the type is taken by something else.
    """
    with _lock:
        taken = _registered.get(name)
        if taken is not None and _name_of(taken.type) != _name_of(type):
            raise KitaruUsageError(
                f"register_codec(name={name!r}): the name belongs to {_name_of(taken.type)}. Choose another one."
            )
        other = next((known for known, codec in _registered.items() if codec.type is type and known != name), None)
        if other is not None or type in builtin.ENCODERS:
            raise KitaruUsageError(
                f"register_codec({_name_of(type)}): the type has "
                f"{'a codec of its own' if other is None else f'the codec {other!r} already'}. "
                "One type is carried in one way only."
            )
        _registered[name] = _Registered(type, encode, decode)
        _encoders[type] = _registered_encoder(name, encode)


def _name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _registered_encoder(name: str, encode: Callable[[Any], object]) -> Encoder:
    def encode_registered(value: object, write: Writer) -> Json:
        try:
            plain = encode(value)
        # The user's own function; whatever it raises, the value cannot be recorded, and the path is to be told.
        except Exception as error:
            raise Refused(f"its codec {name!r} raised {type(error).__name__}: {error}.") from error
        return {"$codec": [name, write.part(value, Step.ATTRIBUTE, f"<codec {name}>", plain)]}

    return encode_registered


def _read_registered(payload: Json, read: Reader) -> object:
    name, plain = payload
    if name not in _registered:
        _load_entry_points()
    if name not in _registered:
        raise KitaruSerializationError(
            f"A recorded value needs the codec {name!r}, which is not registered in this process. "
            "Import the module that calls kitaru.register_codec before the value is read."
        )
    return _registered[name].decode(read.value(plain))


_decoders["codec"] = _read_registered


def _find_encoder(cls: type) -> Encoder | None:
    home = _HOME_OF_MODULE.get(cls.__module__.partition(".")[0])
    encode = None if home is None else _import_home(home).encoder_for(cls)
    return encode or pydantic_values.encoder_for(cls) or classes.encoder_for(cls) or exceptions.encoder_for(cls)


def _import_home(name: str) -> _Home:
    return cast("_Home", importlib.import_module(name))


def _load_entry_points() -> None:
    """Let installed packages register their codecs: once, and only when nothing else knows a type or a name."""
    global _entry_points_loaded
    with _lock:
        if _entry_points_loaded:
            return
        _entry_points_loaded = True
        from importlib.metadata import entry_points  # noqa: PLC0415  # 40 ms, and few processes come here

        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            entry_point.load()()
