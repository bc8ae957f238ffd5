"""Whether a value fits the JSON schema of a wait (S5.1)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any


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
