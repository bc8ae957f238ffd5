"""A secret: its name, and what may be one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from kitaru.errors import KitaruUsageError

SHORTEST = 4
"""Characters. Something shorter would be found in half of all text, which would be redacted with it."""

LONGEST = 64 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret of a project, without its value.

    Attributes:
        name: Its name, which is also that of its environment variable.
        changed_at: When its value was set last.
    """

    name: str
    changed_at: datetime


def check_name(name: object) -> str:
    """A name that can be an environment variable. Raises ``KitaruUsageError`` for any other."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise KitaruUsageError(
            f"{name!r} is no name of a secret: letters, digits and _ are expected, no digit first, at most 100."
        )
    return name


def check_value(name: str, value: object) -> str:
    """A value that can be kept and redacted. The message of a refusal does not hold it."""
    if not isinstance(value, str):
        raise KitaruUsageError(f"secret {name}: a string is expected, not a {type(value).__name__}.")
    if len(value.strip()) < SHORTEST:
        raise KitaruUsageError(
            f"secret {name}: its value has fewer than {SHORTEST} characters; so short a text occurs everywhere, and "
            "could not be taken out of what is recorded."
        )
    if len(value) > LONGEST:
        raise KitaruUsageError(f"secret {name}: its value is longer than {LONGEST // 1024} KiB.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise KitaruUsageError(f"secret {name}: its value is no valid text (it holds lone surrogates).") from None
    if "\0" in value:
        raise KitaruUsageError(f"secret {name}: its value holds a zero character, which no environment variable can.")
    return value
