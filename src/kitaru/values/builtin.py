"""The types of the language itself and the common ones of its standard library (S4.1)."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

from kitaru.core import redaction
from kitaru.values.json_text import INT_LIMIT, LEAF_LIMIT, Json, is_unicode
from kitaru.values.references import reference
from kitaru.values.walk import Decoder, Encoder, Leaf, Reader, Refused, Step, Writer


def _same(value: Any, _write: Writer) -> Json:
    return value


def _int(value: int, _write: Writer) -> Json:
    return value if -INT_LIMIT < value < INT_LIMIT else {"$int": hex(value)}


def _float(value: float, _write: Writer) -> Json:
    return value if value - value == 0 else {"$float": repr(value)}  # inf - inf is nan


def _str(value: str, write: Writer) -> Json:
    if redaction.present is not None:
        value = write.without_secrets(value)
    if len(value) > LEAF_LIMIT or not is_unicode(value):
        return write.leaf("str", value.encode("utf-8", "surrogatepass"))
    return value


def _read_str(data: bytes) -> object:
    return data.decode("utf-8", "surrogatepass")


def _list(value: list[object], write: Writer) -> Json:
    return write.items(value, value)


def _dict(value: dict[Any, object], write: Writer) -> Json:
    for key in value:
        if type(key) is not str or key[:1] == "$" or not is_unicode(key):
            return {"$dict": _pairs(value, write)}
    if redaction.present is not None:
        return {write.without_secrets(key): write.part(value, Step.ITEM, key, item) for key, item in value.items()}
    return {key: write.part(value, Step.ITEM, key, item) for key, item in value.items()}


def _pairs(value: dict[Any, object], write: Writer) -> list[Json]:
    return [
        [write.part(value, Step.KEY, key, key), write.part(value, Step.ITEM, key, item)] for key, item in value.items()
    ]


def _read_pairs(payload: Json, read: Reader) -> dict[Any, object]:
    return {read.value(key): read.value(item) for key, item in payload}


# ── containers ───────────────────────────────────────────────────────────────────────────────────


def _defaultdict(value: collections.defaultdict[Any, object], write: Writer) -> Json:
    factory = write.part(value, Step.ATTRIBUTE, "default_factory", value.default_factory)
    return {"$defaultdict": [factory, _dict(value, write)]}


def _read_defaultdict(payload: Json, read: Reader) -> object:
    return collections.defaultdict(read.value(payload[0]), read.value(payload[1]))


def _read_counter(payload: Json, read: Reader) -> object:
    counts: dict[Any, int] = read.value(payload)
    return collections.Counter(counts)


def _deque(value: collections.deque[object], write: Writer) -> Json:
    return {"$deque": [write.items(value, value), value.maxlen]}


def _read_deque(payload: Json, read: Reader) -> object:
    return collections.deque(read.value(payload[0]), payload[1])


def _range(value: range, write: Writer) -> Json:
    return {"$range": [_int(number, write) for number in (value.start, value.stop, value.step)]}


def _complex(value: complex, write: Writer) -> Json:
    return {"$complex": [_float(value.real, write), _float(value.imag, write)]}


# ── date and time ────────────────────────────────────────────────────────────────────────────────


def _clock_time(tag: str) -> Encoder:
    def encode(value: datetime | time, write: Writer) -> Json:
        zone = value.tzinfo
        if zone is None or (type(zone) is timezone and _unnamed(zone)):
            text = value.isoformat()
            return {f"${tag}": [text, None, 1] if value.fold else text}
        zone_tree = write.part(value, Step.ATTRIBUTE, "tzinfo", zone)
        return {f"${tag}": [value.replace(tzinfo=None).isoformat(), zone_tree, value.fold]}

    return encode


def _unnamed(zone: timezone) -> bool:
    return zone.tzname(None) == timezone(zone.utcoffset(None)).tzname(None)


def _read_clock_time(cls: type[datetime] | type[time]) -> Decoder:
    def decode(payload: Json, read: Reader) -> object:
        if type(payload) is str:
            return cls.fromisoformat(payload)
        text, zone, fold = payload
        at: Any = cls.fromisoformat(text).replace(fold=fold)
        return at if zone is None else at.replace(tzinfo=read.value(zone))

    return decode


def _timedelta(value: timedelta, _write: Writer) -> Json:
    return {"$timedelta": [value.days, value.seconds, value.microseconds]}


def _timezone(value: timezone, write: Writer) -> Json:
    offset = _timedelta(value.utcoffset(None), write)["$timedelta"]
    return {"$timezone": [offset, None if _unnamed(value) else _str(value.tzname(None), write)]}


def _read_timezone(payload: Json, read: Reader) -> object:
    offset, name = timedelta(*payload[0]), read.value(payload[1])
    return timezone(offset) if name is None else timezone(offset, name)


# ── paths, classes, functions ────────────────────────────────────────────────────────────────────


def _path(value: pathlib.PurePath, write: Writer) -> Json:
    return {"$path": [type(value).__name__, _str(str(value), write)]}


def _read_path(payload: Json, read: Reader) -> object:
    if payload[0] not in _PATHS:
        raise ValueError(f"{payload[0]} is no kind of path")
    return getattr(pathlib, payload[0])(read.value(payload[1]))


_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


def class_or_function(value: Any, _write: Writer) -> Json:
    """A class or a module-level function, by its name. What it does is not part of the record."""
    return {"$ref": reference(value)}


def _read_ref(payload: Json, read: Reader) -> object:
    return read.resolve(payload)


class Opaque:
    """Stands for an input that could not be digested (S3.4), in inputs that are read back.

    Attributes:
        reference: The type of the input, as ``module:Class``.
    """

    __slots__ = ("reference",)

    def __init__(self, reference: str) -> None:
        self.reference = reference

    def __repr__(self) -> str:
        return f"Opaque({self.reference!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)


def _opaque(value: Opaque, write: Writer) -> Json:
    if not write.allow_opaque:
        raise Refused(f"it stands for a {value.reference} that was not recorded. Pass the object itself.")
    write.opaque = True
    return {"$opaque": value.reference}


def _tagged(tag: str, make: Callable[[Any, Writer], Json]) -> Encoder:
    return lambda value, write: {f"${tag}": make(value, write)}


def _leaf(tag: str) -> Encoder:
    return lambda value, write: write.leaf(tag, bytes(value))


ENCODERS: dict[type, Encoder] = {
    NoneType: _same,
    bool: _same,
    int: _int,
    float: _float,
    str: _str,
    list: _list,
    dict: _dict,
    bytes: _leaf("bytes"),
    bytearray: _leaf("bytearray"),
    tuple: _tagged("tuple", lambda value, write: write.items(value, value)),
    set: _tagged("set", lambda value, write: write.elements(value)),
    frozenset: _tagged("frozenset", lambda value, write: write.elements(value)),
    complex: _complex,
    range: _range,
    collections.OrderedDict: _tagged("ordered_dict", _pairs),
    collections.Counter: _tagged("counter", _dict),
    collections.defaultdict: _defaultdict,
    collections.deque: _deque,
    datetime: _clock_time("datetime"),
    time: _clock_time("time"),
    date: _tagged("date", lambda value, _write: value.isoformat()),
    timedelta: _timedelta,
    timezone: _timezone,
    **{getattr(pathlib, name): _path for name in _PATHS},
    type: class_or_function,
    FunctionType: class_or_function,
    BuiltinFunctionType: class_or_function,
    Opaque: _opaque,
}

DECODERS: dict[str, Decoder] = {
    "int": lambda payload, _read: int(payload, 16),
    "float": lambda payload, _read: float(payload),
    "str": Leaf(_read_str),
    "bytes": Leaf(bytes),
    "bytearray": Leaf(bytearray),
    "dict": _read_pairs,
    "tuple": lambda payload, read: tuple(read.value(payload)),
    "set": lambda payload, read: set(read.value(payload)),
    "frozenset": lambda payload, read: frozenset(read.value(payload)),
    "complex": lambda payload, read: complex(*read.value(payload)),
    "range": lambda payload, read: range(*read.value(payload)),
    "ordered_dict": lambda payload, read: collections.OrderedDict(_read_pairs(payload, read)),
    "counter": _read_counter,
    "defaultdict": _read_defaultdict,
    "deque": _read_deque,
    "datetime": _read_clock_time(datetime),
    "time": _read_clock_time(time),
    "date": lambda payload, _read: date.fromisoformat(payload),
    "timedelta": lambda payload, _read: timedelta(*payload),
    "timezone": _read_timezone,
    "path": _read_path,
    "ref": _read_ref,
    "opaque": lambda payload, _read: Opaque(payload),
}
