"""The kind ``process``: each execution runs in a child process of the one that starts it (S8.1)."""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from kitaru.core.ports import StackHost
from kitaru.core.processes import end_session, how_it_ended
from kitaru.core.rows import ExecutionRow
from kitaru.core.stack import Stack
from kitaru.errors import KitaruUsageError
from kitaru.stacks.kinds import check_options

if TYPE_CHECKING:
    import subprocess

MOST_DEATHS = 3
"""How often the process of one execution may die before the execution counts as failed."""

_OPTIONS = {"processes": int, "deaths": int}
_NOT_HONOURED = ("base_image", "requirements", "apt_packages", "dockerfile")


class ProcessKind:
    """See ``StackKind``.

    Options: ``processes``, how many executions one process has running at once (default: its processors);
    ``deaths``, how often the process of one execution may die before the execution fails (default 3).

    Owned here: what was warned of, guarded by ``_lock``.
    """

    place: Literal["thread", "process", "worker"] = "process"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deaths = Deaths()
        self._warned: set[tuple[str, ...]] = set()

    def check(self, stack: Stack) -> None:
        check_options(stack, _OPTIONS)
        for name, value in stack.options.items():
            if cast("int", value) < 1:
                raise KitaruUsageError(f"stack {stack.name}: {name}={value!r}: a whole number, 1 or more, is expected.")

    def places(self, stack: Stack) -> int:
        return cast("int", stack.options.get("processes") or os.cpu_count() or 1)

    def start(self, stack: Stack, row: ExecutionRow, host: StackHost) -> ProcessChild:
        self._warn(row)
        environment = {**os.environ, **host.environment(row)}
        most = cast("int", stack.options.get("deaths", MOST_DEATHS))
        return ProcessChild(row.execution_id, environment, host, most=most, died=self._deaths)

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


class Deaths:
    """How often the processes of executions have died, by execution; guarded by ``_lock``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def __call__(self, execution_id: str, *, ended: bool) -> int:
        """Count a death, or, where the execution has ended, forget it; how many there were."""
        with self._lock:
            if ended:
                return self._counts.pop(execution_id, 0)
            self._counts[execution_id] = self._counts.get(execution_id, 0) + 1
            return self._counts[execution_id]


class ProcessChild:
    """A process that runs one execution; a new one is started where it dies before its time.

    In a session of its own, so that Ctrl-C at a terminal is for the process that started it, and so that
    whatever it has started itself ends with it. ``_process`` and ``_stopped`` are guarded by ``_lock``.
    """

    def __init__(
        self,
        execution_id: str,
        environment: Mapping[str, str],
        host: StackHost,
        *,
        most: int,
        died: Callable[..., int],
        python: str = sys.executable,
        folder: Path | None = None,
        spare: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._command = [python, "-m", "kitaru.worker.child", execution_id]
        self._folder = folder
        self._execution_id = execution_id
        self._environment = environment
        self._host = host
        self._most = most
        self._died = died
        self._lock = threading.Lock()
        self._stopped = False
        self._process = spare or self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        import subprocess  # noqa: PLC0415  # some ms at every start, and few processes come here

        return subprocess.Popen(  # noqa: S603  # our own module, and an id that was checked
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> None:
        while True:
            code = self._process.wait()
            if code == 0 or self._stopped or not self._host.unfinished(self._execution_id):
                if not self._host.unfinished(self._execution_id):
                    self._died(self._execution_id, ended=True)
                return
            if self._died(self._execution_id, ended=False) >= self._most:
                self._died(self._execution_id, ended=True)
                times = "" if self._most == 1 else f"died {self._most} times; at last it "
                self._host.give_up(self._execution_id, f"the process of the execution {times}{how_it_ended(code)}")
                return
            with self._lock:
                if self._stopped:
                    return
                self._process = self._start()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._process.poll() is None:
                self._process.terminate()

    def kill(self) -> None:
        with self._lock:
            self._stopped = True
            if self._process.poll() is None:
                end_session(self._process)
