"""An attempt of an isolated checkpoint, seen from inside its child process (S2.8)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, cast

from kitaru.core.clock import Clock
from kitaru.core.ids import Ids
from kitaru.core.mutations import ProgressMade
from kitaru.core.ports import Values
from kitaru.core.rows import ArtifactRow, ExecutionRow, MetadataRow
from kitaru.core.states import Status
from kitaru.engine.call import Call, CallScope
from kitaru.engine.identity import Identity
from kitaru.engine.output import Output
from kitaru.engine.run import Run

Tell = Callable[[str, Any], None]
"""Says something to the process that runs the flow: a kind of message, and what belongs to it."""


class RemoteRun:
    """What the code of a checkpoint may ask of its execution, as far as that is known in the child."""

    def __init__(self, request: Mapping[str, Any], values: Values, clock: Clock, ids: Ids) -> None:
        self.run = self
        self.values = values
        self.clock = clock
        self.ids = ids
        given: dict[str, Any] = dict(request["execution"])
        given |= {"status": Status(given["status"]), "tags": tuple(given["tags"])}
        self.row = ExecutionRow(**given)
        self.execution_id = self.row.execution_id
        self.is_replay = self.row.replay is not None
        self.outputs: set[Output] = set()

    def needing_the_store(self) -> AbstractContextManager[None]:
        """A store that fails here fails the attempt; the body goes on."""
        return contextlib.nullcontext()


class RemoteScope(CallScope):
    """The scope of the attempt. What it is told goes to the other process at once, so that a crash loses none of it."""

    __slots__ = ("_tell", "relayed")

    def __init__(self, request: Mapping[str, Any], run: RemoteRun, tell: Tell) -> None:
        identity = Identity(*request["identity"])
        call = SimpleNamespace(call_id=request["call_id"], identity=identity)
        # Of both only the parts exist here that code inside a checkpoint can ask for.
        super().__init__(cast("Run", run), cast("Call", call), request["attempt"])
        self._tell = tell
        self.output = self.relayed = RelayedOutput(run.clock, call.call_id, self.attempt, tell)

    def log(self, rows: Sequence[MetadataRow]) -> None:
        self.check_open("kitaru.log()")
        self._tell("logged", rows)

    def save(self, row: ArtifactRow) -> None:
        self.check_open("kitaru.save()")
        self._tell("saved", row)


class RelayedOutput(Output):
    """Output that is passed on as soon as a line is complete."""

    __slots__ = ("_tell",)

    def __init__(self, clock: Clock, call_id: str, attempt: int, tell: Tell) -> None:
        super().__init__(clock, call_id, attempt)
        self._tell = tell

    def printed(self, level: str, text: str) -> None:
        super().printed(level, text)
        if "\n" in text:
            self.relay(last=False)

    def logged(self, level: str, logger: str, message: str) -> None:
        super().logged(level, logger, message)
        self.relay(last=False)

    def told(self, progress: ProgressMade) -> None:
        super().told(progress)
        self.relay(last=False)

    def relay(self, *, last: bool) -> None:
        """Pass on what has not been yet; the ``last`` time unfinished lines too."""
        rows, progress = self.take(last=last)
        if rows or progress is not None:
            self._tell("told", {"rows": rows, "progress": progress})
