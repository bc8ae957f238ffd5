"""S5.1: what a type's own validators refuse is no answer, wherever it is found out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

import kitaru
from kitaru import KitaruClient, KitaruWaitValidationError, flow
from kitaru.core.event import EventKind
from kitaru.services.wiring import wiring
from tests.acceptance.asking import answer, asked
from tests.acceptance.gates import until
from tests.acceptance.processes import Scripts
from tests.acceptance.runs import TIMEOUT, failure_of


class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("it is odd")
        return value


@dataclass
class Plain:
    number: int


def _refusals(exec_id: str) -> list[str]:
    events = KitaruClient().executions.events(exec_id)
    return [str(event.detail["message"]) for event in events if event.kind is EventKind.ANSWER_REFUSED]


def _is_open(exec_id: str) -> bool:
    return any(wait.exec_id == exec_id for wait in KitaruClient().executions.pending_waits())


def test_s5_1_validators_of_a_type_run_before_an_answer_is_accepted() -> None:
    @flow
    def agent() -> int:
        return kitaru.wait("even", schema=Even).number

    handle = agent.run()
    asked(handle, "even")
    with pytest.raises(KitaruWaitValidationError, match=r"wait 'even': \$.number: Value error, it is odd. It is still"):
        answer(handle, {"number": 3})
    assert _is_open(handle.exec_id)
    answer(handle, {"number": 4})
    assert handle.wait(TIMEOUT) == 4
    assert _refusals(handle.exec_id) == []


@pytest.mark.parametrize(
    ("schema", "reference"),
    [
        (Even, f"{__name__}:Even"),
        (Plain, f"{__name__}:Plain"),
        (int, None),
        (list[Even], None),
        ({"type": "integer"}, None),
        (None, None),
    ],
)
def test_s5_1_the_reference_of_a_type_is_recorded_where_others_can_find_it(schema: Any, reference: str | None) -> None:
    @flow
    def agent() -> None:
        kitaru.wait("it", schema=schema)

    handle = agent.run()
    asked(handle, "it")
    (row,) = wiring().store.waits.of(handle.exec_id)
    assert row.answer_type == reference
    handle.cancel()


def _local_even() -> type[BaseModel]:
    """A type that only the body knows: whoever answers has nothing but its JSON schema."""

    class Local(Even):
        pass

    return Local


def test_s5_1_what_only_the_body_can_refuse_opens_the_wait_again() -> None:
    local = _local_even()

    @flow
    def agent() -> int:
        return kitaru.wait("even", schema=local).number

    handle = agent.run()
    asked(handle, "even")
    answer(handle, {"number": 3})
    until(lambda: bool(_refusals(handle.exec_id)))
    until(lambda: _is_open(handle.exec_id))
    (told,) = _refusals(handle.exec_id)
    assert "wait 'even'" in told
    assert "it is odd" in told
    until(lambda: handle.status == "waiting")
    (wait,) = KitaruClient().executions.pending_waits()
    assert (wait.answered_at, wait.answered_by) == (None, None)
    KitaruClient().executions.input(handle.exec_id, {"number": 4})
    assert handle.wait(TIMEOUT) == 4
    (call,) = KitaruClient().executions.get(handle.exec_id).checkpoints
    assert (call.call_id, call.status, call.output) == ("even", "completed", {"number": 4})


def test_s5_1_the_same_in_an_async_flow_that_is_attended() -> None:
    local = _local_even()

    @flow
    async def agent() -> int:
        return int((await kitaru.wait("even", schema=local)).number)

    handle = agent.run()
    asked(handle, "even")
    answer(handle, {"number": 3})
    until(lambda: bool(_refusals(handle.exec_id)) and _is_open(handle.exec_id))
    KitaruClient().executions.input(handle.exec_id, {"number": 4})
    assert handle.wait(TIMEOUT) == 4


def test_s5_7_an_answer_that_is_refused_is_not_the_choice_of_several() -> None:
    local = _local_even()

    @flow
    def agent() -> str:
        name, value = kitaru.wait_any(even={"schema": local}, stop=None)
        return f"{name} {value}"

    handle = agent.run()
    asked(handle, "even", "stop")
    executions = KitaruClient().executions
    executions.input(handle.exec_id, {"number": 3}, wait="even")
    until(lambda: bool(_refusals(handle.exec_id)))
    until(lambda: len(executions.pending_waits()) == 2)
    executions.input(handle.exec_id, wait="stop")
    assert handle.wait(TIMEOUT) == "stop True"


def test_s6_5_an_answer_of_a_replay_that_the_type_refuses_fails_it() -> None:
    @flow
    def agent() -> int:
        return kitaru.wait("even", schema=Even).number

    handle = agent.run()
    asked(handle, "even")
    answer(handle, {"number": 4})
    assert handle.wait(TIMEOUT) == 4
    replay = KitaruClient().executions.replay(handle.exec_id, overrides={"wait.even": {"output": {"number": 5}}})
    error = failure_of(replay)
    assert isinstance(error.__cause__, KitaruWaitValidationError)
    assert "it is odd" in str(error)


SCRIPT = """
import sys, kitaru
from model import Even

@kitaru.flow
def agent() -> int:
    return kitaru.wait("even", schema=Even).number

handle = agent.run(execution_id="it")
if sys.argv[1:] == ["finish"]:
    print(handle.wait(timeout=60))
"""

MODEL = """
from pydantic import BaseModel, field_validator

class Even(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("it is odd")
        return value
"""

ANSWER = """
import sys, kitaru
try:
    kitaru.KitaruClient().executions.input("it", {"number": int(sys.argv[1])})
    print("accepted")
except kitaru.KitaruWaitValidationError as error:
    print(error)
"""


def test_s5_1_another_process_runs_the_validators_of_a_type_that_it_can_import(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write("agent.py", SCRIPT)
    scripts.write("model.py", MODEL)
    scripts.write("answer.py", ANSWER)
    scripts.run("agent.py")
    (told,) = scripts.run("answer.py", "3")
    assert "it is odd" in told


def test_s5_1_a_type_that_cannot_be_imported_or_is_another_by_now_leaves_the_schema(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write("agent.py", SCRIPT)
    model = scripts.write("model.py", MODEL)
    scripts.write("answer.py", ANSWER)
    scripts.run("agent.py")
    model.write_text("raise SystemExit('not here')")
    assert scripts.run("answer.py", "3") == ["accepted"]
    (row,) = wiring().store.waits.of("it")
    assert row.status == "answered"
    model.write_text(MODEL)
    with scripts.started("agent.py", "finish") as child:
        until(lambda: bool(_refusals("it")))
        until(lambda: _is_open("it"))
        KitaruClient().executions.input("it", {"number": 6})
        printed, errors = child.finish()
    assert printed == ["6"], errors
