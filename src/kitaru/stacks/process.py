"""The kind ``process``: each execution runs in a child process of the one that starts it (S8.1)."""

from __future__ import annotations

import json
import os
import threading
import warnings
from typing import Literal, cast

from kitaru.core.ports import StackHost
from kitaru.core.rows import ExecutionRow
from kitaru.core.stack import Stack
from kitaru.errors import KitaruUsageError
from kitaru.stacks.child_process import ChildProcess
from kitaru.stacks.kinds import check_options

_OPTIONS = {"processes": int}
_NOT_HONOURED = ("base_image", "requirements", "apt_packages", "dockerfile")


class ProcessKind:
    """See ``StackKind``.

    Options: ``processes``, how many executions one process has running at once (default: its processors).

    Owned here: what was warned of, guarded by ``_lock``.
    """

    place: Literal["thread", "process", "worker"] = "process"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warned: set[tuple[str, ...]] = set()

    def check(self, stack: Stack) -> None:
        check_options(stack, _OPTIONS)
        for name, value in stack.options.items():
            if cast("int", value) < 1:
                raise KitaruUsageError(f"stack {stack.name}: {name}={value!r}: a whole number, 1 or more, is expected.")

    def places(self, stack: Stack) -> int:
        return cast("int", stack.options.get("processes") or os.cpu_count() or 1)

    def start(self, stack: Stack, row: ExecutionRow, host: StackHost) -> ChildProcess:  # noqa: ARG002  # the port's
        self._warn(row)
        child = ChildProcess(row.flow_ref, {**os.environ, **host.environment(row)})
        child.give(row.execution_id)
        return child

    def _warn(self, row: ExecutionRow) -> None:
        """Tell once what the image asks for and nobody builds for a process."""
        image: dict[str, object] = json.loads(row.image) if row.image else {}
        fields = tuple(name for name in _NOT_HONOURED if name in image)
        with self._lock:
            known = not fields or fields in self._warned
            self._warned.add(fields)
        if not known:
            warnings.warn(
                f"a stack of kind 'process' runs executions with the Python of this process: image fields "
                f"{', '.join(fields)} are recorded and not applied. Deploy the flow to have them applied.",
                stacklevel=2,
            )
