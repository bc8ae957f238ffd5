"""S6.6: two executions of one flow, call by call."""

from __future__ import annotations

from collections import UserDict
from contextlib import suppress
from typing import Any

import pytest

import kitaru
from kitaru import (
    ExecutionDiff,
    FlowHandle,
    KitaruClient,
    KitaruExecutionError,
    KitaruNotFoundError,
    KitaruUsageError,
    checkpoint,
    flow,
)
from kitaru.core.clock import Microseconds, SystemClock
from kitaru.core.diff import Figure, ValueDiff
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install

pytestmark = pytest.mark.usefixtures("home")

PATIENCE = 30.0

# What the flows see of the world outside. Not a dict: the content of one counts as code (S3.5).
WORLD: UserDict[str, Any] = UserDict()


class SteppedClock(SystemClock):
    """A wall clock that stands still, but for what the flows let pass."""

    def __init__(self) -> None:
        self.at = 1_700_000_000_000_000

    def now(self) -> Microseconds:
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += round(seconds * 1_000_000)


@pytest.fixture(autouse=True)
def clock() -> SteppedClock:
    WORLD.clear()
    clock = WORLD["clock"] = SteppedClock()
    install(Wiring(read_settings({}), clock=clock, lease_seconds=1_000_000))
    return clock


@checkpoint
def fetch(url: str) -> str:
    WORLD["clock"].pass_(2)
    kitaru.log(cost=0.25, llm_COST=0.5, tokens=100, model="small")
    return f"text of {url}"


@checkpoint
def draft(text: str, tone: str = "dry") -> str:
    WORLD["clock"].pass_(4)
    kitaru.log(cost=1, tokens=1000, cached=True)
    return WORLD.get("draft", f"draft of {text}")


@checkpoint
def publish(text: str) -> str:
    WORLD["clock"].pass_(1)
    if WORLD.get("down"):
        raise ConnectionError("no route")
    return "published"


@checkpoint
def extra(number: int) -> int:
    return number


@flow
def work(url: str) -> str:
    kitaru.log(tokens=5, budget_cost=10)
    for number in WORLD.get("extra", ()):
        extra(number)
    text = draft(fetch(url), WORLD.get("tone", "dry"))
    return text if WORLD.get("private") else publish(text)


def other_draft(text: str, tone: str = "dry") -> str:
    return f"draft of {text}"


def client() -> Any:
    return KitaruClient().executions


def ended(handle: FlowHandle[Any]) -> str:
    with suppress(KitaruExecutionError):
        handle.wait(timeout=PATIENCE)
    return handle.exec_id


def run(url: str = "a") -> str:
    return ended(work.run(url, cache=False))


def changes(diff: ExecutionDiff) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(call.call_id, call.change.value, call.differs) for call in diff.calls]


def call_of(diff: ExecutionDiff, call_id: str) -> Any:
    return next(call for call in diff.calls if call.call_id == call_id)


# ── what became of each call ─────────────────────────────────────────────────────────────────────


def test_two_runs_that_did_the_same_are_the_same() -> None:
    diff = client().diff(run(), run())
    assert changes(diff) == [("fetch", "same", ()), ("draft", "same", ()), ("publish", "same", ())]
    assert (diff.flow, diff.inputs, diff.result) == ("work", (), None)


def test_what_a_replay_has_reused_is_reused() -> None:
    first = run()
    diff = client().diff(first, ended(client().replay(first, "publish")))
    assert changes(diff) == [("fetch", "reused", ()), ("draft", "reused", ()), ("publish", "same", ())]


def test_what_came_from_the_cache_is_reused() -> None:
    first = ended(work.run("a"))
    diff = client().diff(first, ended(work.run("a")))
    assert {call.change.value for call in diff.calls} == {"reused"}


