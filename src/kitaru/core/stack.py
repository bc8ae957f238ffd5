"""A named place where executions run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kitaru.errors import KitaruUsageError

LOCAL = "local"
"""The stack that always exists: threads of the process that starts a flow."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack: where executions run, and how (S8.1).

    Attributes:
        name: Its name, unique in the store.
        kind: What runs there: ``local``, ``process``, or a kind that an installed package brings.
        artifact_store: Path or URL that it wants large values in; None for that of the process.
        options: Settings of the kind.
        active: True for the one that is used where no layer of configuration names one.
    """

    name: str
    kind: str
    artifact_store: str | None = None
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    active: bool = False


def check_stack_name(name: object) -> str:
    """Return a name that a stack can have, else raise ``KitaruUsageError``."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise KitaruUsageError(
            f"{name!r} cannot be the name of a stack: letters, digits, '.', '_' and '-' are expected, "
            "63 at most, the first one a letter or digit."
        )
    return name
