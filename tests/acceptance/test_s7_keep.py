"""S7.3: what flows and checkpoints keep beside results: log, save, load, current_execution_id."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from tests.acceptance.gates import PATIENCE
from tests.acceptance.processes import Scripts


def test_s7_3_log_keeps_metadata_with_the_call_or_with_the_execution() -> None:
    @checkpoint
    def ask(prompt: str) -> str:
        kitaru.log(tokens=3, model="small")
        kitaru.log(tokens=5)
        return prompt

    @checkpoint
    async def ask_async(prompt: str) -> str:
        kitaru.log(tokens=7)
        return prompt

    @flow
    async def my_agent() -> None:
        kitaru.log(topic="x", nested={"a": (1, 2)})
        ask("a")
        await ask.submit("b")
        await ask_async("c")
        kitaru.log(topic="y")

    handle = my_agent.run()
    handle.wait(PATIENCE)
    execution = KitaruClient().executions.get(handle.exec_id)
    assert execution.metadata == {"topic": "y", "nested": {"a": (1, 2)}}
    assert [call.metadata for call in execution.checkpoints] == [
        {"tokens": 5, "model": "small"},
        {"tokens": 5, "model": "small"},
        {"tokens": 7},
    ]


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), float("nan"), float("inf"), True, None, 2**63, 1e308, "5"], ids=lambda v: repr(v)[:9]
)
def test_s7_3_any_number_can_be_logged(value: Any) -> None:
    @flow
    def my_agent() -> None:
        kitaru.log(value=value)

    handle = my_agent.run()
    handle.wait(PATIENCE)
    kept = KitaruClient().executions.get(handle.exec_id).metadata["value"]
    assert repr(kept) == repr(value)


def test_s7_3_what_a_failed_attempt_logged_is_kept_too() -> None:
    @checkpoint
    def ask() -> None:
        kitaru.log(cost=2)
        kitaru.save("reply", "half")
        raise ValueError("no")

    @flow
    def my_agent() -> None:
        ask()

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    assert KitaruClient().executions.get(handle.exec_id).checkpoints[0].metadata == {"cost": 2}
    assert kitaru.load(handle.exec_id, "reply") == "half"


def test_s7_3_what_was_logged_last_before_the_body_failed_is_kept() -> None:
    @flow
    def my_agent() -> None:
        kitaru.log(reached="the end")
        raise ValueError("no")

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    assert KitaruClient().executions.get(handle.exec_id).metadata == {"reached": "the end"}


def test_s7_3_saved_values_are_loaded_by_execution_and_name() -> None:
    large = list(range(100_000))

    @checkpoint
    def write(text: str) -> str:
        kitaru.save("report", {"text": text, "parts": (1, 2)})
        return text

    @flow
    def my_agent() -> str:
        kitaru.save("notes", "one")
        kitaru.save("notes", "two")
        kitaru.save("large", large)
        return write("three")

    handle = my_agent.run(execution_id="exec-1")
    handle.wait(PATIENCE)
    assert kitaru.load(handle.exec_id, "notes") == "two"
    assert kitaru.load("exec", "report") == {"text": "three", "parts": (1, 2)}
    artifacts = KitaruClient().artifacts
    listed = artifacts.list("exec-1")
    assert [(one.name, one.call_id, one.exec_id) for one in listed] == [
        ("large", None, "exec-1"),
        ("notes", None, "exec-1"),
        ("report", "write", "exec-1"),
    ]
    assert listed[1].created_at <= listed[0].created_at <= listed[2].created_at
    assert artifacts.get("exec-1", "large").load() == large


def test_s7_3_a_saved_value_can_be_loaded_while_the_body_goes_on() -> None:
    """In a flow's body it is on disk when ``save`` returns."""

    @flow
    def my_agent() -> str:
        kitaru.save("draft", "one")
        return kitaru.load(kitaru.current_execution_id(), "draft")

    assert my_agent.run().wait(PATIENCE) == "one"


def test_s7_3_what_is_not_there_is_not_found_and_the_names_that_are_there_are_listed() -> None:
    @flow
    def my_agent() -> None:
        kitaru.save("draft", 1)
        kitaru.save("appendix", 1)

    handle = my_agent.run()
    handle.wait(PATIENCE)
    with pytest.raises(kitaru.KitaruNotFoundError, match=rf"{handle.exec_id}.*'report'.*appendix, draft"):
        kitaru.load(handle.exec_id, "report")
    with pytest.raises(kitaru.KitaruNotFoundError, match="'nothing'"):
        kitaru.load("nothing", "draft")
    with pytest.raises(kitaru.KitaruNotFoundError, match="'nothing'"):
        KitaruClient().artifacts.list("nothing")


@pytest.mark.parametrize("name", ["", 5, None, b"x"])
def test_s7_3_an_artifact_needs_a_name(name: Any) -> None:
    @flow
    def my_agent() -> None:
        kitaru.save(name, 1)

    with pytest.raises(kitaru.KitaruUserCodeError, match="a name is expected"):
        my_agent.run().wait(PATIENCE)


def test_s7_3_what_cannot_be_recorded_is_refused_where_it_is_kept() -> None:
    refused: list[str] = []

    @checkpoint
    def keeps() -> str:
        for keep in (lambda: kitaru.log(lock=threading.Lock()), lambda: kitaru.save("lock", [threading.Lock()])):
            try:
                keep()
            except kitaru.KitaruSerializationError as error:
                refused.append(str(error))
        return "done"

    @flow
    def my_agent() -> str:
        return keeps()

    assert my_agent.run().wait(PATIENCE) == "done"
    assert "metadata lock" in refused[0]
    assert "artifact lock[0]" in refused[1]


def test_s7_3_current_execution_id_in_the_body_and_in_a_checkpoint() -> None:
    @checkpoint
    def ask() -> str:
        return kitaru.current_execution_id()

    @checkpoint
    async def ask_async() -> str:
        return kitaru.current_execution_id()

    @flow
    async def my_agent() -> set[str]:
        return {kitaru.current_execution_id(), ask(), await ask.submit(), await ask_async()}

    handle = my_agent.run(cache=False)
    assert handle.wait(PATIENCE) == {handle.exec_id}


@pytest.mark.parametrize(
    "call",
    [
        lambda: kitaru.log(a=1),
        lambda: kitaru.save("a", 1),
        kitaru.current_execution_id,
        kitaru.idempotency_key,
        kitaru.now,
        kitaru.uuid4,
        kitaru.random,
    ],
)
def test_s7_3_outside_a_flow_there_is_nothing_to_keep_it_with(call: Any) -> None:
    with pytest.raises(kitaru.KitaruContextError, match=r"kitaru\.\w+\(\) is called outside a flow"):
        call()


def test_s7_3_what_was_saved_survives_the_process(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write(
        "agent.py",
        """
        import threading, kitaru
        from kitaru import flow

        @flow
        def agent() -> None:
            kitaru.save("draft", "one")
            print("saved", flush=True)
            threading.Event().wait()

        agent.run(execution_id="a")
        """,
    )
    scripts.kill_at("saved", "agent.py")
    assert kitaru.load("a", "draft") == "one"