def test_a_changed_output_and_what_it_changed_behind_it() -> None:
    first = run()
    diff = client().diff(first, ended(client().replay(first, overrides={"draft": {"output": "better"}})))
    assert changes(diff) == [
        ("fetch", "reused", ()),
        ("draft", "changed", ("output",)),
        ("publish", "changed", ("inputs",)),
    ]
    changed = call_of(diff, "draft")
    assert changed.output == ValueDiff(name="output", before='"draft of text of a"', after='"better"')
    assert (changed.before.output, changed.after.output) == ("draft of text of a", "better")
    assert call_of(diff, "publish").inputs == (ValueDiff(name="text", before='"draft of text of a"', after='"better"'),)


def test_changed_inputs_are_named() -> None:
    first = run()
    diff = client().diff(first, ended(client().replay(first, overrides={"draft": {"input": {"tone": "warm"}}})))
    assert changes(diff)[1] == ("draft", "changed", ("inputs",))
    assert call_of(diff, "draft").inputs == (ValueDiff(name="tone", before='"dry"', after='"warm"'),)
    assert call_of(diff, "draft").after.inputs == {"text": "text of a", "tone": "warm"}


def test_changed_code_is_found_even_where_it_returned_the_same() -> None:
    first = run()
    overrides = {"draft": {"code": f"{__name__}:other_draft"}}
    diff = client().diff(first, ended(client().replay(first, overrides=overrides)))
    assert changes(diff)[1] == ("draft", "changed", ("code",))


def test_a_changed_status_and_the_failure_are_shown() -> None:
    WORLD["down"] = True
    first = run()
    WORLD["down"] = False
    second = ended(client().replay(first))
    diff = client().diff(first, second)
    assert changes(diff)[2] == ("publish", "changed", ("output", "status"))
    assert call_of(diff, "publish").output == ValueDiff(
        name="output", before="ConnectionError: no route", after='"published"'
    )
    assert (diff.before.status, diff.after.status) == ("failed", "completed")
    assert diff.result == ValueDiff(name="result", before="ConnectionError: no route", after='"published"')


def test_two_different_failures_differ() -> None:
    WORLD["down"] = True
    first, second = run("a"), run("a")
    assert changes(client().diff(first, second))[2] == ("publish", "same", ())
    overrides = {"publish": {"code": f"{__name__}:fails_otherwise"}}
    third = ended(client().replay(first, overrides=overrides))
    assert changes(client().diff(first, third))[2] == ("publish", "changed", ("output", "code"))


def fails_otherwise(text: str) -> str:
    raise ConnectionError("no cable")


def test_added_and_removed_calls_stand_where_they_were() -> None:
    WORLD["extra"] = [1, 2]
    first = run()
    WORLD.update(extra=[], private=True)
    second = run()
    assert changes(client().diff(first, second)) == [
        ("extra", "removed", ()),
        ("extra_2", "removed", ()),
        ("fetch", "same", ()),
        ("draft", "same", ()),
        ("publish", "removed", ()),
    ]
    assert changes(client().diff(second, first)) == [
        ("extra", "added", ()),
        ("extra_2", "added", ()),
        ("fetch", "same", ()),
        ("draft", "same", ()),
        ("publish", "added", ()),
    ]


def test_calls_are_matched_by_identity_first_and_the_others_by_name_in_their_order() -> None:
    WORLD["extra"] = [1, 2, 3, 4]
    first = run()
    WORLD["extra"] = [3, 7, 1, 8, 9]
    calls = [call for call in client().diff(first, run()).calls if call.name == "extra"]
    partners = [(call.before and call.before.output, call.after and call.after.output) for call in calls]
    assert partners == [(3, 3), (2, 7), (1, 1), (4, 8), (None, 9)]
    assert [call.change.value for call in calls] == ["same", "changed", "same", "changed", "added"]


