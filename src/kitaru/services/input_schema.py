"""What a flow takes, as a JSON schema, so that it can be invoked with no source at hand (S8.2)."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from kitaru.engine.answers import misfits
from kitaru.errors import KitaruUsageError

EXTRA = "x-kitaru-collects"
"""Marks the property that collects further inputs: the ``**kwargs`` of the flow."""

_ANY_COUNT = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def input_schema(fn: Callable[..., Any]) -> dict[str, Any]:
    """The schema of a flow's inputs: an object with a property for each parameter.

    A parameter without a type, or with one that JSON cannot express, takes anything.
    """
    # 70 ms to import, and only who deploys needs it.
    from pydantic import TypeAdapter  # noqa: PLC0415

    parameters = inspect.signature(fn).parameters
    adapters = {name: adapter for name, type_ in _types(fn).items() if (adapter := _adapter(type_)) is not None}
    known, shared = TypeAdapter.json_schemas(
        [(name, "validation", adapter) for name, adapter in adapters.items()], ref_template="#/$defs/{model}"
    )
    properties = {
        name: _property(parameter, dict(known.get((name, "validation"), {}))) for name, parameter in parameters.items()
    }
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in _ANY_COUNT
    ]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return schema | ({"$defs": shared["$defs"]} if "$defs" in shared else {})


def placed(schema: Mapping[str, Any], given: Mapping[str, object]) -> dict[str, object]:
    """Inputs by parameter: those that no parameter is named after go to the one that collects them, if there is one."""
    properties: Mapping[str, Any] = schema["properties"]
    extra = next((name for name, one in properties.items() if EXTRA in one), None)
    if extra is None:
        return dict(given)
    named = {name: value for name, value in given.items() if name in properties and name != extra}
    further = {name: given[name] for name in sorted(given) if name not in named}
    return {**named, extra: further} if further else named


def check_inputs(schema: Mapping[str, Any], inputs: Mapping[str, object], owner: str, *, whole: bool) -> None:
    """Raise one ``KitaruUsageError`` that lists everything in which inputs do not fit.

    Args:
        schema: Of ``input_schema``.
        inputs: By parameter.
        owner: For the message.
        whole: Whether required ones must be there.
    """
    properties: Mapping[str, Any] = schema["properties"]
    wrong = [f"{name} is missing" for name in schema["required"] if whole and name not in inputs]
    wrong += [_unknown(name, properties) for name in inputs if name not in properties]
    # A value that is no JSON is of the caller's own type; only the flow can tell whether it fits.
    known = {name: _as_json(given) for name, given in inputs.items() if name in properties}
    known = {name: value for name, value in known.items() if value is not _NOT_JSON}
    wrong += [one.removeprefix("$.") for one in misfits(json.dumps({**schema, "required": []}), known)]
    if wrong:
        raise KitaruUsageError(f"the inputs of {owner} do not fit: {'; '.join(wrong)}. Nothing has been recorded.")


def _unknown(name: str, properties: Mapping[str, Any]) -> str:
    near = get_close_matches(name, properties, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(properties) or 'none'}"
    return f"there is no input {name!r} ({hint})"


def _types(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return inspect.get_annotations(fn, eval_str=True)
    except Exception:  # noqa: BLE001  # annotations are user code; one that cannot be read tells nothing
        return {}


def _adapter(type_: Any) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415  # see input_schema
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError  # noqa: PLC0415

    try:
        adapter = TypeAdapter[Any](type_)
        adapter.json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema, TypeError, NameError):
        return None
    return adapter


def _property(parameter: inspect.Parameter, of_type: dict[str, Any]) -> dict[str, Any]:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return {"type": "array", "items": of_type}
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return {"type": "object", "additionalProperties": of_type, EXTRA: True}
    default = _NOT_JSON if parameter.default is inspect.Parameter.empty else _as_json(parameter.default)
    return of_type if default is _NOT_JSON else {**of_type, "default": default}


_NOT_JSON: Any = object()


def _as_json(value: object) -> Any:
    from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415  # see input_schema

    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError):
        return _NOT_JSON
