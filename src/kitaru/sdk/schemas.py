"""What an answer has to look like (S5.1): a JSON schema for whoever answers, and the way back to a value."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from kitaru.core.references import is_local, reference_of, resolve
from kitaru.engine.answers import adapter_of, misfits
from kitaru.errors import KitaruNotFoundError, KitaruUsageError


class AnswerType(NamedTuple):
    """``schema``: JSON schema as text, None for a gate. ``restore`` makes the value of a validated answer.

    ``check`` raises ``ValueError`` for a default that would be refused as an answer. ``reference`` is that of the
    type, None where it has none by which another process can find it.
    """

    schema: str | None
    restore: Callable[[Any], Any]
    check: Callable[[Any], Any]
    reference: str | None = None


def answer_type(schema: object) -> AnswerType:
    """The answer type that a ``schema=`` argument means.

    Args:
        schema: None for a continue/abort gate, a JSON schema as a mapping, or anything that Pydantic
            can validate: a type (``bool``, ``Literal["yes", "no"]``), a dataclass, a model.

    Raises:
        KitaruUsageError: It is none of these, or no valid JSON schema.
    """
    if schema is None:
        return AnswerType(None, _as_it_is, _as_it_is)
    if isinstance(schema, Mapping):
        text = _checked(dict(cast("Mapping[str, Any]", schema)))
        return AnswerType(text, _as_it_is, partial(_fit, text))
    return _from_type(schema)


def _as_it_is(answer: Any) -> Any:
    return answer


def _fit(schema: str, default: Any) -> None:
    errors = misfits(schema, default)
    if errors:
        raise ValueError("; ".join(errors))


def _from_type(schema: object) -> AnswerType:
    import pydantic  # noqa: PLC0415  # 70 ms to import, and only typed waits need it

    try:
        adapter, text = adapter_of(schema)
    except (pydantic.PydanticUserError, TypeError) as error:
        raise KitaruUsageError(
            f"kitaru.wait(schema={schema!r}): no JSON schema can be made of it: {error}. "
            "Give a type that Pydantic knows, a model, a dataclass, or a JSON schema as a dict."
        ) from error
    return AnswerType(text, adapter.validate_python, adapter.validate_python, _reference(schema))


def _reference(kind: object) -> str | None:
    if not isinstance(kind, type) or kind.__module__ == "builtins" or is_local(kind.__qualname__):
        return None
    reference = reference_of(kind.__module__, kind.__qualname__)
    try:
        return reference if resolve(reference) is kind else None
    except KitaruNotFoundError:
        return None


def _checked(schema: dict[str, Any]) -> str:
    # 60 ms to import, and only waits need it.
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415

    try:
        validator_for(schema).check_schema(schema)
        return json.dumps(schema, sort_keys=True)
    except SchemaError as error:
        raise KitaruUsageError(
            f"kitaru.wait(schema=...) is no valid JSON schema: {error.json_path}: {error.message}."
        ) from error
    except (TypeError, ValueError) as error:
        raise KitaruUsageError(f"kitaru.wait(schema=...) is no valid JSON schema: {error}.") from error
