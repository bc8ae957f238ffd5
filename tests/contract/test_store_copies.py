"""What the store does for a replay (S6.5): calls of its source become its own, and what it did not use goes."""

from __future__ import annotations

from kitaru.core.failure import Failure
from kitaru.core.mutations import (
    AlreadyExists,
    ArtifactSaved,
    AttemptFailed,
    CallRecorded,
    CallStarted,
    CopyRenamed,
    ExecutionCreated,
    MetadataLogged,
    ReuseSettled,
)
from kitaru.core.ports import Store
from kitaru.core.rows import ArtifactRow, AttemptRow, MetadataRow
from kitaru.core.states import CallKind, CallStatus, Status
from kitaru.errors import FailureOrigin
from tests.contract.stores import SECOND, START, call, commit, execution, start

FAILURE = Failure("builtins:ValueError", "bad", FailureOrigin.USER_CODE, "Traceback ...", '{"type": "x"}')
LATER = START + 60 * SECOND


def source(store: Store) -> None:
    start(store)
    rows = [
        call("a", position=0, label="tool_call", code_digest="code", cache_key="key", attempt=3),
        call("b", position=1, status=CallStatus.FAILED, output=None, failure=FAILURE, handled=True),
        call("c", position=2, status=CallStatus.FAILED, output=None, failure=FAILURE),
        call("e", position=4, kind=CallKind.FLOW, output=None, child_id="child"),
    ]
    under_way = call("d", position=3, status=CallStatus.RUNNING, ended_at=None, output=None)
    extra = [
        CallStarted(under_way),
        AttemptFailed(AttemptRow("b", 1, CallStatus.FAILED, 1, 2, FAILURE)),
        MetadataLogged((MetadataRow("a", "cost", "1", 1.0),)),
        ArtifactSaved(ArtifactRow("of a", "a", '"x"', 5)),
        ArtifactSaved(ArtifactRow("of e", "e", '"y"', 6)),
        ArtifactSaved(ArtifactRow("of the body", "", '"z"', 7)),
    ]
    assert commit(store, 1, *(CallRecorded(row) for row in rows), *extra) is None


def replay(store: Store, *call_ids: str) -> None:
    row = execution("replay", original_id="exec", created_at=LATER, replay='{"from": null}')
    running = row._replace(status=Status.RUNNING, epoch=1, runner_id="runner", started_at=LATER)
    assert commit(store, None, ExecutionCreated(running, call_ids), execution_id="replay") is None


def test_copies_are_as_they_were_recorded_but_cost_nothing_and_name_their_source(store: Store) -> None:
    source(store)
    replay(store, "a", "b", "e")
    originals = {row.call_id: row for row in store.calls.of("exec")}
    assert store.calls.of("replay") == [
        originals[call_id]._replace(
            attempt=0,
            started_at=LATER,
            ended_at=LATER,
            cache_key=None,
            source_execution_id="exec",
            source_call_id=call_id,
        )
        for call_id in ("a", "b", "e")
    ]
    assert store.calls.attempts("replay") == []
    assert store.calls.metadata("replay") == []


def test_only_what_has_an_outcome_that_may_be_reused_is_copied(store: Store) -> None:
    source(store)
    replay(store, "a", "c", "d", "unknown")
    assert [row.call_id for row in store.calls.of("replay")] == ["a"]


def test_the_artifacts_of_copied_calls_are_copied(store: Store) -> None:
    source(store)
    replay(store, "a")
    assert store.artifacts.list("replay") == [ArtifactRow("of a", "a", '"x"', 5)]


def test_what_was_asked_for_is_kept(store: Store) -> None:
    source(store)
    replay(store)
    row = store.executions.get("replay")
    assert row is not None
    assert (row.original_id, row.replay) == ("exec", '{"from": null}')


def test_nothing_is_copied_where_the_id_is_taken(store: Store) -> None:
    source(store)
    replay(store, "a")
    again = execution("replay", original_id="exec")
    assert isinstance(commit(store, None, ExecutionCreated(again, ("b",)), execution_id="replay"), AlreadyExists)
    assert [row.call_id for row in store.calls.of("replay")] == ["a"]


def test_the_memo_has_the_positions_and_children_of_calls(store: Store) -> None:
    source(store)
    replay(store, "a", "e")
    assert [(row.call_id, row.position, row.child_id) for row in store.calls.memo("replay")] == [
        ("a", 0, None),
        ("e", 4, "child"),
    ]


def test_unused_copies_go_with_their_artifacts_and_no_other_call_does(store: Store) -> None:
    source(store)
    replay(store, "a", "b", "e")
    own = call("own", position=9)
    saved = ArtifactSaved(ArtifactRow("of own", "own", '"w"', 8))
    settled = ReuseSettled((), ("a", "own", "unknown"))
    assert commit(store, 1, CallRecorded(own), saved, settled, execution_id="replay") is None
    assert [row.call_id for row in store.calls.of("replay")] == ["b", "e", "own"]
    assert [row.name for row in store.artifacts.list("replay")] == ["of e", "of own"]
    assert len(store.calls.of("exec")) == 5
    assert len(store.artifacts.list("exec")) == 3


def test_reused_calls_move_to_where_the_body_made_them(store: Store) -> None:
    source(store)
    replay(store, "a", "b", "e")
    assert commit(store, 1, ReuseSettled((("e", 0), ("a", 7)), ()), execution_id="replay") is None
    assert [row.call_id for row in store.calls.of("replay")] == ["e", "b", "a"]
    assert [row.call_id for row in store.calls.of("exec")] == ["a", "b", "c", "d", "e"]


def test_a_copy_leaves_its_id_and_takes_what_it_saved_along(store: Store) -> None:
    source(store)
    replay(store, "a")
    own = call("a", input_digest="other", position=9)
    saved = ArtifactSaved(ArtifactRow("of own", "a", '"w"', 8))
    assert commit(store, 1, CopyRenamed("a", "a_9"), CallRecorded(own), saved, execution_id="replay") is None
    copy, recorded = store.calls.of("replay")
    assert (copy.call_id, copy.source_call_id, copy.output) == ("a_9", "a", "1")
    assert recorded == own
    assert {row.name: row.call_id for row in store.artifacts.list("replay")} == {"of a": "a_9", "of own": "a"}
    assert [row.source_execution_id for row in store.calls.memo("replay")] == ["exec", None]


def test_a_call_that_is_no_copy_keeps_its_id(store: Store) -> None:
    source(store)
    assert commit(store, 1, CopyRenamed("a", "a_9")) is None
    assert store.calls.of("exec")[0].call_id == "a"
