"""S1.4 and S1.5: what a handle tells, and how errors surface."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, flow
from kitaru.client import handle as handle_module
from kitaru.services.wiring import wiring
from tests.acceptance.asking import answer, asked
from tests.acceptance.gates import PATIENCE, Gate, until


class OutOfMoney(Exception):
    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} missing")
        self.missing = missing


async def _awaited(handle: kitaru.FlowHandle[Any]) -> Any:
    return await handle


# ── S1.4 ─────────────────────────────────────────────────────────────────────────────────────────


def test_s1_4_status_is_fresh_on_each_access_and_get_does_not_wait() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    assert handle.status == "running"
    with pytest.raises(kitaru.KitaruStateError, match=rf"{handle.exec_id} is running.*wait\(\)"):
        handle.get()
    gate.open()
    assert handle.wait(PATIENCE) == 7
    assert handle.status == "completed"
    assert handle.get() == 7


def test_s1_4_wait_gives_up_after_its_timeout_and_the_execution_goes_on() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    for timeout in (0, 0.01):
        with pytest.raises(TimeoutError, match=f"{handle.exec_id}.*goes on"):
            handle.wait(timeout)
    gate.open()
    assert handle.wait(PATIENCE) == 7
    assert handle.wait(0) == 7


def test_s1_4_wait_is_woken_by_the_end_and_not_by_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several waiters, with the poll put off for an hour."""
    monkeypatch.setattr(handle_module, "_POLL_SECONDS", 3600.0)
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    results: list[int] = []
    waiters = [
        threading.Thread(target=lambda: results.append(handle.wait(PATIENCE))),
        threading.Thread(
            target=lambda: results.append(KitaruClient().executions.handle(handle.exec_id).wait(PATIENCE))
        ),
    ]
    for waiter in waiters:
        waiter.start()
    gate.open()
    for waiter in waiters:
        waiter.join(PATIENCE)
    assert results == [7, 7]


def test_s1_4_a_handle_can_be_awaited_again_and_again() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    @flow
    def fails() -> int:
        raise OutOfMoney(3)

    async def main() -> None:
        handle = my_agent.run()
        waiting = [asyncio.ensure_future(_awaited(handle)) for _ in range(2)]
        await asyncio.sleep(0)
        gate.open()
        assert await asyncio.gather(*waiting) == [7, 7]
        assert await handle == 7
        assert await KitaruClient().executions.handle(handle.exec_id) == 7
        with pytest.raises(kitaru.KitaruUserCodeError, match="3 missing"):
            await fails.run()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_s1_4_an_end_that_comes_while_the_event_loop_is_busy_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle_module, "_POLL_SECONDS", 3600.0)
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    async def main() -> None:
        handle = my_agent.run()
        waiting = asyncio.ensure_future(_awaited(handle))
        await asyncio.sleep(0)
        gate.open()
        assert handle.wait(PATIENCE) == 7  # nothing else goes on in the loop meanwhile
        assert await waiting == 7

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


@pytest.mark.parametrize("awaiting", [False, True], ids=["wait", "await"])
def test_s5_3_the_body_stays_in_memory_for_whoever_waits_for_it(awaiting: bool) -> None:
    gate = Gate()
    bodies: list[int] = []

    @flow
    def my_agent() -> Any:
        bodies.append(1)
        gate.pass_()
        return kitaru.wait("go", schema=str, timeout=1000)

    handle = my_agent.run()
    active = wiring().runner.active(handle.exec_id)
    assert active is not None
    results: list[str] = []
    wait = (lambda: asyncio.run(_awaited(handle))) if awaiting else handle.wait
    waiter = threading.Thread(target=lambda: results.append(wait()))
    waiter.start()
    until(active.is_attached)
    gate.open()
    asked(handle, "go")
    answer(handle, "on")
    waiter.join(PATIENCE)
    assert results == ["on"]
    assert bodies == [1]
    assert not active.is_attached()


def test_s1_4_whoever_gives_up_waiting_leaves_nothing_behind() -> None:
    gate = Gate()

    @flow
    def my_agent() -> None:
        gate.pass_()

    handle = my_agent.run()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            handle.wait(0)
    active = wiring().runner.active(handle.exec_id)
    assert active is not None
    assert active._listeners == []
    assert not active.is_attached()
    gate.open()
    handle.wait(PATIENCE)


