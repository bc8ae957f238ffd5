"""The compatibility gate: what the code at hand would make of executions that have not ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches

from kitaru.core.ports import Blobs, ExecutionFilter
from kitaru.core.resume_plan import ResumePlan, ResumeStep, Step, Verdict
from kitaru.core.rows import ExecutionRow, RecordedCall
from kitaru.core.states import CallStatus, Status
from kitaru.engine.definitions import FlowDefinition
from kitaru.engine.dry_run import DryOutcome, Reached, dry_run
from kitaru.engine.memo import Decision, decide
from kitaru.errors import KitaruNotFoundError, KitaruStateError
from kitaru.services.find import find
from kitaru.services.load import load_flow
from kitaru.services.statistics import statistics
from kitaru.services.wiring import Wiring
from kitaru.values import ValueCodec

_UNFINISHED = (Status.PENDING, Status.RUNNING, Status.WAITING)
_PAGE = 100
_SHOWN = 60


def check(wiring: Wiring, flow: str, definition: FlowDefinition | None) -> Iterator[ResumePlan]:
    """The plan of every execution of a flow that has not ended, newest first.

    Args:
        wiring: The process.
        flow: The flow's name.
        definition: The flow as it is now; None loads what each execution was started from.

    Raises:
        KitaruNotFoundError: Only the name is given, and neither an execution nor a deployment has it.
    """
    if definition is None:
        _check_is_known(wiring, flow)
    after = None
    where = ExecutionFilter(flow=flow, statuses=_UNFINISHED)
    while True:
        rows = wiring.store.executions.list(where, limit=_PAGE, after=after)
        for row in rows:
            yield _plan(wiring, row, definition)
        if len(rows) < _PAGE:
            return
        after = rows[-1].execution_id


def _check_is_known(wiring: Wiring, flow: str) -> None:
    if wiring.store.executions.list(ExecutionFilter(flow=flow), limit=1, after=None):
        return
    ran = (str(one.group["flow"]) for one in statistics(wiring, ExecutionFilter(), "flow", "count"))
    known = {*ran, *(name for _, name in wiring.store.deployments.flows())}
    if flow not in known:
        near = get_close_matches(flow, known, 3)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else f"known are {', '.join(sorted(known)) or 'none'}."
        )
        raise KitaruNotFoundError(f"no execution and no deployment is of a flow {flow!r}; {hint}")


def resume_plan(wiring: Wiring, execution_id: str) -> ResumePlan:
    """What would happen if an execution went on with the code at hand.

    Raises:
        KitaruNotFoundError: There is no such execution.
        KitaruStateError: It is completed or cancelled: nothing goes on.
    """
    row = find(wiring, execution_id)
    if row.status in (Status.COMPLETED, Status.CANCELLED):
        raise KitaruStateError(f"execution {row.execution_id} is {row.status}: it does not go on. Replay it instead.")
    return _plan(wiring, row, None)


def _plan(wiring: Wiring, row: ExecutionRow, definition: FlowDefinition | None) -> ResumePlan:
    if row.snapshot != wiring.settings.snapshot:
        version = "its version" if row.deployment_version is None else f"version {row.deployment_version}"
        return _made(row, Verdict.PINNED, f"It stays on {version}, which was deployed.", None, ())
    try:
        definition = definition or load_flow(row.flow_ref)
    except BaseException as error:  # noqa: BLE001  # user code is imported: that it fails is what is to be known
        return _made(row, Verdict.FAILS, f"Its flow cannot be loaded: {_told(error)}", None, ())
    now = wiring.shared.code_digest(definition.fn)
    changed = None if row.code_digest is None else row.code_digest != now
    values = ValueCodec(_ReadOnly(wiring.blobs), allow_pickle=wiring.settings.allow_pickle)
    outcome = dry_run(wiring.shared, values, definition, row)
    verdict, reason = _verdict(outcome)
    return _made(row, verdict, reason, changed, _steps(outcome))


def _verdict(outcome: DryOutcome) -> tuple[Verdict, str]:
    left = [one.call_id for one in outcome.left if decide(one) is not Decision.RUN]
    if outcome.error is not None:
        return Verdict.FAILS, f"The body ends with {_told(outcome.error)}"
    if outcome.stop is None:
        unused = f" It does not ask for {', '.join(left)} any more." if left else ""
        return Verdict.RESUMES, f"It comes to its end with what is recorded.{unused}"
    if not left:
        return Verdict.RESUMES, f"All that is recorded is reused; then {outcome.stop}."
    return Verdict.RERUNS, f"Before it has asked for {', '.join(left)}, {outcome.stop}."


def _steps(outcome: DryOutcome) -> tuple[ResumeStep, ...]:
    used = [_step(one, Step.REUSE, "recorded") for one in outcome.used if decide(one) is not Decision.RUN]
    run = [
        ResumeStep(call_id=one.call_id, name=one.name, step=_step_of(one), reason=_reason(one))
        for one in outcome.reached
    ]
    left = [_step(one, Step.LEFT, _why_left(one)) for one in outcome.left]
    return (*used, *run, *left)


def _step(record: RecordedCall, step: Step, reason: str) -> ResumeStep:
    return ResumeStep(call_id=record.call_id, name=record.name, step=step, reason=reason)


def _step_of(reached: Reached) -> Step:
    return Step.RERUN if reached.changes else Step.RUN


def _reason(reached: Reached) -> str:
    if reached.was_recorded:
        return "it had not finished, or its failure was not handled"
    if reached.changes:
        return "; ".join(f"{name} was {_short(before)} and is {_short(now)}" for name, before, now in reached.changes)
    return "nothing is recorded for it"


def _why_left(record: RecordedCall) -> str:
    finished = record.status in (CallStatus.COMPLETED, CallStatus.FAILED, CallStatus.TIMED_OUT)
    return "recorded, not asked for yet" if finished else "it had not finished"


def _made(
    row: ExecutionRow, verdict: Verdict, reason: str, changed: bool | None, calls: tuple[ResumeStep, ...]
) -> ResumePlan:
    return ResumePlan(
        exec_id=row.execution_id,
        flow=row.flow,
        status=row.status,
        verdict=verdict,
        reason=reason,
        code_changed=changed,
        calls=calls,
    )


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _short(text: str | None) -> str:
    shown = "absent" if text is None else text
    return shown if len(shown) <= _SHOWN else json.dumps(shown[:_SHOWN]) + "..."


class _ReadOnly:
    """A blob store that nothing is put into."""

    def __init__(self, blobs: Blobs) -> None:
        self.get = blobs.get
        self.keep = blobs.keep
        self.put_before = blobs.put_before
        self.remove = blobs.remove
        self.users = blobs.users

    def put(self, digest: str, data: bytes) -> None:
        pass
