"""What a replay does with each recorded call (S6.5): pure, by hand-made records."""

from __future__ import annotations

import pytest

from kitaru.core.replay import Action, Override, PlannedCall, Reuse, overrides_in, to_json
from kitaru.core.rows import RecordedCall
from kitaru.core.states import CallKind, CallStatus
from kitaru.engine.identity import Identity
from kitaru.engine.memo import Memo
from kitaru.engine.overrides import Overrides
from kitaru.errors import KitaruUsageError
from kitaru.services.overrides import read_overrides
from kitaru.services.plan import plan
from kitaru.values import ValueCodec, open_blobs


def recorded(call_id: str, name: str = "", **fields: object) -> RecordedCall:
    row = RecordedCall(
        call_id=call_id,
        name=name or call_id,
        kind=CallKind.CHECKPOINT,
        input_digest=f"digest of {call_id}",
        occurrence=1,
        status=CallStatus.COMPLETED,
        attempt=1,
        handled=False,
        output="1",
        failure=None,
        inputs='{"x":1}',
    )
    return row._replace(**fields)  # type: ignore[arg-type]


LOOP = [recorded("fetch"), recorded("step"), recorded("step_2", "step"), recorded("step_3", "step"), recorded("send")]


def actions(
    calls: list[RecordedCall],
    *overrides: Override,
    from_: str | None = None,
    reuse: Reuse = "before",
) -> dict[str, str]:
    return {call.call_id: call.action.value for call in plan(calls, from_=from_, overrides=overrides, reuse=reuse)}


def test_s6_5_without_from_everything_that_succeeded_is_offered() -> None:
    assert set(actions(LOOP).values()) == {"reuse"}


def test_s6_5_from_a_call_it_and_all_behind_it_run_again() -> None:
    assert actions(LOOP, from_="step_2") == {
        "fetch": "reuse", "step": "reuse", "step_2": "rerun", "step_3": "rerun", "send": "rerun",
    }  # fmt: skip


def test_s6_5_with_reuse_unchanged_only_the_call_itself_runs_again() -> None:
    assert [id_ for id_, action in actions(LOOP, from_="step_2", reuse="unchanged").items() if action == "rerun"] == [
        "step_2"
    ]


def test_s6_5_from_a_name_that_one_call_has() -> None:
    calls = [recorded("fetch"), recorded("step_4", "step"), recorded("send")]
    assert actions(calls, from_="step") == {"fetch": "reuse", "step_4": "rerun", "send": "rerun"}


def test_s6_5_from_a_name_of_several_calls_is_refused_with_their_ids() -> None:
    calls = [recorded("step_4", "step"), recorded("step_7", "step")]
    with pytest.raises(KitaruUsageError, match=r"'step' is the name of 2 calls.*step_4, step_7"):
        actions(calls, from_="step")


def test_s6_5_from_an_unknown_call_is_refused_with_the_nearest() -> None:
    with pytest.raises(KitaruUsageError, match="did you mean 'fetch'"):
        actions(LOOP, from_="fetsh")
    with pytest.raises(KitaruUsageError, match="its calls are: fetch, step, step_2, step_3, send"):
        actions(LOOP, from_="zzz")
    with pytest.raises(KitaruUsageError, match="from_=5: the execution has no such call"):
        actions(LOOP, from_=5)  # type: ignore[arg-type]
    with pytest.raises(KitaruUsageError, match="it has none at all"):
        actions([], from_="zzz")


@pytest.mark.parametrize(
    ("status", "handled", "action", "reason"),
    [
        (CallStatus.COMPLETED, False, Action.REUSE, "recorded; reused while its inputs are the same"),
        (CallStatus.FAILED, True, Action.REUSE, "its failure was handled; raised again while its inputs are the same"),
        (
            CallStatus.TIMED_OUT,
            True,
            Action.REUSE,
            "its failure was handled; raised again while its inputs are the same",
        ),
        (CallStatus.FAILED, False, Action.RERUN, "its failure was not handled"),
        (CallStatus.TIMED_OUT, False, Action.RERUN, "its failure was not handled"),
        (CallStatus.RUNNING, False, Action.RERUN, "it had not finished"),
        (CallStatus.CANCELLED, False, Action.RERUN, "it had not finished"),
    ],
)
def test_s3_2_a_record_is_offered_as_it_would_be_to_a_retry(
    status: CallStatus, handled: bool, action: Action, reason: str
) -> None:
    (call,) = plan([recorded("a", status=status, handled=handled)], from_=None, overrides=(), reuse="before")
    assert call == PlannedCall(call_id="a", name="a", action=action, reason=reason)


