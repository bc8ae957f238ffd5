"""The form for an answer: what is asked, what is taken, what is asked again (S5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from kitaru.client.form import Aborted, Given, fill_in
from kitaru.core.states import WaitStatus
from kitaru.core.wait import Wait


class Typist:
    """A screen at which the lines are typed that a test gives; then it is left."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)
        self.prompts: list[str] = []
        self.shown: list[str] = []

    def show(self, line: str) -> None:
        self.shown.append(line.strip())

    def read(self, prompt: str) -> str | None:
        self.prompts.append(prompt.strip())
        return f"{self._lines.pop(0)}\n" if self._lines else None


def wait_for(schema: Any) -> Wait:
    if schema is not None and not isinstance(schema, Mapping):
        schema = TypeAdapter(schema).json_schema()
    return Wait(
        exec_id="exec", wait_id="wait", name="wait", status=WaitStatus.OPEN, question="?", schema=schema, metadata=None,
        opened_at=datetime.now(UTC), expires_at=None, answered_at=None, answered_by=None, answered_via=None,
    )  # fmt: skip


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    number: int = Field(ge=1)


class Order(BaseModel):
    """An order."""

    color: Color = Color.RED
    title: str = Field(description="What it is called.")
    address: Address
    count: int | None = None
    note: str = Field(default_factory=str)


TAKEN: dict[str, tuple[Any, tuple[str, ...], Any]] = {
    "gate": (None, ("y",), True),
    "gate in capitals": (None, ("YES",), True),
    "text": (str, ("yes, do it",), "yes, do it"),
    "text in quotes": (str, ('"a\\nb"',), "a\nb"),
    "text that begins with a quote": (str, ('"so" they say',), '"so" they say'),
    "empty text": (str, ('""',), ""),
    "spaces around": (str, ("  so  ",), "so"),
    "whole number": (int, ("-3",), -3),
    "number": (float, ("2.5",), 2.5),
    "yes": (bool, ("y",), True),
    "no": (bool, ("No",), False),
    "choice": (Literal["approve", "revise"], ("revise",), "revise"),
    "choice in capitals": (Literal["approve", "revise"], ("Approve",), "approve"),
    "choice of a number": (Literal[1, 2], ("2",), 2),
    "enum": (Color, ("blue",), "blue"),
    "one value": (Literal["ok"], ("ok",), "ok"),
    "list": (list[int], ("[1, 2]",), [1, 2]),
    "mapping": (dict[str, int], ('{"a": 1}',), {"a": 1}),
    "text or nothing": (str | None, ("so",), "so"),
    "number or text": (int | str, ("12",), 12),
    "text or number": (int | str, ("twelve",), "twelve"),
    "two types": ({"type": ["string", "null"]}, ("so",), "so"),
    "anything, text": ({}, ("so",), "so"),
    "anything, data": ({}, ('{"a": [1]}',), {"a": [1]}),
    "default": ({"type": "integer", "default": 7}, ("",), 7),
    "date": ({"type": "string", "format": "date"}, ("2026-11-22",), "2026-11-22"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_s5_4_what_is_typed_becomes_data(case: str) -> None:
    schema, lines, expected = TAKEN[case]
    typist = Typist(*lines)
    assert fill_in(wait_for(schema), typist) == Given(expected)
    assert typist.shown == []


AGAIN: dict[str, tuple[Any, str, str, str]] = {
    "gate": (None, "perhaps", "y or n is expected", "y"),
    "nothing": (int, "", "An answer is expected", "1"),
    "no number": (int, "three", '"three" is no whole number', "1"),
    "a broken number": (float, "1,5", '"1,5" is no number', "1.5"),
    "not whole": (int, "1.5", "1.5 is not of type 'integer'", "1"),
    "not a number": (int, "true", "True is not of type 'integer'", "1"),
    "out of range": ({"type": "integer", "maximum": 3}, "4", "4 is greater than the maximum of 3", "3"),
    "choice": (Literal["approve", "revise"], "aprove", "none of the choices; did you mean approve?", "approve"),
    "choice far off": (Literal["approve", "revise"], "xyz", "possible are approve, revise", "approve"),
    "yes or no": (bool, "maybe", "y or n is expected", "y"),
    "list": (list[int], "1, 2", '"1, 2" is no valid JSON', "[1]"),
    "item": (list[int], '["a"]', "[0]: 'a' is not of type 'integer'", "[1]"),
    "date": ({"type": "string", "format": "date"}, "tomorrow", "'tomorrow' is not a 'date'", "2026-11-22"),
}


@pytest.mark.parametrize("case", AGAIN)
def test_s5_4_what_does_not_fit_is_told_and_asked_again(case: str) -> None:
    schema, wrong, told, right = AGAIN[case]
    typist = Typist(wrong, right)
    assert isinstance(fill_in(wait_for(schema), typist), Given)
    assert len(typist.prompts) == 2
    assert told in " ".join(typist.shown)


def test_s5_4_an_object_is_asked_for_field_by_field_the_needed_ones_first() -> None:
    typist = Typist("lamp", "High Street", "5", "", "", "")
    filled = fill_in(wait_for(Order), typist)
    assert filled == Given(
        {"title": "lamp", "address": {"number": 5, "street": "High Street"}, "color": "red", "count": None}
    )
    assert Order.model_validate(filled.value) == Order(title="lamp", address=Address(number=5, street="High Street"))
    assert typist.prompts == [
        "title (text):",
        "address.street (text):",
        "address.number (whole number):",
        'color (red | blue; Enter: "red"):',
        "count (whole number; Enter: null):",
        "note (text; Enter: none):",
    ]
    assert typist.shown == ["What it is called."]


def test_s5_4_only_the_field_that_does_not_fit_is_asked_again() -> None:
    typist = Typist("High Street", "0", "1")
    assert fill_in(wait_for(Address), typist) == Given({"number": 1, "street": "High Street"})
    assert [prompt.partition(" ")[0] for prompt in typist.prompts].count("number") == 2


def test_s5_4_what_only_the_whole_tells_is_asked_once_more() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "minProperties": 1,
    }
    typist = Typist("", "", "1", "")
    assert fill_in(wait_for(schema), typist) == Given({"a": 1})
    assert "Once more:" in " ".join(typist.shown)


@pytest.mark.parametrize("schema", [None, str, Address, bool])
def test_s5_4_a_form_can_be_aborted_or_left(schema: Any) -> None:
    assert fill_in(wait_for(schema), Typist("!abort")) == Aborted()
    assert fill_in(wait_for(schema), Typist()) is None


def test_s5_4_no_at_a_gate_aborts_it() -> None:
    assert fill_in(wait_for(None), Typist("n")) == Aborted()


def test_a_form_shows_nothing_that_moves_the_cursor() -> None:
    schema = {"type": "object", "required": ["a\x1b[2J"], "properties": {"a\x1b[2J": {"description": "\x1b]0;x\x07"}}}
    typist = Typist("x")
    fill_in(wait_for(schema), typist)
    assert "\x1b" not in " ".join([*typist.prompts, *typist.shown])


def test_references_that_go_round_are_not_followed_for_ever() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    typist = Typist()
    assert fill_in(wait_for(schema), typist) is None
    assert len(typist.prompts) == 1
