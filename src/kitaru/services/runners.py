"""The runners of this process: its own, and one for each further stack whose executions it starts (S8.1).

Owned here: ``_others``, under ``_lock``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitaru.core.image import ImageSettings
from kitaru.core.rows import ExecutionRow
from kitaru.core.stack import Stack
from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.services.active import Active
from kitaru.services.runner import Runner
from kitaru.services.secrets import secret_environment
from kitaru.services.stacks import get_stack
from kitaru.stacks.kinds import kind_named

if TYPE_CHECKING:
    from kitaru.services.wiring import Wiring


class Runners:
    """Finds the runner for an execution.

    Args:
        wiring: The process. Its ``runner`` is the one for its own stack.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._lock = threading.Lock()
        self._others: dict[str, tuple[Stack, Runner]] = {}

    def of(self, stack: str) -> Runner | None:
        """The runner for a stack; None where its executions are left to workers, or where it is gone."""
        main = self._wiring.runner
        if stack == main.lease.stack:
            return main
        try:
            found = replace(get_stack(self._wiring, stack), active=False)
            kind = kind_named(found.kind)
        except (KitaruNotFoundError, KitaruUsageError):
            return None
        with self._lock:
            known = self._others.get(stack)
            if known is not None and known[0] == found:
                return known[1]
            if known is not None:  # the stack was deleted, so nothing ran there any more, and made anew
                del self._others[stack]
                known[1].end()
            if kind.place == "worker":
                return None
            host = Host(self._wiring)
            runner = self._wiring.new_runner(
                stack, max_flows=kind.places(found), spawn=lambda row: kind.start(found, row, host)
            )
            self._others[stack] = found, runner
            return runner

    def all(self) -> list[Runner]:
        """Every runner of this process."""
        with self._lock:
            return [self._wiring.runner, *(runner for _, runner in self._others.values())]

    def active(self, execution_id: str) -> Active | None:
        """The execution, where this process is running it or will: see ``Runner.active``."""
        return next((one for runner in self.all() if (one := runner.active(execution_id)) is not None), None)

    def attach(self, active: Active, change: int) -> None:
        """See ``Runner.attach``."""
        self._wiring.runner.attach(active, change)  # always this one: the count is guarded by its lock


class Host:
    """The ``StackHost`` of this process."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def environment(self, row: ExecutionRow) -> Mapping[str, str]:
        image = None if row.image is None else ImageSettings.parse(json.loads(row.image), row.execution_id)
        variables = {} if image is None else image.environment or {}
        return {
            **environment(self._wiring),
            **variables,
            **secret_environment(self._wiring, image, project=row.project),
        }


def environment(wiring: Wiring) -> dict[str, str]:
    """The variables with which another process of this machine has the settings and modules of this one."""
    settings = wiring.settings
    variables = {
        "KITARU_HOME": str(settings.home),
        "KITARU_STORE": settings.store,
        "KITARU_ARTIFACTS": settings.artifacts,
        "KITARU_PROJECT": settings.project,
        "KITARU_ALLOW_PICKLE": str(settings.allow_pickle).lower(),
        "KITARU_MAX_THREADS": str(settings.max_threads),
        "KITARU_MAX_FLOWS": str(settings.max_flows),
        "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
    }
    for option, value in wiring.configured().items():
        if option in ("stack", "retries", "cache", "image"):
            variables[f"KITARU_{option.upper()}"] = _text(value)
    return variables


def _text(value: Any) -> str:
    return value if isinstance(value, str) else value.to_json() if hasattr(value, "to_json") else json.dumps(value)
