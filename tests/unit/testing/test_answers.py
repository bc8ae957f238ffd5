"""``answer_waits``: a test answers as people would."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

import kitaru
from kitaru import KitaruWaitAbortedError, KitaruWaitValidationError, Wait
from kitaru.testing import answer_waits, fresh_kitaru


class Review(BaseModel):
    decision: Literal["approve", "revise"]
    comment: str = ""


@kitaru.flow
def letter(text: str) -> str:
    while True:
        review: Review = kitaru.wait("review", schema=Review, metadata={"text": text})
        if review.decision == "approve":
            return text
        text += review.comment


@kitaru.flow
async def both() -> list[Any]:
    import asyncio

    return list(await asyncio.gather(kitaru.wait("left", schema=int), kitaru.wait("right", schema=int)))


@kitaru.flow
def careful() -> str:
    try:
        kitaru.wait("go")
    except KitaruWaitAbortedError as error:
        return str(error)
    return "went"


def review(wait: Wait) -> dict[str, str]:
    assert wait.metadata is not None
    long_enough = len(wait.metadata["text"]) >= 3
    return {"decision": "approve"} if long_enough else {"decision": "revise", "comment": "!"}


def test_a_function_answers_each_wait_of_a_loop() -> None:
    with fresh_kitaru() as client, answer_waits({"review": review}):
        handle = letter.run("a")
        assert handle.wait(timeout=30) == "a!!"
        assert client.executions.pending_waits() == ()


def test_the_id_of_a_wait_goes_before_its_name() -> None:
    answers = {"review": {"decision": "revise", "comment": "?"}, "review_3": {"decision": "approve"}}
    with fresh_kitaru(), answer_waits(answers):
        assert letter.run("a").wait(timeout=30) == "a??"


def test_waits_that_are_open_at_once_are_all_answered() -> None:
    with fresh_kitaru(), answer_waits({"left": 1, "right": 2}):
        assert both.run().wait(timeout=30) == [1, 2]


def test_waits_that_were_open_before_are_answered_too() -> None:
    with fresh_kitaru():
        handle = careful.run()
        with answer_waits({"go": None}):
            assert handle.wait(timeout=30) == "went"


def test_a_function_can_abort() -> None:
    """S5.6"""

    def refuse(_: Wait) -> None:
        raise KitaruWaitAbortedError("not today")

    with fresh_kitaru(), answer_waits({"go": refuse}):
        assert "not today" in careful.run().wait(timeout=30)


def test_an_answer_that_does_not_fit_is_raised_and_nobody_waits_for_ever() -> None:
    with (
        fresh_kitaru(),
        pytest.raises(KitaruWaitValidationError, match="decision"),
        answer_waits({"review": {"decision": "perhaps"}}),
    ):
        letter.run("a").wait(timeout=30)


def test_an_error_of_the_tests_own_function_is_raised() -> None:
    with fresh_kitaru(), pytest.raises(ZeroDivisionError), answer_waits({"go": lambda _: 1 / 0}):
        careful.run().wait(timeout=30)


def test_a_wait_that_is_not_named_stays_open() -> None:
    with fresh_kitaru() as client, answer_waits({"other": 1}):
        handle = careful.run()
        with pytest.raises(TimeoutError):
            handle.wait(timeout=0.2)
        assert [wait.name for wait in client.executions.pending_waits()] == ["go"]