def test_the_inputs_and_the_result_of_the_flow_are_compared() -> None:
    first = run("a")
    WORLD["private"] = True
    diff = client().diff(first, run("b"))
    assert diff.inputs == (ValueDiff(name="url", before='"a"', after='"b"'),)
    assert diff.result == ValueDiff(name="result", before='"published"', after='"draft of text of b"')


def test_s1_10_the_results_of_child_flows_are_compared() -> None:
    @flow
    def child() -> str:
        return WORLD.get("answer", "yes")

    @flow
    def parent() -> str:
        return child.run().wait()

    first = ended(parent.run())
    WORLD["answer"] = "no"
    diff = client().diff(first, ended(parent.run()))
    assert changes(diff) == [("child", "changed", ("output",))]
    assert call_of(diff, "child").output == ValueDiff(name="output", before='"yes"', after='"no"')


# ── time and cost ────────────────────────────────────────────────────────────────────────────────


def test_durations_are_seconds_of_both_and_their_difference() -> None:
    first = run()
    diff = client().diff(first, ended(client().replay(first, "publish")))
    assert diff.duration == Figure(7, 1)
    assert diff.duration.difference == -6
    assert [call.duration for call in diff.calls] == [Figure(2, 0), Figure(4, 0), Figure(1, 1)]
    assert call_of(client().diff(first, first), "fetch").duration.difference == 0


def test_numbers_are_side_by_side_and_what_is_called_cost_is_summed() -> None:
    first = run()
    diff = client().diff(first, ended(client().replay(first, "draft")))
    assert call_of(diff, "fetch").cost == Figure(0.75, None)
    assert call_of(diff, "fetch").numbers == {"tokens": Figure(100, None)}
    assert call_of(diff, "draft").cost == Figure(1, 1)
    assert call_of(diff, "publish").cost == Figure(None, None)
    assert diff.cost == Figure(11.75, 11)
    assert diff.numbers == {"tokens": Figure(1105, 1005)}
    assert Figure(None, 1).difference is None


# ── the table, and refusals ──────────────────────────────────────────────────────────────────────


def test_a_diff_prints_as_a_table() -> None:
    first = run()
    second = ended(client().replay(first, overrides={"draft": {"output": "x" * 100}}, url="a"))
    assert str(client().diff(first, second)).splitlines() == [
        f"flow work: {first} -> {second}",
        "status: completed -> completed",
        "duration: 7.000 s -> 1.000 s",
        "cost: 11.75 -> 10",
        "tokens: 1105 -> 5",
        "change   call     differs  duration            numbers",
        "reused   fetch             2.000 s -> 0.000 s  cost 0.75 -> -, tokens 100 -> -",
        "changed  draft    output   4.000 s -> 0.000 s  cost 1 -> -, tokens 1000 -> -",
        "changed  publish  inputs   1.000 s -> 1.000 s",
        'draft output: "draft of text of a" -> "' + "x" * 59 + "... (102 characters)",
        'publish text: "draft of text of a" -> "' + "x" * 59 + "... (102 characters)",
    ]


def test_an_execution_that_still_runs_is_compared_as_far_as_it_is() -> None:
    @flow
    def body(look: bool) -> str | None:
        fetch("a")
        if not look:
            return None
        diff = client().diff(WORLD["first"], kitaru.current_execution_id())
        return f"{diff.after.status} {diff.duration} {changes(diff)}"

    WORLD["first"] = ended(body.run(False))
    shown = body.run(True, cache=False).wait(timeout=PATIENCE)
    assert shown == "running Figure(before=2.0, after=None) [('fetch', 'same', ())]"


def test_executions_of_different_flows_cannot_be_compared() -> None:
    @flow
    def other() -> None:
        pass

    with pytest.raises(KitaruUsageError, match="of flow work and .* of flow other. Only executions of one flow"):
        client().diff(run(), ended(other.run()))


def test_an_unknown_execution_is_refused() -> None:
    with pytest.raises(KitaruNotFoundError, match="no execution 'nothing'"):
        client().diff(run(), "nothing")
