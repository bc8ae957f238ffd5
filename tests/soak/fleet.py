"""Workers in processes of their own, what is done to them, and what must hold in the end."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import kitaru
from kitaru import KitaruClient, create_stack
from kitaru.core.ports import ExecutionFilter
from kitaru.core.rows import ExecutionRow
from kitaru.core.states import CallStatus, Status
from kitaru.engine.identity import Identity, idempotency_key
from kitaru.errors import KitaruStateError, KitaruStoreError
from kitaru.services.wiring import reset, wiring
from tests.soak.flows import ANSWER, FLOWS

STACK = "fleet"
PATIENCE = 120.0
_ROOT = Path(__file__).parents[2]


class Report(NamedTuple):
    """What is left once nothing runs any more.

    ``duplicates`` are executions of a call that began after its recorded success had ended. ``lost`` are
    executions that are not finished, have failed, or have another result than the plain function.
    """

    executions: int
    cancelled: int
    calls: int
    repeated: int
    duplicates: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def fine(self) -> bool:
        return not self.duplicates and not self.lost


class Fleet:
    """Workers of one stack on one store, and this process, which gives them work."""

    def __init__(self, folder: Path, *, lease: float, concurrency: int) -> None:
        self.workers: list[subprocess.Popen[bytes]] = []
        self.submitted: dict[str, str] = {}
        self._lease = lease
        self._concurrency = concurrency
        self._effects = folder / "effects"
        self._log = folder / "workers"
        self._effects.touch()
        os.environ["SOAK_EFFECTS"] = str(self._effects)
        create_stack(STACK, kind="worker")

    # ── workers ──────────────────────────────────────────────────────────────────────────────────

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "kitaru", "worker", "--stack", STACK, "--grace", "2"]
        command += ["--lease", str(self._lease), "--concurrency", str(self._concurrency)]
        with self._log.open("ab") as log:
            self.workers.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=_ROOT))
        return self.workers[-1]

    def signal(self, worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
        """End a worker, by SIGKILL or SIGTERM."""
        self.workers.remove(worker)
        worker.send_signal(number)
        worker.wait(PATIENCE)

    @contextmanager
    def stopped(self, worker: subprocess.Popen[bytes]) -> Iterator[None]:
        """A worker stands still in the block. Longer than its lease, and it is a zombie when it goes on."""
        worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            worker.send_signal(signal.SIGCONT)

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.workers.clear()
        reset()

    def complaints(self) -> str:
        """What the workers have printed."""
        return self._log.read_text()

    # ── work ─────────────────────────────────────────────────────────────────────────────────────

    def submit(self, name: str) -> str:
        """Start an execution, again where the store did not answer."""
        number = len(self.submitted)
        execution_id = f"{name}-{number}"
        self.submitted[execution_id] = name
        patiently(lambda: FLOWS[name][0].run(number, execution_id=execution_id, stack=STACK))
        return execution_id

    def answer_waits(self) -> None:
        executions = KitaruClient().executions
        with contextlib.suppress(KitaruStoreError):
            for wait in executions.pending_waits():
                with contextlib.suppress(KitaruStateError):  # it was cancelled, or an answer was not heard of
                    executions.input(wait.exec_id, ANSWER, wait=wait.wait_id)

    def cancel(self, execution_id: str) -> None:
        with contextlib.suppress(KitaruStateError, KitaruStoreError):  # it is finished, or it is not to be
            KitaruClient().executions.cancel(execution_id)

    def unfinished(self) -> list[ExecutionRow]:
        where = ExecutionFilter(statuses=(Status.PENDING, Status.RUNNING, Status.WAITING))
        return wiring().store.executions.list(where, limit=10_000, after=None)

    def finish(self, *, patience: float = PATIENCE) -> None:
        """Give the workers the time that they need, and people's answers."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            self.answer_waits()
            with contextlib.suppress(KitaruStoreError):
                if not self.unfinished():
                    return
            time.sleep(0.1)

    # ── what must hold ───────────────────────────────────────────────────────────────────────────

    def report(self) -> Report:
        store = wiring().store
        rows = list(_all(store.executions.list))
        ended: dict[str, int] = {}
        for row in rows:
            for call in store.calls.of(row.execution_id):
                if call.status is CallStatus.COMPLETED and call.ended_at is not None:
                    identity = Identity(call.name, call.input_digest, call.occurrence)
                    ended[idempotency_key(row.execution_id, identity)] = call.ended_at
        effects = [line.split() for line in self._effects.read_text().splitlines()]
        duplicates = tuple(key for key, began in effects if key in ended and int(began) > ended[key])
        found = {row.execution_id: row for row in rows}
        missing = [execution_id for execution_id in self.submitted if execution_id not in found]
        wrong = [_told(row) for row in rows if not self._is_fine(row)]
        return Report(
            executions=len(rows),
            cancelled=sum(row.status is Status.CANCELLED for row in rows),
            calls=len(effects),
            repeated=len(effects) - len({key for key, _ in effects}),
            duplicates=duplicates,
            lost=(*missing, *wrong),
        )

    def _is_fine(self, row: ExecutionRow) -> bool:
        if row.status is Status.CANCELLED:
            return True
        if row.status is not Status.COMPLETED or row.result is None:
            return False
        if row.parent_id is not None:
            return True  # its parent's result holds it
        number = int(row.execution_id.rpartition("-")[2])
        return wiring().values.decode(row.result) == FLOWS[row.flow][1](number)


def _all(page: Callable[..., list[ExecutionRow]]) -> Iterator[ExecutionRow]:
    after = None
    while rows := page(ExecutionFilter(), limit=500, after=after):
        yield from rows
        after = rows[-1].execution_id


def _told(row: ExecutionRow) -> str:
    why = "" if row.failure is None else f": {row.failure.message}"
    return f"{row.execution_id} is {row.status} (epoch {row.epoch}, runner {row.runner_id}){why}"


def patiently(act: Callable[[], object]) -> None:
    """Do it, again where the store was away."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            act()
            return
        except KitaruStoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextmanager
def a_fleet(folder: Path, url: str, *, workers: int, lease: float = 2.0, concurrency: int = 8) -> Iterator[Fleet]:
    """A fleet on a store, in this process's environment."""
    os.environ["KITARU_HOME"] = str(folder / "home")
    os.environ["KITARU_STORE"] = url
    reset()
    fleet = Fleet(folder, lease=lease, concurrency=concurrency)
    try:
        for _ in range(workers):
            fleet.start()
        yield fleet
    finally:
        fleet.end()
        for name in ("KITARU_HOME", "KITARU_STORE", "SOAK_EFFECTS"):
            os.environ.pop(name, None)


def some_flow(chance: random.Random) -> str:
    return chance.choice(list(FLOWS))


__all__ = ["Fleet", "Report", "a_fleet", "kitaru", "patiently", "some_flow"]