def test_s6_5_every_reason_is_in_plain_words() -> None:
    overrides = [
        Override(name="fetch", kind=CallKind.CHECKPOINT, output="1"),
        Override(name="step", kind=CallKind.CHECKPOINT, inputs={"x": "1", "y": "2"}),
        Override(name="step", kind=CallKind.CHECKPOINT, call_id="step_3", code="m:f", inputs={"x": "1"}),
        Override(name="send", kind=CallKind.CHECKPOINT, code="m:f"),
        Override(name="ok", kind=CallKind.WAIT, output="true"),
    ]
    calls = [*LOOP, recorded("ok", kind=CallKind.WAIT), recorded("end")]
    planned = plan(calls, from_="step_2", overrides=overrides, reuse="before")
    assert [(call.action, call.reason) for call in planned] == [
        (Action.OVERRIDE, "its output is given"),
        (Action.OVERRIDE, "runs with other inputs: x, y"),
        (Action.OVERRIDE, "runs with other inputs: x, y"),
        (Action.OVERRIDE, "runs m:f with other inputs: x"),
        (Action.OVERRIDE, "runs m:f"),
        (Action.OVERRIDE, "its answer is given"),
        (Action.RERUN, "comes after step_2"),
    ]
    assert plan(LOOP, from_="send", overrides=(), reuse="before")[-1].reason == "the replay starts here"


def test_s6_5_the_override_of_a_call_id_counts_before_that_of_its_name_in_either_order() -> None:
    by_name, by_id = (
        Override(name="step", kind=CallKind.CHECKPOINT, output="1"),
        Override(name="step", kind=CallKind.CHECKPOINT, call_id="step_2", code="m:f"),
    )
    for overrides in ((by_name, by_id), (by_id, by_name)):
        reasons = {call.call_id: call.reason for call in plan(LOOP, from_=None, overrides=overrides, reuse="before")}
        assert (reasons["step"], reasons["step_2"]) == ("its output is given", "runs m:f")


# ── what a key means ─────────────────────────────────────────────────────────────────────────────

VALUES = ValueCodec(open_blobs("/nonexistent"))
MIXED = [recorded("ok", kind=CallKind.WAIT), recorded("ok_2", "ok"), *LOOP]


def read(key: str, change: object = None, calls: list[RecordedCall] = MIXED) -> Override:
    given = {"output": 1} if change is None else change
    (override,) = read_overrides({key: given}, calls, VALUES)  # type: ignore[dict-item]
    return override


def test_s6_5_a_name_means_all_its_calls_and_an_id_one() -> None:
    assert [call.call_id for call in MIXED if read("step").fits(call)] == ["step", "step_2", "step_3"]
    assert [call.call_id for call in MIXED if read("step_2").fits(call)] == ["step_2"]
    assert [call.call_id for call in MIXED if read("step_1").fits(call)] == ["step"]


def test_s6_5_the_prefix_wait_restricts_to_waits() -> None:
    assert [call.call_id for call in MIXED if read("ok").fits(call)] == ["ok_2"]  # a checkpoint has the name too
    waits = [call for call in MIXED if call.call_id != "ok_2"]
    assert [call.call_id for call in waits if read("ok", calls=waits).fits(call)] == ["ok"]
    assert [call.call_id for call in MIXED if read("wait.ok").fits(call)] == ["ok"]
    assert [call.call_id for call in MIXED if read("wait.ok_1").fits(call)] == ["ok"]
    with pytest.raises(KitaruUsageError, match=r"overrides\['wait.step'\]: the execution has no such wait"):
        read("wait.step")
    with pytest.raises(KitaruUsageError, match="no such wait; it has none at all"):
        read("wait.step", calls=[call for call in MIXED if call.kind != "wait"])


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("stepp", {"output": 1}, "no such call; did you mean 'step'"),
        ("step_4", {"output": 1}, "no such call; did you mean 'step_"),
        ("step", {}, "a mapping is expected"),
        ("step", 5, "a mapping is expected"),
        ("step", {"outputs": 1}, "unknown key 'outputs'; did you mean 'output'"),
        ("step", {"zzz": 1}, "it may have output, input, code"),
        ("step", {"output": 1, "input": {"x": 2}}, "'output' beside 'input'"),
        ("step", {"output": 1, "code": "m:f"}, "'output' beside 'code'"),
        ("step", {"input": {}}, "from parameters to values is expected. step takes x"),
        ("step", {"input": 3}, "from parameters to values is expected. step takes x"),
        ("step", {"input": {"y": 3}}, "step has no parameter 'y'; it has x"),
        ("step", {"code": "nowhere"}, '"module:function" is expected'),
        ("step", {"code": ":f"}, '"module:function" is expected'),
        ("step", {"code": 3}, '"module:function" is expected'),
        ("step", {"code": "nowhere:f"}, "nowhere:f cannot be found here"),
        ("step", {"code": "json:nothing"}, "json:nothing cannot be found here"),
        ("step", {"code": "json:decoder"}, "json:decoder is no function but an object of type module"),
        ("wait.ok", {"input": {"x": 1}}, "ok is a wait, and 'input' cannot be changed in one. Possible is output"),
    ],
)
def test_s6_5_what_makes_no_sense_is_refused_and_named(key: str, change: object, message: str) -> None:
    with pytest.raises(KitaruUsageError, match=message) as caught:
        read(key, change)
    assert f"overrides[{key!r}]" in str(caught.value)


