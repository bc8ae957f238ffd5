"""S3.2: what a recorded call means to the next run. Pure."""

from __future__ import annotations

import pytest

from kitaru.core.failure import Failure
from kitaru.core.rows import RecordedCall
from kitaru.core.states import CallKind, CallStatus
from kitaru.engine.identity import Identity
from kitaru.engine.memo import Decision, Memo, decide
from kitaru.errors import FailureOrigin


def recorded(
    name: str = "work", digest: str = "d", occurrence: int = 1,
    status: CallStatus = CallStatus.COMPLETED, *, handled: bool = False, call_id: str = "work",
) -> RecordedCall:  # fmt: skip
    failure = None
    if status in (CallStatus.FAILED, CallStatus.TIMED_OUT):
        failure = Failure("builtins:ValueError", "no", FailureOrigin.USER_CODE)
    output = "1" if status is CallStatus.COMPLETED else None
    return RecordedCall(
        call_id, name, CallKind.CHECKPOINT, digest, occurrence, status, 1, handled, output, failure, "{}"
    )


@pytest.mark.parametrize(
    ("status", "handled", "decision"),
    [
        (CallStatus.COMPLETED, False, Decision.REUSE),
        (CallStatus.COMPLETED, True, Decision.REUSE),
        (CallStatus.FAILED, True, Decision.RAISE),
        (CallStatus.TIMED_OUT, True, Decision.RAISE),
        (CallStatus.FAILED, False, Decision.RUN),
        (CallStatus.TIMED_OUT, False, Decision.RUN),
        (CallStatus.CANCELLED, False, Decision.RUN),
        (CallStatus.CANCELLED, True, Decision.RUN),
        (CallStatus.RUNNING, False, Decision.RUN),
        (CallStatus.RUNNING, True, Decision.RUN),
    ],
)
def test_s3_2_the_record_decides(status: CallStatus, handled: bool, decision: Decision) -> None:
    assert decide(recorded(status=status, handled=handled)) is decision


def test_s3_2_every_status_is_in_the_table_above() -> None:
    assert {status for status in CallStatus if decide(recorded(status=status)) in Decision} == set(CallStatus)


def test_s3_2_without_a_record_a_call_runs() -> None:
    assert decide(None) is Decision.RUN


def test_s3_1_a_record_is_found_by_name_digest_and_occurrence_together() -> None:
    one, two = recorded(occurrence=1), recorded(occurrence=2, call_id="work_2")
    memo = Memo([two, one])
    assert len(memo) == 2
    assert memo.take(Identity("work", "d", 3)) is None
    assert memo.take(Identity("work", "other", 1)) is None
    assert memo.take(Identity("other", "d", 1)) is None
    assert memo.take(Identity("work", "d", 2)) is two
    assert memo.take(("work", "d", 1)) is one


def test_s3_2_a_record_is_given_out_once() -> None:
    memo = Memo([recorded()])
    assert memo.take(Identity("work", "d", 1)) is not None
    assert memo.take(Identity("work", "d", 1)) is None
    assert len(memo) == 1


def test_s3_3_left_over_are_the_records_of_a_name_that_nobody_asked_for_in_their_order() -> None:
    rows = [
        recorded(digest=digest, call_id=call_id, name=name)
        for name, digest, call_id in [("work", "a", "work"), ("other", "b", "other"), ("work", "c", "work_2")]
    ]
    memo = Memo(rows)
    assert memo.left_over("work") == [rows[0], rows[2]]
    memo.take(Identity("work", "a", 1))
    assert memo.left_over("work") == [rows[2]]
    assert memo.left_over("unknown") == []
    assert list(memo.call_ids()) == ["work", "other", "work_2"]
