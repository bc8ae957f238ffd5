"""S5.1, S5.3, S5.7: waits in loops and branches, several at once, and where they cannot be made."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruContextError, KitaruStateError, KitaruUsageError, checkpoint, flow
from kitaru.engine.signals import Unwound
from kitaru.services.wiring import wiring
from tests.acceptance.asking import answer, asked, open_waits, threads_of
from tests.acceptance.gates import Gate, until
from tests.acceptance.runs import TIMEOUT, record


def test_s5_1_a_loop_of_equal_waits_gets_its_answers_in_order() -> None:
    @flow
    def agent() -> list[Any]:
        return [kitaru.wait("guess", question="A number?", schema=int) for _ in range(4)]

    handle = agent.run()
    for number, wait_id in enumerate(["guess", "guess_2", "guess_3", "guess_4"]):
        asked(handle, wait_id)
        answer(handle, number * 10)
    assert handle.wait(timeout=TIMEOUT) == [0, 10, 20, 30]


def test_s5_1_the_same_name_may_ask_other_questions_in_a_loop() -> None:
    @flow
    def agent() -> list[str]:
        return [kitaru.wait("fact", question=f"About {topic}?", schema=str) for topic in ("a", "b", "a")]

    handle = agent.run()
    for wait_id, question in [("fact", "About a?"), ("fact_2", "About b?"), ("fact_3", "About a?")]:
        assert asked(handle, wait_id)[wait_id].question == question
        answer(handle, f"{wait_id}: {question}", wait="fact")
    assert handle.wait(timeout=TIMEOUT) == ["fact: About a?", "fact_2: About b?", "fact_3: About a?"]


def test_s5_1_work_before_a_wait_is_not_repeated_after_it() -> None:
    ran: list[int] = []

    @checkpoint
    def work(x: int) -> int:
        ran.append(x)
        return x

    bodies: list[int] = []

    @flow
    def agent() -> list[Any]:
        bodies.append(1)
        return [work(1), kitaru.wait("go"), work(2), kitaru.wait("go"), work(3)]

    handle = agent.run()
    for wait_id in ("go", "go_2"):
        asked(handle, wait_id)
        until(lambda: not threads_of("agent"))  # nobody is attached: the body has gone
        answer(handle)
    assert handle.wait(timeout=TIMEOUT) == [1, True, 2, True, 3]
    assert ran == [1, 2, 3]
    assert len(bodies) == 3


def test_s5_3_no_thread_is_left_while_executions_wait() -> None:
    @flow
    def agent(number: int) -> int:
        return kitaru.wait("go", schema=int) + number

    handles = [agent.run(number) for number in range(20)]
    for handle in handles:
        asked(handle, "go")
    until(lambda: not threads_of("agent"))
    for number, handle in enumerate(handles):
        answer(handle, number * 100)
    assert [handle.wait(timeout=TIMEOUT) for handle in handles] == [101 * number for number in range(20)]


def test_s5_3_the_signal_that_unwinds_a_body_passes_its_except_exception_and_runs_its_finally() -> None:
    seen: list[str] = []

    @flow
    def agent() -> Any:
        try:
            return kitaru.wait("go")
        except Exception:
            seen.append("except")
            raise
        finally:
            seen.append("finally")

    assert not issubclass(Unwound, Exception)
    handle = agent.run()
    asked(handle, "go")
    until(lambda: seen)
    answer(handle)
    assert handle.wait(timeout=TIMEOUT) is True
    assert seen == ["finally", "finally"]


def test_s5_3_where_somebody_is_attached_the_body_stays_and_goes_on_in_place() -> None:
    bodies: list[int] = []
    gate = Gate()

    @flow
    def agent() -> Any:
        bodies.append(1)
        gate.pass_()
        return kitaru.wait("go", schema=str, timeout=1000)

    handle = agent.run()
    active = wiring().runner.active(handle.exec_id)
    assert active is not None
    results: list[Any] = []
    waiter = threading.Thread(target=lambda: results.append(handle.wait(timeout=TIMEOUT)))
    waiter.start()
    until(active.is_attached)
    gate.open()
    asked(handle, "go")
    answer(handle, "on")
    waiter.join(TIMEOUT)
    assert bodies == [1]
    assert results == ["on"]


def test_s5_3_after_the_grace_period_an_attached_body_is_unwound_too() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait("go", timeout=0)

    handle = agent.run()
    waiter = threading.Thread(target=lambda: handle.wait(timeout=TIMEOUT))
    waiter.start()
    asked(handle, "go")
    until(lambda: not threads_of("agent"))
    answer(handle)
    assert handle.wait(timeout=TIMEOUT) is True
    waiter.join(TIMEOUT)


# ── several at once ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]])
def test_s5_7_concurrent_waits_of_an_async_flow_are_answered_in_any_order(order: list[str]) -> None:
    @flow
    async def agent() -> list[Any]:
        return await asyncio.gather(*(kitaru.wait(name, schema=str) for name in ("a", "b", "c")))

    handle = agent.run()
    left = ["a", "b", "c"]
    for name in order:
        asked(handle, *left)
        answer(handle, f"answer to {name}", wait=name)
        left.remove(name)
    assert handle.wait(timeout=TIMEOUT) == ["answer to a", "answer to b", "answer to c"]


def test_s5_7_branches_work_on_while_another_one_waits() -> None:
    @checkpoint
    async def work(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @flow
    async def agent() -> Any:
        async def ask(name: str) -> int:
            before = await work(1)
            given = await kitaru.wait(name, schema=int)
            return before + given + await work(10)

        return await asyncio.gather(ask("a"), ask("b"), work(100))

    handle = agent.run()
    asked(handle, "a", "b")
    answer(handle, 3, wait="b")
    asked(handle, "a")
    until(lambda: len(record(handle).checkpoints) >= 4)
    answer(handle, 2, wait="a")
    assert handle.wait(timeout=TIMEOUT) == [13, 14, 100]


def test_s5_7_an_answer_needs_a_name_where_several_are_open() -> None:
    @flow
    async def agent() -> Any:
        return await asyncio.gather(kitaru.wait("a"), kitaru.wait("b"))

    handle = agent.run()
    asked(handle, "a", "b")
    with pytest.raises(KitaruUsageError, match="several open waits: a, b"):
        answer(handle)
    handle.cancel()


@pytest.mark.parametrize("winner", ["approval", "withdrawal"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_s5_7_of_wait_any_the_first_answer_counts_and_the_others_are_closed(kind: str, winner: str) -> None:
    def questions() -> Any:
        return kitaru.wait_any(approval={"schema": str}, withdrawal={"schema": str, "question": "Withdraw?"})

    @flow
    def sync_agent() -> Any:
        return [questions(), kitaru.wait("then", schema=str), questions()]

    @flow
    async def async_agent() -> Any:
        return [await questions(), await kitaru.wait("then", schema=str), await questions()]

    handle = sync_agent.run() if kind == "sync" else async_agent.run()
    asked(handle, "approval", "withdrawal")
    answer(handle, "first", wait=winner)
    asked(handle, "then")  # the losers are closed
    loser = {"approval", "withdrawal"} - {winner}
    with pytest.raises(KitaruStateError, match="closed"):
        answer(handle, "late", wait=loser.pop())
    answer(handle, "on")  # the body runs again, and finds the same choice
    asked(handle, "approval_2", "withdrawal_2")
    answer(handle, "second", wait="withdrawal_2")
    assert [*map(_as_list, handle.wait(timeout=TIMEOUT))] == [[winner, "first"], "on", ["withdrawal", "second"]]


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_s5_7_of_two_answers_to_wait_any_that_come_before_the_body_looks_the_earlier_counts() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait_any(a={"schema": int}, b={"schema": int})

    handle = agent.run()
    asked(handle, "a", "b")
    answer(handle, 2, wait="b")
    with contextlib.suppress(KitaruStateError):  # the body may be faster
        answer(handle, 1, wait="a")
    assert tuple(handle.wait(timeout=TIMEOUT)) == ("b", 2)


def test_s5_7_wait_any_of_nothing_or_with_an_unknown_option_is_refused() -> None:
    @flow
    def agent() -> str:
        with pytest.raises(KitaruUsageError, match="at least one"):
            kitaru.wait_any()
        with pytest.raises(KitaruUsageError, match="shema"):
            kitaru.wait_any(a={"shema": int})
        return "refused"

    assert agent.run().wait(timeout=TIMEOUT) == "refused"


# ── places ───────────────────────────────────────────────────────────────────────────────────────

CALLS = [
    lambda: kitaru.wait("w"),
    lambda: kitaru.wait_any(w={}),
    lambda: kitaru.sleep(5),
    lambda: kitaru.sleep_until(kitaru.now()),
]


@pytest.mark.parametrize("number", range(4))
def test_s5_7_outside_a_flow_it_is_refused(number: int) -> None:
    with pytest.raises(KitaruContextError):
        CALLS[number]()
    assert KitaruClient().executions.pending_waits() == ()


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_s5_7_inside_a_checkpoint_it_is_refused_before_anything_is_recorded(kind: str, number: int) -> None:
    @checkpoint
    def work() -> str:
        with pytest.raises(KitaruContextError):
            CALLS[number]()
        return "refused"

    @checkpoint
    async def async_work() -> str:
        with pytest.raises(KitaruContextError):
            CALLS[number]()
        return "refused"

    @flow
    def agent() -> str:
        return work()

    @flow
    async def async_agent() -> str:
        return await async_work()

    handle = agent.run() if kind == "sync" else async_agent.run()
    assert handle.wait(timeout=TIMEOUT) == "refused"
    assert [call.kind for call in record(handle).checkpoints] == ["checkpoint"]


# ── children and cancelling ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_s5_3_a_parent_stands_still_with_its_child_and_goes_on_with_it(kind: str) -> None:
    @flow
    def child(x: int) -> int:
        return kitaru.wait("go", schema=int) + x

    @flow
    def parent() -> int:
        return child.run(1).wait() + child.run(2).wait()

    @flow
    async def async_parent() -> int:
        return await child.run(1) + await child.run(2)

    handle = (parent if kind == "sync" else async_parent).run()
    done: set[str] = set()
    for number in (10, 20):

        def newly_asked() -> str | None:
            waits = KitaruClient().executions.pending_waits(flow="child")
            return next((wait.exec_id for wait in waits if wait.exec_id not in done), None)

        child_id = until(newly_asked)
        assert child_id is not None
        until(lambda: handle.status == "waiting")
        done.add(child_id)
        KitaruClient().executions.input(child_id, number)
    assert handle.wait(timeout=TIMEOUT) == 33


def test_s6_8_a_waiting_execution_can_be_cancelled_and_its_wait_is_closed() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait("go")

    handle = agent.run()
    asked(handle, "go")
    handle.cancel()
    assert handle.status == "cancelled"
    assert open_waits(handle.exec_id) == {}
    with pytest.raises(KitaruStateError):
        answer(handle)


def test_s6_8_cancelling_a_waiting_parent_cancels_its_waiting_child() -> None:
    @flow
    def child() -> Any:
        return kitaru.wait("go")

    @flow
    def parent() -> Any:
        return child.run().wait()

    handle = parent.run()
    until(lambda: KitaruClient().executions.pending_waits(flow="child"))
    until(lambda: handle.status == "waiting")
    handle.cancel()
    assert KitaruClient().executions.latest("child").status == "cancelled"
    assert KitaruClient().executions.pending_waits() == ()


def test_s7_1_the_events_tell_that_it_waits_and_goes_on() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait("go")

    handle = agent.run()
    asked(handle, "go")
    until(lambda: not threads_of("agent"))
    answer(handle)
    handle.wait(timeout=TIMEOUT)
    kinds = [event.kind for event in KitaruClient().executions.events(handle.exec_id)]
    assert [kind for kind in kinds if kind.startswith("execution.")] == [
        "execution.created",
        "execution.running",
        "execution.waiting",
        "execution.pending",
        "execution.running",
        "execution.completed",
    ]
