"""Whether a value fits what a wait asks for: its JSON schema, and the Python type that this was made of (S5.1)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from kitaru.core.references import resolve

if TYPE_CHECKING:
    import pydantic


def misfits(schema: str, value: Any) -> list[str]:
    """Where and why a value does not fit the schema; empty where it does."""
    # 60 ms to import, and only waits need it.
    from jsonschema import FormatChecker  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415

    parsed = json.loads(schema)
    # Formats too: what a type cannot read, a date say, would fail in the body, when it is too late to answer again.
    formats = FormatChecker()
    formats.checks("date-time", ValueError)(_is_time)  # else known only where a further package is installed
    validator = validator_for(parsed)(parsed, format_checker=formats)
    errors = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])
    return [f"{error.json_path}: {error.message}" for error in errors]


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value))


def adapter_of(kind: object) -> tuple[pydantic.TypeAdapter[Any], str]:
    """What validates values of a type, and its JSON schema. Raises what Pydantic does where it knows no such type."""
    import pydantic  # noqa: PLC0415  # 70 ms to import, and only typed waits need it

    adapter = pydantic.TypeAdapter[Any](cast("Any", kind))
    return adapter, json.dumps(adapter.json_schema(), sort_keys=True)


def misfits_of_type(reference: str, schema: str, value: Any) -> list[str]:
    """Why the type that a schema was made of does not take a value: its own validators say more than the schema.

    Empty where it does, and where it cannot be had in this process, or is another one by now.
    """
    try:
        adapter, present = adapter_of(resolve(reference))
    except (Exception, SystemExit):  # noqa: BLE001  # a user's module is imported: any of it may fail, and it is no need
        return []
    return refusals(adapter, value) if present == schema else []


def refusals(adapter: pydantic.TypeAdapter[Any], value: Any) -> list[str]:
    """Where and why a type does not take a value; empty where it does."""
    import pydantic  # noqa: PLC0415  # see above

    try:
        adapter.validate_python(value)
    except pydantic.ValidationError as error:
        return [f"{_path(one['loc'])}: {one['msg']}" for one in error.errors()]
    return []


def _path(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