def test_overrides_must_be_a_mapping() -> None:
    with pytest.raises(KitaruUsageError, match="a mapping from calls"):
        read_overrides(["step"], LOOP, VALUES)  # type: ignore[arg-type]


def test_a_key_that_is_no_text_is_refused_as_an_unknown_call() -> None:
    with pytest.raises(KitaruUsageError, match=r"overrides\['5'\]: the execution has no such call"):
        read_overrides({5: {"output": 1}}, LOOP, VALUES)  # type: ignore[dict-item]


def test_overrides_are_kept_and_read_again_as_they_were() -> None:
    kept = (
        read("wait.ok"), read("step_2", {"input": {"x": (1, 2)}}), read("step", {"code": "json:dumps"}),
    )  # fmt: skip
    assert overrides_in(to_json("step", "before", kept)) == kept
    assert overrides_in(None) == ()


# ── which call of a new body an override fits ────────────────────────────────────────────────────


def fitting(overrides: Overrides, *calls: tuple[str, str, int]) -> list[bool]:
    return [overrides.of(CallKind.CHECKPOINT, Identity(*call)) is not None for call in calls]


def test_s6_5_an_override_of_a_call_finds_it_by_its_identity_wherever_it_is_made() -> None:
    memo = Memo([call for call in LOOP if call.call_id != "step_2"])
    reordered = [("step", f"digest of step{n}", 1) for n in ("_3", "", "_2")]
    assert fitting(Overrides([read("step_2")], memo), *reordered) == [False, False, True]


def test_s6_5_an_override_of_a_call_whose_inputs_have_changed_finds_it_by_its_place() -> None:
    memo = Memo([call for call in LOOP if call.call_id != "step_2"])
    changed = [("step", f"other digest {n}", 1) for n in range(3)]
    assert fitting(Overrides([read("step_2")], memo), *changed) == [False, True, False]


def test_s6_5_an_override_of_a_call_does_not_take_another_recorded_one_for_it() -> None:
    memo = Memo([call for call in LOOP if call.call_id != "step_2"])
    without_it = [("step", "digest of step", 1), ("step", "digest of step_3", 1)]
    assert fitting(Overrides([read("step_2")], memo), *without_it) == [False, False]


def test_s6_5_an_override_of_a_call_fits_one_call() -> None:
    memo = Memo([call for call in LOOP if call.call_id != "step_2"])
    made_earlier = [("step", "digest of step_2", 1), ("step", "new", 1)]
    assert fitting(Overrides([read("step_2")], memo), *made_earlier) == [True, False]


def test_s6_5_an_override_of_a_name_fits_calls_that_the_source_never_made() -> None:
    assert fitting(Overrides([read("step")], Memo(LOOP)), ("step", "new", 1), ("step", "new", 2)) == [True, True]


def test_s6_5_an_override_fits_calls_of_its_kind_only() -> None:
    overrides = Overrides([read("wait.ok")], Memo())
    assert overrides.of(CallKind.CHECKPOINT, Identity("ok", "d", 1)) is None
    assert overrides.of(CallKind.WAIT, Identity("ok", "d", 1)) == read("wait.ok")
