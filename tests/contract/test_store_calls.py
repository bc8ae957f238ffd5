"""The memo and the cross-run cache (S3)."""

from __future__ import annotations

from kitaru.core.failure import Failure
from kitaru.core.mutations import CallRecorded, CallStarted
from kitaru.core.ports import Store
from kitaru.core.rows import CachedOutput, RecordedCall
from kitaru.core.states import CallKind, CallStatus
from kitaru.errors import FailureOrigin
from tests.contract.stores import START, call, commit, start


def test_s3_2_the_memo_holds_every_call_and_no_other_executions(store: Store) -> None:
    epoch = start(store)
    failure = Failure("builtins:ValueError", "é\n", FailureOrigin.TIMEOUT, None, None)
    rows = [
        call("step"),
        call("step_2", occurrence=2, status=CallStatus.FAILED, failure=failure, output=None, handled=True, attempt=3),
        call("now", kind=CallKind.VALUE, name="now", output="null"),
        call("child", kind=CallKind.FLOW, name="child", status=CallStatus.CANCELLED, output=None),
    ]
    busy = call("busy", status=CallStatus.RUNNING)
    assert commit(store, epoch, *map(CallRecorded, rows), CallStarted(busy)) is None
    start(store, "other")
    assert commit(store, 1, CallRecorded(call("foreign")), execution_id="other") is None
    expected = [
        RecordedCall(
            row.call_id,
            row.name,
            row.kind,
            row.input_digest,
            row.occurrence,
            row.status,
            row.attempt,
            row.handled,
            row.output,
            row.failure,
            row.inputs,
        )
        for row in (*rows, busy)
    ]
    assert sorted(store.calls.memo("exec")) == sorted(expected)
    assert store.calls.memo("unknown") == []


def test_calls_are_listed_as_the_body_made_them(store: Store) -> None:
    epoch = start(store)
    rows = [call(f"step_{i}", position=i) for i in (10, 2, 1)]
    assert commit(store, epoch, *map(CallRecorded, rows)) is None
    assert [row.position for row in store.calls.of("exec")] == [1, 2, 10]
    assert [row.call_id for row in store.calls.memo("exec")] == ["step_1", "step_2", "step_10"]


def test_s3_5_the_cache_answers_with_the_newest_success_of_another_execution(store: Store) -> None:
    for name, ended_at in (("middle", 2), ("newest", 3), ("oldest", 1)):
        start(store, name)
        row = call(ended_at=START + ended_at, output=f'"{name}"', cache_key="key")
        assert commit(store, 1, CallRecorded(row), execution_id=name) is None
    assert store.calls.cached("key", apart_from="somebody") == CachedOutput("newest", "step", '"newest"')
    assert store.calls.cached("key", apart_from="newest") == CachedOutput("middle", "step", '"middle"')
    assert store.calls.cached("other key", apart_from="somebody") is None


def test_s3_5_failures_and_calls_of_the_same_execution_are_never_served(store: Store) -> None:
    start(store)
    rows = [
        call("failed", status=CallStatus.FAILED, cache_key="failed"),
        call("late", status=CallStatus.TIMED_OUT, cache_key="failed"),
        call("own", cache_key="own"),
        call("uncached", cache_key=None),
    ]
    assert (
        commit(store, 1, *map(CallRecorded, rows), CallStarted(call("b", status=CallStatus.RUNNING, cache_key="b")))
        is None
    )
    assert store.calls.cached("failed", apart_from="x") is None
    assert store.calls.cached("own", apart_from="exec") is None
    assert store.calls.cached("b", apart_from="x") is None


def test_a_failure_that_became_a_success_is_served_from_then_on(store: Store) -> None:
    start(store)
    assert commit(store, 1, CallRecorded(call(status=CallStatus.FAILED, cache_key="key"))) is None
    assert store.calls.cached("key", apart_from="x") is None
    assert commit(store, 1, CallRecorded(call(cache_key="key", attempt=2))) is None
    assert store.calls.cached("key", apart_from="x") == CachedOutput("exec", "step", "1")
