"""A child flow as a call of its parent (S1.10)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from kitaru.core.clock import Microseconds
from kitaru.core.failure import Failure
from kitaru.core.mutations import CallRecorded, CallStarted
from kitaru.core.ports import EncodedInputs
from kitaru.core.rows import CallRow, Encoded, ExecutionRow, RecordedCall
from kitaru.core.states import CallKind, CallStatus, Status
from kitaru.engine.identity import Identity
from kitaru.engine.parking import Outcome, Parked
from kitaru.engine.run import Run
from kitaru.engine.signals import KitaruCancelled
from kitaru.errors import FailureOrigin, KitaruStoreError


class ChildCall:
    """What the parent records of a child: that it was started, and how it ended once the body knows.

    Nothing of it needs a disk sync of its own. The child's id follows from the call's identity, so a
    parent that resumes without a record finds the same child; and what the body has seen of its end is
    on disk before anything that the body does next.
    """

    def __init__(
        self,
        *,
        run: Run,
        identity: Identity,
        inputs: EncodedInputs,
        position: int,
        call_id: str,
        child_id: str,
        recorded: RecordedCall | None,
        output: Encoded | None,
    ) -> None:
        self.call_id = call_id
        self.child_id = child_id
        self.inputs = inputs
        self.output = output  # a replay may give the child's result
        self._run = run
        self._identity = identity
        self._position = position
        self._recorded = recorded
        self._started_at = run.clock.now()
        self._seen = recorded is not None and (recorded.status is CallStatus.COMPLETED or recorded.handled)

    @property
    def is_dry(self) -> bool:
        """True where the parent's body only shows what it would call."""
        return self._run.is_dry

    @property
    def failure_was_handled(self) -> bool:
        """True where an earlier run of the body saw this child fail and went on."""
        return self._recorded is not None and self._recorded.handled

    def failed_just_now(self, child: ExecutionRow) -> bool:
        """True where the child has failed since this run of the body began: picked up by itself, before the body.

        So its failure is no left-over of an earlier run: the body is given it, and the child does not run again.
        """
        return child.ended_at is not None and child.ended_at >= self._run.began

    def started(self) -> None:
        """Note the start, for people who watch."""
        if self._recorded is None:
            self._run.riding.append(CallStarted(self._row(CallStatus.RUNNING)))

    def completed(self) -> None:
        """The body has been given the child's result."""
        if not self._seen:
            self._seen = True
            self._run.riding.append(CallRecorded(self._row(CallStatus.COMPLETED, ended_at=self._run.clock.now())))

    def failed(self, error: BaseException, failure: Failure) -> None:
        """The body has been given the child's failure."""
        self._run.remember(error, self.call_id, failure.origin)
        if not self._seen:
            self._seen = True
            self._run.riding.append(
                CallRecorded(
                    self._row(CallStatus.FAILED, ended_at=self._run.clock.now(), failure=failure, handled=True)
                )
            )

    def cancelled(self, error: BaseException) -> None:
        """The body is to be told that the child was cancelled; where it is cancelled itself, that comes first."""
        run = self._run
        if run.store.executions.status(run.execution_id) is Status.CANCELLED:
            run.stop(KitaruCancelled(f"execution {run.execution_id} was cancelled"))
            run.check_signal()
        self._run.remember(error, self.call_id, FailureOrigin.USER_CODE)

    def park(self, due_at: Microseconds | None, lost: Callable[[], bool]) -> Outcome:
        """Park the parent's body until the child has ended or is lost, or the time has come. Raises the signal."""
        return self._run.parking.wait(Parked(child_id=self.child_id, due_at=due_at, lost=lost))

    async def park_on_loop(self, lost: Callable[[], bool]) -> None:
        """As ``park``, for an async body."""
        from kitaru.engine.loop import park  # noqa: PLC0415  # here, because only async flows need asyncio

        await park(self._run, Parked(child_id=self.child_id, lost=lost))

    def lost(self, reason: KitaruStoreError) -> None:
        """The store did not take the child's end, so the parent's body, which would act on it, unwinds too."""
        if self.on_its_body():
            with self._run.needing_the_store():
                raise reason

    def needing_the_store(self) -> contextlib.AbstractContextManager[None]:
        """See ``Run.needing_the_store``."""
        return self._run.needing_the_store()

    def on_its_body(self) -> bool:
        """True where the caller is the body that started the child."""
        return self._run.on_its_thread() and not self._run.ended

    def _row(
        self,
        status: CallStatus,
        *,
        ended_at: int | None = None,
        failure: Failure | None = None,
        handled: bool = False,
    ) -> CallRow:
        return CallRow(
            call_id=self.call_id,
            name=self._identity.name,
            kind=CallKind.FLOW,
            position=self._position,
            input_digest=self._identity.digest,
            occurrence=self._identity.occurrence,
            inputs=self.inputs.text,
            status=status,
            attempt=1,
            started_at=self._started_at,
            ended_at=ended_at,
            failure=failure,
            handled=handled,
            child_id=self.child_id,
        )