def test_s1_4_a_thousand_handles_are_awaited_in_one_event_loop() -> None:
    @flow
    async def square(number: int) -> int:
        return number * number

    async def main() -> list[int]:
        handles = [square.run(number) for number in range(1000)]
        return await asyncio.gather(*handles)

    assert asyncio.run(asyncio.wait_for(main(), 4 * PATIENCE)) == [number * number for number in range(1000)]


def test_s1_4_awaiting_gives_up_when_its_task_is_cancelled_and_the_execution_goes_on() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    async def main() -> None:
        handle = my_agent.run()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await handle
        gate.open()
        assert await handle == 7

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_s1_4_cancel_through_the_handle() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    handle = my_agent.run()
    handle.cancel()
    assert handle.status == "cancelled"
    gate.open()
    with pytest.raises(kitaru.KitaruCancelledError):
        handle.wait(PATIENCE)


# ── S1.5 ─────────────────────────────────────────────────────────────────────────────────────────


@flow
def spends(amount: int) -> None:
    charge(amount)


def charge(amount: int) -> None:
    raise OutOfMoney(amount)


def test_s1_5_a_failed_execution_raises_what_failed_where_and_in_which_execution() -> None:
    handle = spends.run(5)
    for ask in (lambda: handle.wait(PATIENCE), handle.get, lambda: asyncio.run(_await(handle))):
        with pytest.raises(kitaru.KitaruExecutionError) as caught:
            ask()
        error = caught.value
        assert type(error) is kitaru.KitaruUserCodeError
        assert error.exec_id == handle.exec_id
        assert error.status == "failed"
        assert error.failure_origin is kitaru.FailureOrigin.USER_CODE
        assert all(part in str(error) for part in (handle.exec_id, "spends", "OutOfMoney", "5 missing"))
        assert isinstance(error.__cause__, OutOfMoney)
        assert error.__cause__.missing == 5
        assert any("in charge" in note and "OutOfMoney: 5 missing" in note for note in error.__notes__)


async def _await(handle: kitaru.FlowHandle[Any]) -> Any:
    return await handle


def test_s1_5_the_cause_is_the_original_exception_in_its_own_process_and_an_equal_one_elsewhere() -> None:
    raised = OutOfMoney(9)

    @flow
    def my_agent() -> None:
        raise raised

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError) as caught:
        handle.wait(PATIENCE)
    assert caught.value.__cause__ is raised
    with pytest.raises(kitaru.KitaruUserCodeError) as caught:
        KitaruClient().executions.handle(handle.exec_id).wait(PATIENCE)  # knows only what is recorded
    restored = caught.value.__cause__
    assert restored is not raised
    assert isinstance(restored, OutOfMoney)
    assert (restored.args, restored.missing) == (("9 missing",), 9)


def test_s1_5_an_exception_whose_class_no_other_process_can_find_is_told_without_a_cause() -> None:
    class Local(Exception): ...

    @flow
    def my_agent() -> None:
        raise Local("only here")

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    with pytest.raises(kitaru.KitaruUserCodeError, match="Local: only here") as caught:
        KitaruClient().executions.handle(handle.exec_id).get()
    assert caught.value.__cause__ is None
    assert any("Local: only here" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_s1_5_a_body_that_leaves_by_another_base_exception_has_failed(error: BaseException) -> None:
    @flow(retries=2)
    def my_agent() -> None:
        raise error

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError, match=type(error).__name__) as caught:
        handle.wait(PATIENCE)
    assert caught.value.__cause__ is error
    assert handle.status == "failed"


def test_s1_5_a_cancelled_execution_raises_cancelled() -> None:
    gate = Gate()

    @flow
    def my_agent() -> None:
        gate.pass_()

    handle = my_agent.run()
    handle.cancel()
    gate.open()
    for ask in (lambda: handle.wait(PATIENCE), handle.get, lambda: asyncio.run(_await(handle))):
        with pytest.raises(kitaru.KitaruCancelledError, match=handle.exec_id) as caught:
            ask()
        assert (caught.value.exec_id, caught.value.status) == (handle.exec_id, "cancelled")
        assert caught.value.failure_origin is None
