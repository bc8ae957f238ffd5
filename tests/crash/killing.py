"""Runs a flow in processes that are killed, and looks at what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kitaru.core.clock import SystemClock
from kitaru.core.ports import ExecutionFilter, Store
from kitaru.core.states import CallStatus, Status
from kitaru.engine.identity import Identity, idempotency_key
from kitaru.store import open_store

SCRIPT = Path(__file__).with_name("flows.py")
EXECUTION_ID = "killed"

_PATIENCE = 120

tally: Counter[str] = Counter()
"""Processes that were started and killed, for the summary. Owned by this module."""


class Kill(NamedTuple):
    """Where a process dies: the ``number``-th time that it comes to ``place``, a crash point or ``write``."""

    place: str
    number: int

    @property
    def variables(self) -> Mapping[str, str]:
        if self.place == "write":
            return {"CRASH_AT_WRITE": str(self.number)}
        return {"KITARU_CRASH_AT": f"{self.place}:{self.number}"}


CallKey = tuple[str, str, str, int]
"""Execution, name, digest, occurrence."""


class Snapshot(NamedTuple):
    """What is recorded at one moment, and what has happened in the world.

    ``successes`` are the recorded calls with their call id and output. ``succeeded`` and ``handled`` are
    idempotency keys: of these, and of the failures that the body has seen. ``kept`` is everything else
    that must not be lost.
    """

    statuses: Mapping[str, Status]
    successes: Mapping[CallKey, tuple[str, str | None]]
    succeeded: frozenset[str]
    handled: frozenset[str]
    kept: frozenset[tuple[object, ...]]
    effects: tuple[str, ...]


class Case:
    """One execution in a home of its own, and the processes that run it one after the other.

    ``url`` is an empty store; None is the embedded one.
    """

    def __init__(self, folder: Path, flow: str, url: str | None = None) -> None:
        self.folder = folder
        self._url = url
        self.flow = flow
        self.kills = 0
        self._effects = folder / "effects"
        folder.mkdir(parents=True)
        self._effects.touch()

    def process(self, verb: str, kill: Kill | None = None, trace: Path | None = None) -> str | None:
        """Run the script to its end: what it printed, or None where it was killed."""
        variables = {**os.environ, "KITARU_HOME": str(self.folder), "CRASH_EFFECTS": str(self._effects)}
        variables |= {} if self._url is None else {"KITARU_STORE": self._url}
        variables |= {} if trace is None else {"CRASH_TRACE": str(trace)}
        variables |= {} if kill is None else kill.variables
        # Without the execution there is nothing to resume: the first process died before it recorded it.
        verb = verb if EXECUTION_ID in self.look().statuses else "run"
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), verb, self.flow, EXECUTION_ID],
            env=variables, capture_output=True, text=True, timeout=_PATIENCE, check=False,
        )  # fmt: skip
        tally["processes"] += 1
        if kill is not None and ended.returncode == -signal.SIGKILL:
            self.kills += 1
            tally["kills"] += 1
            return None
        assert ended.returncode == 0, f"{verb} after {self.kills} kills:\n{ended.stderr}"
        assert ended.stderr == ""
        return ended.stdout

    def look(self) -> Snapshot:
        """Read the store and the effects, as another process."""
        effects = tuple(self._effects.read_text().splitlines())
        database = self.folder / "kitaru.db"
        if self._url is None and not database.exists():
            return Snapshot({}, {}, frozenset(), frozenset(), frozenset(), effects)
        store = open_store(self._url or f"sqlite:///{database}", SystemClock())
        try:
            return _look(store, effects)
        finally:
            store.close()


def _look(store: Store, effects: tuple[str, ...]) -> Snapshot:
    statuses: dict[str, Status] = {}
    successes: dict[CallKey, tuple[str, str | None]] = {}
    succeeded: set[str] = set()
    handled: set[str] = set()
    kept: set[tuple[object, ...]] = set()
    for row in store.executions.list(ExecutionFilter(), limit=1000, after=None):
        execution_id = row.execution_id
        if row.flow != "bystander":
            statuses[execution_id] = row.status
        for record in store.calls.memo(execution_id):
            identity = Identity(record.name, record.input_digest, record.occurrence)
            if record.status is CallStatus.COMPLETED:
                successes[execution_id, *identity] = (record.call_id, record.output)
                succeeded.add(idempotency_key(execution_id, identity))
            elif record.handled:
                handled.add(idempotency_key(execution_id, identity))
        for attempt in store.calls.attempts(execution_id):
            kept.add(("attempt", execution_id, attempt.call_id, attempt.number, attempt.started_at, attempt.status))
        for item in store.calls.metadata(execution_id):
            kept.add(("metadata", execution_id, item.call_id, item.key, item.value))
        for artifact in store.artifacts.list(execution_id):
            kept.add(("artifact", execution_id, artifact.name))
    return Snapshot(statuses, successes, frozenset(succeeded), frozenset(handled), frozenset(kept), effects)


class Undisturbed(NamedTuple):
    """A run that nobody killed: what it printed, what it left, and how often it passed each crash point."""

    printed: str
    end: Snapshot
    passings: Counter[str]


def undisturbed(folder: Path, flow: str) -> Undisturbed:
    """Run a flow to its end."""
    case = Case(folder / "home", flow)
    trace = folder / "trace"
    printed = case.process("run", trace=trace)
    assert printed is not None
    return Undisturbed(printed, case.look(), Counter(trace.read_text().splitlines()))


def killed_and_resumed(case: Case, expected: Undisturbed, kills: list[Kill], verbs: list[str]) -> None:
    """Kill a process at each of ``kills`` in turn, let one finish, and check all that is promised.

    ``verbs`` says how each process after the first goes on; the last one is repeated.
    """
    seen: list[Snapshot] = []
    printed = None
    for number, kill in enumerate([*kills, None]):
        verb = "run" if number == 0 else verbs[min(number, len(verbs)) - 1]
        printed = case.process(verb, kill)
        seen.append(case.look())
        if printed is not None:
            break
    end = seen.pop()
    assert printed == expected.printed
    _check_end(end, expected.end, case.kills)
    for before in seen:
        _check_nothing_lost(before, end)


def _check_end(end: Snapshot, expected: Snapshot, kills: int) -> None:
    assert end.statuses == expected.statuses  # every execution is finished, none is left over
    assert end.successes.keys() == expected.successes.keys()
    assert end.handled == expected.handled
    counts, usual = _by_key(end), _by_key(expected)
    assert len(set(end.effects)) == len(counts)  # what ran again ran with the very same inputs
    assert counts.keys() == usual.keys()
    for key, count in counts.items():
        assert usual[key] <= count <= usual[key] + kills, f"{key} ran {count} times, undisturbed {usual[key]}"


def _check_nothing_lost(before: Snapshot, end: Snapshot) -> None:
    """S3.2, S3.6: what was on disk at a kill is reused as it was, without a further effect.

    A failure that the body does not catch counts as seen until the commit that ends the body, and runs again
    after that one: so of the failures those are compared that are still such in the end.
    """
    assert before.successes.items() <= end.successes.items()
    assert before.kept <= end.kept
    later = end.effects[len(before.effects) :]
    final = before.succeeded | (before.handled & end.handled)
    assert [line for line in later if json.loads(line)[0] in final] == []


def _by_key(snapshot: Snapshot) -> Counter[str]:
    return Counter(json.loads(line)[0] for line in snapshot.effects)
