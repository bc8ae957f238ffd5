"""Secrets in user code."""

from __future__ import annotations

from kitaru.engine.context import current
from kitaru.services.secrets import read_secret
from kitaru.services.wiring import wiring


def secret(name: str) -> str:
    """The value of a secret of this project, read anew each time.

    Call it where the value is used, in a checkpoint. From then on Kitaru records ``***NAME***`` wherever this
    process would record the value: in inputs, results, output, errors.

    Args:
        name: The name that it was set under.

    Raises:
        KitaruNotFoundError: There is no such secret; the nearest name is in the message.
        KitaruUsageError: The key is missing, or another one than that it was set with.
    """
    scope = current.get()
    if scope is None:
        return read_secret(wiring(), name)
    with scope.run.needing_the_store():
        return read_secret(wiring(), name, project=scope.run.row.project)
