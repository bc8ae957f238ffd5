"""``crash_everywhere``: it kills at every commit, and sees what is wrong with a flow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import kitaru
from kitaru import KitaruExecutionError, KitaruUsageError
from kitaru.testing import Effects, crash_everywhere
from kitaru.testing.crashes import Effect, _compare, _Run

effects = Effects()


@kitaru.checkpoint(cache=False)
def pay(amount: int) -> str:
    effects.add(("paid", amount))
    return f"receipt {amount}"


@kitaru.flow
def order(amounts: list[int]) -> list[str]:
    receipts = [pay(amount) for amount in amounts]
    kitaru.sleep(timedelta(days=1))
    if kitaru.wait("more", schema=bool):
        receipts += pay.map([7, 8]).result()
    return receipts


@kitaru.flow
async def async_order(amounts: list[int]) -> list[str]:
    import asyncio

    receipts = list(await asyncio.gather(*(pay.submit(amount) for amount in amounts)))
    await kitaru.sleep(3600)
    return receipts


@kitaru.flow
def parent() -> Any:
    return [order.run([1]).wait(), pay(2)]


def test_a_flow_is_killed_before_each_of_its_commits() -> None:
    kills = crash_everywhere(order, {"amounts": [1, 2, 3]}, effects=effects, answers={"more": True})
    assert kills >= 10  # created, three payments, timer set, suspended, woken, asked ... and completed
    assert effects.counts() == {("paid", amount): 1 for amount in (1, 2, 3, 7, 8)}


def test_an_async_flow() -> None:
    assert crash_everywhere(async_order, {"amounts": [1, 2, 3]}, effects=effects) >= 4


def test_a_flow_with_a_child() -> None:
    assert crash_everywhere(parent, {}, effects=effects, answers={"more": False}) >= 8


def test_a_result_that_depends_on_the_kill_is_found() -> None:
    lives: list[int] = []

    @kitaru.flow
    def unsteady() -> int:
        lives.append(1)
        pay(1)
        return len(lives)

    with pytest.raises(AssertionError, match="killed before commit 1, the flow gave"):
        crash_everywhere(unsteady, {})


def test_an_effect_that_is_missing_after_a_kill_is_found() -> None:
    @kitaru.flow
    def forgetful() -> str:
        if kitaru.KitaruClient().executions.get(kitaru.current_execution_id()).checkpoints:
            return "receipt 1"  # it must have been paid by now, it thinks
        pay(1)
        pay(2)
        return "receipt 1"

    with pytest.raises(AssertionError, match=r"did not do \('paid', 2\)"):
        crash_everywhere(forgetful, {}, effects=effects)


def test_a_recorded_call_that_has_an_effect_again_is_found() -> None:
    again = Effect(("id", "pay"), "paid")
    peaceful = _Run(1, False, ((again,),), frozenset(), frozenset())
    with pytest.raises(AssertionError, match="although its call"):
        _compare(_Run(1, True, ((again,), (again,)), frozenset({("id", "pay")}), frozenset()), peaceful, "killed")
    with pytest.raises(AssertionError, match="made calls again"):
        _compare(
            _Run(1, True, ((again,), ()), frozenset({("id", "pay")}), frozenset({("id", "pay")})), peaceful, "killed"
        )
    # In flight when the process died: at least once is what is promised (S2.4).
    _compare(_Run(1, True, ((again,), (again,)), frozenset(), frozenset({("id", "pay")})), peaceful, "killed")


def test_a_flow_that_fails_is_told() -> None:
    @kitaru.flow
    def fails() -> None:
        raise ZeroDivisionError("of its own")

    with pytest.raises(KitaruExecutionError, match="of its own"):
        crash_everywhere(fails, {})


def test_a_wait_without_an_answer_is_told() -> None:
    with pytest.raises(TimeoutError):
        crash_everywhere(order, {"amounts": []}, timeout=0.3)


def test_a_function_that_is_no_flow_is_refused() -> None:
    with pytest.raises(KitaruUsageError, match="@flow"):
        crash_everywhere(len, {})  # type: ignore[arg-type]
