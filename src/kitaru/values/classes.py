"""Instances of users' classes: enums, named tuples, dataclasses, attrs.

Each is recorded as its class's reference and its fields by name, and restored without running its
``__init__``: what comes back is what was recorded, not what a constructor makes of it today.
A field that the class has gained since takes its default; one that it has lost is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import Enum, Flag
from functools import cached_property
from types import MemberDescriptorType
from typing import Any, TypeAlias

from kitaru.errors import KitaruSerializationError
from kitaru.values.builtin import class_or_function
from kitaru.values.json_text import Json
from kitaru.values.references import reference
from kitaru.values.walk import Decoder, Encoder, Reader, Refused, Writer

_HEAP_TYPE = 1 << 9
_HASH_OF_ATTRS = "_attrs_cached_hash"  # hashes differ from process to process

Fields: TypeAlias = Mapping[str, Callable[[Any], object] | None]
"""The fields of a class, each with what makes its default for an instance; None where it has none."""


def encoder_for(cls: Any) -> Encoder | None:
    """The encoder of a class, made from its kind; None where it is of none. Raises ``Refused``."""
    if issubclass(cls, type):
        return class_or_function
    if issubclass(cls, Enum):
        return _enum_encoder(cls)
    if issubclass(cls, BaseException):
        return None
    if tuple in cls.__mro__ and hasattr(cls, "_field_defaults"):
        return _namedtuple_encoder(cls)
    if hasattr(cls, "__attrs_attrs__"):
        return _fields_encoder("attrs", cls, _attrs_fields(cls))
    if dataclasses.is_dataclass(cls):
        return _fields_encoder("dataclass", cls, _dataclass_fields(cls))  # pyright: ignore[reportArgumentType]
    return None


# ── enums and named tuples ───────────────────────────────────────────────────────────────────────


def _enum_encoder(cls: type[Enum]) -> Encoder:
    named = reference(cls)
    if issubclass(cls, Flag):
        return lambda value, write: {"$flag": [named, write.tree(value.value)]}

    def encode(value: Enum, write: Writer) -> Json:
        if cls.__members__.get(value.name) is not value:
            raise Refused(f"{value!r} is no member of {named}. Define it there.")
        return {"$enum": [named, write.tree(value.name)]}

    return encode


def _read_enum(payload: Json, read: Reader) -> object:
    return _subclass(read, payload[0], Enum)[read.value(payload[1])]


def _read_flag(payload: Json, read: Reader) -> object:
    return _subclass(read, payload[0], Flag)(read.value(payload[1]))


def _subclass(read: Reader, named: str, base: type) -> Any:
    cls = read.resolve(named)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise TypeError(f"{named} is no {base.__name__} any more")
    return cls


def _namedtuple_encoder(cls: Any) -> Encoder:
    named, names, slots = reference(cls), tuple(cls._fields), slots_of(cls)

    def encode(value: Any, write: Writer) -> Json:
        for name in state_of(value, slots):
            raise _undeclared(cls, name)
        return {"$namedtuple": [named, write.attributes(value, dict(zip(names, value, strict=True)))]}

    return encode


def _read_namedtuple(payload: Json, read: Reader) -> object:
    cls = _subclass(read, payload[0], tuple)
    makers = {name: _constant(default) for name, default in cls._field_defaults.items()}
    fields = {name: makers.get(name) for name in cls._fields}
    values = read_fields(payload, fields, read)
    ordered = [values[name] if name in values else makers[name](None) for name in fields]
    return tuple.__new__(cls, ordered)  # pyright: ignore[reportUnknownMemberType]  # tuple of what is not known here


# ── instances with declared fields ───────────────────────────────────────────────────────────────


def _fields_encoder(tag: str, cls: type, fields: Fields) -> Encoder:
    named, slots = reference(cls), slots_of(cls)
    check_no_hidden_state(cls)

    def encode(value: object, write: Writer) -> Json:
        state = declared_state(value, slots, fields)
        return {f"${tag}": [named, write.attributes(value, state)]}

    return encode


def _fields_decoder(kind: str, fields_of: Callable[[Any], Fields]) -> Decoder:
    def decode(payload: Json, read: Reader) -> object:
        cls = read.resolve(payload[0])
        if not hasattr(cls, kind):
            raise TypeError(f"{payload[0]} is of another kind now")
        fields = fields_of(cls)
        values = read_fields(payload, fields, read)
        instance = object.__new__(cls)
        for name, value in values.items():
            object.__setattr__(instance, name, value)  # the class may be frozen
        for name, make in fields.items():
            if name not in values and make is not None:
                object.__setattr__(instance, name, make(instance))
        return instance

    return decode


def read_fields(payload: Json, fields: Fields, read: Reader) -> dict[str, Any]:
    """The recorded fields of an instance. Raises where the class has lost one of them."""
    named, trees = payload[0], payload[1]
    lost = [name for name in trees if name not in fields]
    if lost:
        raise KitaruSerializationError(
            f"{named} has no field {lost[0]!r} any more, but a recorded value has one. Restore the field, "
            "or start a new execution."
        )
    return {name: read.value(tree) for name, tree in trees.items()}


def slots_of(cls: type) -> dict[str, MemberDescriptorType]:
    """The slots of a class and its bases."""
    found: dict[str, MemberDescriptorType] = {}
    for base in cls.__mro__:
        for name, slot in vars(base).items():
            if isinstance(slot, MemberDescriptorType):
                found.setdefault(name, slot)
    return found


def state_of(value: object, slots: Mapping[str, MemberDescriptorType]) -> dict[str, object]:
    """All attributes of an instance itself, but for caches and for what ``typing`` leaves there."""
    state: dict[str, object] = {}
    for name, slot in slots.items():
        try:
            state[name] = slot.__get__(value)
        except AttributeError:
            continue  # the slot is not set
    state.update(getattr(value, "__dict__", ()))
    for name in list(state):
        if name == "__orig_class__" or isinstance(getattr(type(value), name, None), cached_property):
            del state[name]
    return state


def declared_state(value: object, slots: Mapping[str, MemberDescriptorType], fields: Fields) -> dict[str, object]:
    """The state of an instance in the order of its fields. Raises ``Refused`` for any other attribute."""
    state = state_of(value, slots)
    if state.get(_HASH_OF_ATTRS) is not None:
        state[_HASH_OF_ATTRS] = None
    for name in state:
        if name not in fields:
            raise _undeclared(type(value), name)
    return {name: state[name] for name in fields if name in state}


def _undeclared(cls: type, name: str) -> Refused:
    return Refused(
        f"its attribute {name!r} is no declared field of {cls.__qualname__}. Declare it there, do not set it, "
        "or register a codec for the class."
    )


def is_heap_type(cls: type) -> bool:
    """True for classes that are made at run time, as all are that are written in Python."""
    return bool(cls.__flags__ & _HEAP_TYPE)


def check_no_hidden_state(cls: type) -> None:
    """Raise ``Refused`` where a class derives from one that keeps content outside of fields, such as dict."""
    for base in cls.__mro__:
        if base is not object and not is_heap_type(base):
            raise Refused(
                f"{cls.__qualname__} derives from {base.__name__}, whose content is no field. "
                "Hold it in a field, or register a codec for the class."
            )


def _constant(value: object) -> Callable[[Any], object]:
    return lambda _instance: value


def _dataclass_fields(cls: Any) -> Fields:
    return {field.name: _dataclass_default(field) for field in dataclasses.fields(cls)}


def _dataclass_default(field: dataclasses.Field[Any]) -> Callable[[Any], object] | None:
    if field.default is not dataclasses.MISSING:
        return _constant(field.default)
    factory = field.default_factory
    return None if factory is dataclasses.MISSING else lambda _instance: factory()


def _attrs_fields(cls: Any) -> Fields:
    fields = {attribute.name: _attrs_default(attribute.default) for attribute in cls.__attrs_attrs__}
    return {**fields, _HASH_OF_ATTRS: None}


def _attrs_default(default: Any) -> Callable[[Any], object] | None:
    kind = type(default).__name__  # told apart by name: attrs is not to be imported for it
    if kind == "Factory":
        return default.factory if default.takes_self else lambda _instance: default.factory()
    return None if kind == "_Nothing" else _constant(default)


DECODERS: dict[str, Decoder] = {
    "enum": _read_enum,
    "flag": _read_flag,
    "namedtuple": _read_namedtuple,
    "attrs": _fields_decoder("__attrs_attrs__", _attrs_fields),
    "dataclass": _fields_decoder("__dataclass_fields__", _dataclass_fields),
}
