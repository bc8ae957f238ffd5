"""S5.1: what a wait asks for, what fits it, and what the body gets."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pydantic
import pytest

import kitaru
from kitaru import KitaruUsageError, KitaruWaitValidationError, flow
from tests.acceptance.asking import answer, asked, open_waits
from tests.acceptance.runs import TIMEOUT, failure_of


class Review(pydantic.BaseModel):
    approved: bool
    stars: int = pydantic.Field(ge=1, le=5)


@dataclass
class Address:
    street: str
    number: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


NAMED = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

KINDS = [
    pytest.param(bool, True, True, "yes", id="bool"),
    pytest.param(int, 3, 3, "3", id="int"),
    pytest.param(str, "", "", None, id="str"),
    pytest.param(Literal["yes", "no"], "no", "no", "maybe", id="literal"),
    pytest.param(int | None, None, None, "x", id="optional"),
    pytest.param(list[int], [1, 2], [1, 2], [1, "x"], id="list"),
    pytest.param(tuple[int, str], [1, "a"], (1, "a"), [1], id="tuple"),
    pytest.param(Colour, "red", Colour.RED, "green", id="enum"),
    pytest.param(date, "2030-01-31", date(2030, 1, 31), "tomorrow", id="date"),
    pytest.param(
        Review, {"approved": True, "stars": 5}, Review(approved=True, stars=5), {"approved": True, "stars": 6},
        id="model",
    ),
    pytest.param(Address, {"street": "s", "number": 1}, Address("s", 1), {"street": "s"}, id="dataclass"),
    pytest.param(NAMED, {"name": "n", "more": 1}, {"name": "n", "more": 1}, {"nome": "n"}, id="json-schema"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "given", "restored", "wrong"), KINDS)
def test_s5_1_an_answer_is_validated_and_comes_back_as_the_schema_has_it(
    schema: Any, given: Any, restored: Any, wrong: Any
) -> None:
    got: list[Any] = []

    @flow
    def agent() -> None:
        got.append(kitaru.wait("form", schema=schema))

    handle = agent.run()
    asked(handle, "form")
    with pytest.raises(KitaruWaitValidationError, match=r"form.*still waiting; answer again"):
        answer(handle, wrong)
    assert handle.status == "waiting"
    assert open_waits(handle.exec_id)["form"].answered_by is None
    answer(handle, given)
    handle.wait(timeout=TIMEOUT)
    assert got == [restored]
    assert type(got[0]) is type(restored)


def test_s5_1_a_refusal_names_the_places_in_the_answer_that_do_not_fit() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait("form", schema=Review)

    handle = agent.run()
    asked(handle, "form")
    with pytest.raises(KitaruWaitValidationError) as caught:
        answer(handle, {"approved": "x", "stars": 9})
    assert "$.approved" in str(caught.value)
    assert "$.stars" in str(caught.value)
    handle.cancel()


@pytest.mark.parametrize("given", [None, "anything", False])
def test_s5_1_a_wait_without_a_schema_is_a_gate_that_any_answer_continues(given: Any) -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait()

    handle = agent.run()
    assert asked(handle, "wait")["wait"].schema is None
    answer(handle, given)
    assert handle.wait(timeout=TIMEOUT) is True


def test_s5_1_a_wait_is_a_named_record_with_its_question_schema_and_metadata() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait("approval", question="Publish?", schema=bool, metadata={"draft": [1, "two"]})

    handle = agent.run()
    wait = asked(handle, "approval")["approval"]
    assert (wait.exec_id, wait.name, wait.status) == (handle.exec_id, "approval", "open")
    assert (wait.question, wait.schema, wait.metadata) == ("Publish?", {"type": "boolean"}, {"draft": [1, "two"]})
    assert (wait.expires_at, wait.answered_at) == (None, None)
    handle.cancel()


@pytest.mark.parametrize(
    "options",
    [
        {"schema": object()},
        {"schema": {"type": "no such type"}},
        {"name": "kitaru.own"},
        {"name": 3},
        {"expires_in": 5},
        {"default": 5},
        {"expires_in": -1, "default": None},
        {"expires_in": float("nan"), "default": None},
        {"timeout": -1},
        {"timeout": "10"},
        {"question": 3},
        {"metadata": "draft"},
        {"expires_in": 1e12, "default": None},
        {"schema": bool, "expires_in": 5, "default": "not a bool"},
        {"schema": NAMED, "expires_in": 5, "default": {"nome": 1}},
    ],
)
def test_s5_1_a_wrong_argument_is_refused_and_nothing_is_recorded(options: dict[str, Any]) -> None:
    @flow
    def agent() -> Any:
        with pytest.raises(KitaruUsageError):
            kitaru.wait(**options)
        return "refused"

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == "refused"
    assert kitaru.KitaruClient().executions.pending_waits() == ()


def test_s5_1_an_async_wait_gives_the_same_types() -> None:
    @flow
    async def agent() -> Any:
        return (await kitaru.wait("form", schema=Address)).street

    handle = agent.run()
    asked(handle, "form")
    answer(handle, {"street": "s", "number": 1})
    assert handle.wait(timeout=TIMEOUT) == "s"


def test_s5_1_one_name_cannot_be_a_wait_and_a_checkpoint() -> None:
    @kitaru.checkpoint
    def review() -> int:
        return 1

    @flow
    def agent() -> Any:
        review()
        return kitaru.wait("review")

    assert "review" in str(failure_of(agent.run()))
