"""S5.2, S5.5: an answer is recorded once, whenever it comes, and reused after that."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruNotFoundError, KitaruStateError, checkpoint, flow
from kitaru.core.states import WaitStatus
from kitaru.services.wiring import wiring
from tests.acceptance.asking import abort, answer, asked, open_waits, threads_of
from tests.acceptance.gates import Gate, until
from tests.acceptance.processes import Scripts
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, retry


def test_s5_5_a_later_answer_is_refused_and_changes_nothing() -> None:
    @flow
    def agent() -> Any:
        return [kitaru.wait("first", schema=str), kitaru.wait("second", schema=str)]

    handle = agent.run()
    asked(handle, "first")
    answer(handle, "one", by="ada")
    asked(handle, "second")
    with pytest.raises(KitaruStateError, match=r"'first'.*answered by ada.*the first answer counts"):
        answer(handle, "another", wait="first")
    with pytest.raises(KitaruStateError, match="the first answer counts"):
        abort(handle, wait="first")
    answer(handle, "two")
    assert handle.wait(timeout=TIMEOUT) == ["one", "two"]
    with pytest.raises(KitaruStateError):
        answer(handle, "late")


def test_s5_5_an_answer_keeps_who_gave_it_when_and_through_what() -> None:
    @flow
    def agent() -> Any:
        return [kitaru.wait("a"), kitaru.wait("b")]

    handle = agent.run()
    asked(handle, "a")
    answer(handle, by="ada")
    asked(handle, "b")
    answer(handle)
    handle.wait(timeout=TIMEOUT)
    first, second = wiring().store.waits.of(handle.exec_id)
    assert (first.status, first.by, first.via) == (WaitStatus.ANSWERED, "ada", "python")
    assert second.by is not None
    assert "@" in second.by  # the user of this process
    assert first.answered_at is not None
    assert second.answered_at is not None
    assert first.opened_at <= first.answered_at <= second.answered_at


def test_s5_5_what_was_not_asked_cannot_be_answered() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait("approval")

    handle = agent.run()
    asked(handle, "approval")
    with pytest.raises(KitaruNotFoundError, match="Did you mean 'approval'"):
        answer(handle, wait="aproval")
    with pytest.raises(KitaruNotFoundError):
        KitaruClient().executions.input("nobody")
    handle.cancel()

    @flow
    def quiet() -> int:
        return 1

    done = quiet.run()
    done.wait(timeout=TIMEOUT)
    with pytest.raises(KitaruStateError, match="asked nothing"):
        answer(done)


def test_s5_2_an_answer_that_comes_while_the_execution_runs_is_found() -> None:
    gate = Gate()

    @checkpoint
    async def slow() -> str:
        await asyncio.to_thread(gate.pass_)
        return "slow"

    @flow
    async def agent() -> Any:
        return await asyncio.gather(slow(), kitaru.wait("go", schema=str))

    handle = agent.run()
    gate.await_reached()
    until(lambda: "go" in open_waits(handle.exec_id))
    assert handle.status == "running"
    answer(handle, "early")
    assert handle.status == "running"
    gate.open()
    assert handle.wait(timeout=TIMEOUT) == ["slow", "early"]


def _is_open(exec_id: str, wait_id: str) -> bool:
    return wait_id in open_waits(exec_id)


def test_s5_2_an_answer_that_comes_at_once_is_found_however_far_the_suspension_has_come() -> None:
    @flow
    def agent(number: int) -> int:
        total = 0
        for _ in range(3):
            total += kitaru.wait("go", schema=int)
        return total + number

    handles = [agent.run(number) for number in range(10)]

    def answer_all(handle: Any) -> None:
        for wait_id in ("go", "go_2", "go_3"):
            until(partial(_is_open, handle.exec_id, wait_id))
            answer(handle, 100, wait=wait_id)

    threads = [threading.Thread(target=answer_all, args=(handle,)) for handle in handles]
    for thread in threads:
        thread.start()
    assert [handle.wait(timeout=TIMEOUT) for handle in handles] == [300 + number for number in range(10)]
    for thread in threads:
        thread.join(TIMEOUT)


def test_s5_5_answers_are_reused_when_a_failed_execution_is_retried() -> None:
    outside = Breakage()
    asked_times: list[int] = []

    @flow
    def agent() -> Any:
        given = [kitaru.wait("a", schema=int), kitaru.wait("a", schema=int)]
        asked_times.append(1)
        outside.check()
        return given

    handle = agent.run()
    for number, wait_id in enumerate(["a", "a_2"]):
        asked(handle, wait_id)
        answer(handle, number)
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == [0, 1]
    assert len(asked_times) == 2


def test_s5_5_answers_are_reused_when_the_body_is_retried_by_itself() -> None:
    runs: list[int] = []

    @flow(retries=1)
    def agent() -> Any:
        given = kitaru.wait("a", schema=int)
        runs.append(given)
        if len(runs) == 1:
            raise ConnectionError("once")
        return given

    handle = agent.run()
    asked(handle, "a")
    answer(handle, 7)
    assert handle.wait(timeout=TIMEOUT) == 7
    assert runs == [7, 7]


@pytest.mark.parametrize("first", ["answer", "abort"])
def test_s5_6_an_abort_that_is_caught_is_remembered_after_a_further_wait(first: str) -> None:
    @flow
    def agent() -> Any:
        try:
            given: Any = kitaru.wait("a", schema=str)
        except kitaru.KitaruWaitAbortedError as error:
            given = str(error)
        return [given, kitaru.wait("b", schema=str)]

    handle = agent.run()
    asked(handle, "a")
    if first == "abort":
        abort(handle, reason="no time")
    else:
        answer(handle, "given")
    asked(handle, "b")
    until(lambda: not threads_of("agent"))  # so that the body runs again
    answer(handle, "two")
    expected = "wait 'a' was aborted: no time" if first == "abort" else "given"
    assert handle.wait(timeout=TIMEOUT) == [expected, "two"]


def test_s5_6_an_abort_that_is_not_caught_fails_the_execution() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait("a")

    handle = agent.run()
    asked(handle, "a")
    abort(handle, reason="not now")
    error = failure_of(handle)
    assert "wait 'a' was aborted: not now" in str(error)
    assert error.failure_origin == "user_code"
    assert isinstance(error.__cause__, kitaru.KitaruWaitAbortedError)


def test_s6_4_a_retry_after_an_abort_that_was_not_caught_asks_again() -> None:
    @flow
    def agent() -> Any:
        return [kitaru.wait("a", schema=str), kitaru.wait("b", schema=str)]

    handle = agent.run()
    asked(handle, "a")
    answer(handle, "kept")
    asked(handle, "b")
    abort(handle)
    failure_of(handle)
    again = retry(handle)
    assert asked(again, "b")["b"].answered_by is None
    answer(again, "now")
    assert again.wait(timeout=TIMEOUT) == ["kept", "now"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_s5_6_a_winner_of_wait_any_that_was_aborted_raises_in_the_body(kind: str) -> None:
    @flow
    def sync_agent() -> Any:
        try:
            kitaru.wait_any(a={}, b={})
        except kitaru.KitaruWaitAbortedError:
            return kitaru.wait("then", schema=str)

    @flow
    async def async_agent() -> Any:
        try:
            await kitaru.wait_any(a={}, b={})
        except kitaru.KitaruWaitAbortedError:
            return await kitaru.wait("then", schema=str)

    handle = sync_agent.run() if kind == "sync" else async_agent.run()
    asked(handle, "a", "b")
    abort(handle, wait="b")
    asked(handle, "then")
    answer(handle, "after")
    assert handle.wait(timeout=TIMEOUT) == "after"


ANSWERER = """
import sys
from kitaru import KitaruClient, KitaruStateError

sys.stdin.readline()
try:
    KitaruClient().executions.input(sys.argv[1], sys.argv[2])
except KitaruStateError:
    print("refused")
else:
    print("accepted")
"""


def test_s5_5_of_answers_from_several_processes_at_once_one_is_accepted(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write("answerer.py", ANSWERER)

    @flow
    def agent() -> Any:
        return kitaru.wait("go", schema=str)

    handle = agent.run()
    asked(handle, "go")
    with (
        scripts.started("answerer.py", handle.exec_id, "one") as one,
        scripts.started("answerer.py", handle.exec_id, "two") as two,
    ):
        one.tell("now")
        two.tell("now")
        told = {"one": one.finish()[0], "two": two.finish()[0]}
    assert sorted(told.values()) == [["accepted"], ["refused"]]
    assert told[handle.wait(timeout=TIMEOUT)] == ["accepted"]
