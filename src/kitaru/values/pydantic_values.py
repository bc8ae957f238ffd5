"""Pydantic (v2): models, the URLs that they hold, and ``ValidationError``.

A model is its fields, extras, private attributes and which fields were set. It is restored without
validation, so that it equals what was recorded even where its validators change or reject their own
output. Pydantic itself is imported here only for what cannot be had from the class.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Any

from kitaru.core.references import resolve
from kitaru.values.classes import check_no_hidden_state, declared_state, read_fields, slots_of
from kitaru.values.json_text import Json
from kitaru.values.references import reference
from kitaru.values.walk import Decoder, Encoder, Reader, Refused, Step, Writer

_EXTRA, _PRIVATE, _SET = "__pydantic_extra__", "__pydantic_private__", "__pydantic_fields_set__"


def encoder_for(cls: type) -> Encoder | None:
    """The encoder of a model, a URL or a ``ValidationError``; None for any other class. Raises ``Refused``."""
    if hasattr(cls, "__pydantic_generic_metadata__"):
        return _model_encoder(cls)
    if cls.__module__ == "pydantic_core._pydantic_core" and cls.__name__ == "ValidationError":
        return _validation_error
    if any(base.__module__ == "pydantic.networks" and base.__name__ == "_BaseUrl" for base in cls.__mro__):
        return _url
    return None


# ── models ───────────────────────────────────────────────────────────────────────────────────────


def _model_encoder(cls: Any) -> Encoder:
    named, slots = _class_tree(cls), slots_of(cls)
    check_no_hidden_state(cls)
    fields = _fields(cls)
    own = dict.fromkeys((_EXTRA, _PRIVATE, _SET))

    def encode(value: Any, write: Writer) -> Json:
        state = declared_state(value, slots, {**fields, **own})
        extra, private = state.pop(_EXTRA, None), state.pop(_PRIVATE, None)
        given: Any = state.pop(_SET, ())
        more: dict[str, Json] = {}
        if set(given) != state.keys():
            more["set"] = sorted(given)
        if extra is not None:
            more["extra"] = write.part(value, Step.ATTRIBUTE, "model_extra", extra)
        if private is not None:
            more["private"] = write.part(value, Step.ATTRIBUTE, _PRIVATE, private)
        return {"$pydantic.model": [named, write.attributes(value, state), more]}

    return encode


def _read_model(payload: Json, read: Reader) -> object:
    cls: Any = _read_class(payload[0], read.resolve)
    fields, more = _fields(cls), payload[2]
    values = read_fields(payload, fields, read)
    given = set(more["set"]) if "set" in more else set(values)
    for name, make in fields.items():
        if name not in values and make is not None:
            values[name] = make(None)
    model = cls.__new__(cls)
    object.__setattr__(model, "__dict__", values)
    object.__setattr__(model, _SET, given)
    object.__setattr__(model, _EXTRA, read.value(more["extra"]) if "extra" in more else None)
    object.__setattr__(model, _PRIVATE, read.value(more["private"]) if "private" in more else None)
    return model


def _fields(cls: Any) -> dict[str, Callable[[Any], object] | None]:
    return {name: _default(info) for name, info in cls.model_fields.items()}


def _default(info: Any) -> Callable[[Any], object] | None:
    return None if info.is_required() else lambda _model: info.get_default(call_default_factory=True)


# ── classes, generic ones included ───────────────────────────────────────────────────────────────


def _class_tree(cls: Any) -> Json:
    """A model class: its reference, or for ``Box[int]`` the reference of ``Box`` and its arguments."""
    metadata = cls.__pydantic_generic_metadata__
    if not metadata["origin"]:
        return reference(cls)
    tree = [reference(metadata["origin"]), [_annotation_tree(argument) for argument in metadata["args"]]]
    if _read_class(tree, resolve) is not cls:
        raise Refused(f"{cls.__qualname__} cannot be made again from its parts. Derive a named class from it.")
    return tree


def _read_class(tree: Json, find: Callable[[str], Any]) -> Any:
    if isinstance(tree, str):
        cls = find(tree)
    else:
        cls = find(tree[0])[tuple(_read_annotation(argument, find) for argument in tree[1])]
    if not hasattr(cls, "__pydantic_generic_metadata__"):
        raise TypeError(f"{tree} is no Pydantic model any more")
    return cls


def _annotation_tree(annotation: Any) -> Json:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is types.NoneType:
        return None
    if annotation is ...:
        return ["..."]
    if origin is typing.Literal:
        return ["literal", list(arguments)]
    if origin in (typing.Union, types.UnionType):
        # Pydantic makes two classes of Box[int | None] and Box[Optional[int]].
        return ["|" if origin is types.UnionType else "union", [_annotation_tree(argument) for argument in arguments]]
    if origin is not None:
        return [reference(origin), [_annotation_tree(argument) for argument in arguments]]
    if hasattr(annotation, "__pydantic_generic_metadata__"):
        return _class_tree(annotation)
    if isinstance(annotation, type) or annotation is Any:
        return reference(annotation)
    raise Refused(f"its class has the type argument {annotation!r}. Derive a named class from it.")


def _read_annotation(tree: Json, find: Callable[[str], Any]) -> Any:
    if tree is None or isinstance(tree, str):
        return tree if tree is None else find(tree)
    if tree[0] == "...":
        return ...
    if tree[0] == "literal":
        return typing.Literal[tuple(tree[1])]
    arguments = tuple(_read_annotation(argument, find) for argument in tree[1])
    if tree[0] == "|":
        return functools.reduce(lambda left, right: left | right, arguments)
    return typing.Union[arguments] if tree[0] == "union" else find(tree[0])[arguments]  # noqa: UP007  # not known here


# ── URLs and errors ──────────────────────────────────────────────────────────────────────────────


def _url(value: Any, _write: Writer) -> Json:
    text = str(value)
    if value.__class__(text) != value:
        raise Refused("its text does not lead back to it. Record the text.")
    return {"$pydantic.url": [reference(value.__class__), text]}


def _read_url(payload: Json, read: Reader) -> object:
    return read.resolve(payload[0])(payload[1])


def _validation_error(value: Any, write: Writer) -> Json:
    """The one exception that has no constructor: made again from its list of errors."""
    lines = [
        {
            "type": line["type"],
            "loc": line["loc"],
            "msg": line["msg"],
            "input": line["input"],
            "ctx": line.get("ctx", {}),
        }
        for line in value.errors(include_url=False)
    ]
    if str(_make_validation_error(value.title, lines)) != str(value):
        raise Refused("it cannot be made again from its list of errors. Record error.errors().")
    return {"$pydantic.error": [value.title, write.part(value, Step.ATTRIBUTE, "errors()", lines)]}


def _read_validation_error(payload: Json, read: Reader) -> object:
    return _make_validation_error(payload[0], read.value(payload[1]))


def _make_validation_error(title: str, lines: list[dict[str, Any]]) -> object:
    # Only here: a process that has no ValidationError in hand need not have Pydantic.
    from pydantic_core import PydanticCustomError, PydanticKnownError, ValidationError  # noqa: PLC0415

    details: list[Any] = []
    for line in lines:
        kind: Any = line["type"]
        context: dict[str, Any] = line["ctx"]
        try:
            PydanticKnownError(kind, context)
        except KeyError:  # a validator's own kind of error; its message is complete, a template without holes
            kind, context = PydanticCustomError(kind, line["msg"]), {}
        details.append({"type": kind, "loc": line["loc"], "input": line["input"], "ctx": context})
    error = ValidationError.from_exception_data(title, details)
    error.args = ()  # as a failed validation has it
    return error


DECODERS: dict[str, Decoder] = {
    "pydantic.model": _read_model,
    "pydantic.url": _read_url,
    "pydantic.error": _read_validation_error,
}
