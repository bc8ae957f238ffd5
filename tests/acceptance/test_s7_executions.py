"""S7.1: looking at executions through the client: get, list with its filters and pages, latest, delete."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruNotFoundError, KitaruUsageError, checkpoint, flow
from kitaru.client.executions import Executions
from kitaru.services import wiring as process
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring
from kitaru.testing import memory_store
from tests.acceptance.gates import PATIENCE, Gate, until


@checkpoint
def step(name: str) -> str:
    return name


@flow
def alpha(name: str = "a") -> str:
    return step(name)


@flow
def beta() -> str:
    raise ValueError("no")


@flow
def parent() -> str:
    return alpha.run("child", execution_id="child").wait()


SHOUT = """
import kitaru

@kitaru.flow
def shout(text: str) -> str:
    return text.upper()

NUMBER = 1
"""


@pytest.fixture
def executions() -> Executions:
    """Five executions, oldest first: a1, a2, b1, parent, child."""
    alpha.run("1", execution_id="a1", tags=["red", "blue"]).wait(PATIENCE)
    alpha.run("2", execution_id="a2", tags=["red"]).wait(PATIENCE)
    with pytest.raises(kitaru.KitaruUserCodeError):
        beta.run(execution_id="b1", tags=["reddish"]).wait(PATIENCE)
    parent.run(execution_id="parent").wait(PATIENCE)
    return KitaruClient().executions


FILTERS: list[tuple[Mapping[str, Any], str]] = [
    ({}, "child parent b1 a2 a1"),
    ({"flow": "alpha"}, "child a2 a1"),
    ({"flow": "gamma"}, ""),
    ({"status": "failed"}, "b1"),
    ({"status": kitaru.Status.COMPLETED}, "child parent a2 a1"),
    ({"status": ["failed", kitaru.Status.COMPLETED]}, "child parent b1 a2 a1"),
    ({"status": []}, ""),
    ({"stack": "local"}, "child parent b1 a2 a1"),
    ({"stack": "elsewhere"}, ""),
    ({"tag": "red"}, "a2 a1"),
    ({"tag": "blue"}, "a1"),
    ({"parent_id": "parent"}, "child"),
    ({"original_exec_id": "a1"}, ""),
    ({"flow": "alpha", "tag": "red", "status": "completed", "limit": 1}, "a2"),
]


@pytest.mark.parametrize(("given", "expected"), FILTERS, ids=str)
def test_s7_1_executions_are_listed_newest_first_by_every_filter(
    executions: Executions, given: Mapping[str, Any], expected: str
) -> None:
    assert [execution.exec_id for execution in executions.list(**given)] == expected.split()


def test_s7_1_a_list_is_bounded_by_the_time_of_creation(executions: Executions) -> None:
    at = executions.get("b1").created_at
    assert at.tzinfo is not None

    def listed(**given: datetime) -> list[str]:
        return [execution.exec_id for execution in executions.list(**given)]

    assert listed(created_after=at) == ["child", "parent", "b1"]
    assert listed(created_after=at + timedelta(microseconds=1)) == ["child", "parent"]
    assert listed(created_before=at) == ["a2", "a1"]
    assert listed(created_after=at, created_before=at + timedelta(microseconds=1)) == ["b1"]
    assert listed(created_after=datetime.now(UTC) + timedelta(hours=1)) == []


def test_s7_1_pages_follow_each_other_without_a_gap_while_new_executions_come(executions: Executions) -> None:
    page = executions.list(limit=2)
    assert [execution.exec_id for execution in page] == ["child", "parent"]
    assert (len(page), page[0].exec_id, page.next) == (2, "child", "parent")
    alpha.run("new", execution_id="new").wait(PATIENCE)
    page = executions.list(limit=2, after=page.next)
    assert [execution.exec_id for execution in page] == ["b1", "a2"]
    page = executions.list(limit=2, after=page.next)
    assert ([execution.exec_id for execution in page], page.next) == (["a1"], None)


def test_s7_1_the_last_page_is_the_last_even_where_it_is_full(executions: Executions) -> None:
    assert executions.list(limit=5).next is None
    assert executions.list(limit=4).next == "a2"


def test_s7_1_filters_hold_on_every_page(executions: Executions) -> None:
    page = executions.list(flow="alpha", limit=1)
    seen = [page[0].exec_id]
    while page.next is not None:
        page = executions.list(flow="alpha", limit=1, after=page.next)
        seen += [execution.exec_id for execution in page]
    assert seen == ["child", "a2", "a1"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limit": 0}, "limit=0"),
        ({"limit": 1001}, "1000"),
        ({"limit": "3"}, "limit='3'"),
        ({"status": "done"}, "'done'.*completed"),
        ({"status": ["completed", "done"]}, "done"),
        ({"created_after": datetime(2024, 1, 1)}, "created_after.*time zone"),
        ({"created_before": datetime(2024, 1, 1)}, "created_before.*time zone"),
    ],
    ids=str,
)
def test_s7_1_a_filter_that_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(kitaru.KitaruUsageError, match=said):
        KitaruClient().executions.list(**given)


def test_s7_1_the_page_behind_one_that_is_gone_is_not_found(executions: Executions) -> None:
    with pytest.raises(kitaru.KitaruNotFoundError, match="'nothing'"):
        executions.list(after="nothing")


def test_s7_1_latest_is_the_newest_of_a_flow_and_status(executions: Executions) -> None:
    assert executions.latest().exec_id == "child"
    assert executions.latest("alpha").exec_id == "child"
    assert executions.latest(flow="beta", status="failed").exec_id == "b1"
    for given in ({"flow": "gamma"}, {"flow": "alpha", "status": "failed"}):
        with pytest.raises(kitaru.KitaruNotFoundError, match=given["flow"]):
            executions.latest(**given)


def test_s7_1_latest_of_nothing_says_in_which_store() -> None:
    with pytest.raises(kitaru.KitaruNotFoundError, match=r"no execution in sqlite:"):
        KitaruClient().executions.latest()


def test_s7_1_delete_removes_an_execution_with_all_that_belongs_to_it(executions: Executions) -> None:
    executions.delete("a1")
    for look in (executions.get, executions.handle, KitaruClient().artifacts.list):
        with pytest.raises(kitaru.KitaruNotFoundError, match="'a1'"):
            look("a1")
    assert "a1" not in [execution.exec_id for execution in executions.list()]
    assert executions.get("a2").checkpoints[0].output == "2"
    with pytest.raises(kitaru.KitaruNotFoundError):
        executions.delete("a1")


def test_s7_1_a_deleted_executions_id_can_be_used_again(executions: Executions) -> None:
    executions.delete("a1")
    handle = alpha.run("anew", execution_id="a1")
    assert handle.wait(PATIENCE) == "anew"
    assert executions.get("a1").tags == ()


def test_s7_1_a_handle_of_a_deleted_execution_says_so(executions: Executions) -> None:
    handle = executions.handle("a1")
    executions.delete("a1")
    for ask in (lambda: handle.status, handle.get, lambda: handle.wait(PATIENCE)):
        with pytest.raises(kitaru.KitaruNotFoundError, match="a1.*deleted"):
            ask()


def test_s7_1_deleting_what_still_runs_after_its_cancellation_ends_it_for_good() -> None:
    gate = Gate()
    seen: list[str] = []

    @flow
    def my_agent() -> None:
        gate.pass_()
        try:
            step("late")
        except BaseException as signal:
            seen.append(type(signal).__name__)
            raise

    handle = my_agent.run()
    gate.await_reached()
    handle.cancel()
    KitaruClient().executions.delete(handle.exec_id)
    gate.open()
    with pytest.raises(kitaru.KitaruNotFoundError):
        handle.wait(PATIENCE)
    until(lambda: seen)
    assert seen == ["KitaruCancelled"]
    assert len(KitaruClient().executions.list()) == 0


def test_s7_1_what_a_handle_of_the_client_does() -> None:
    gate = Gate()

    @flow
    def my_agent() -> int:
        gate.pass_()
        return 7

    exec_id = my_agent.run().exec_id
    handle = KitaruClient().executions.handle(exec_id)
    assert (handle.exec_id, handle.status) == (exec_id, "running")
    gate.open()
    assert handle.wait(PATIENCE) == handle.get() == 7


def test_s7_1_the_client_gives_the_same_answers_over_a_store_in_memory() -> None:
    process.install(Wiring(read_settings({}), store=memory_store()))
    alpha.run("1", execution_id="a1", tags=["red"]).wait(PATIENCE)
    executions = KitaruClient().executions
    assert [execution.exec_id for execution in executions.list(tag="red", status="completed")] == ["a1"]
    assert executions.get("a1").checkpoints[0].output == "1"


def test_s7_1_a_flow_is_run_by_the_name_of_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agent.py").write_text(SHOUT)
    monkeypatch.chdir(tmp_path)
    executions = KitaruClient().executions
    handle = executions.run("agent.py:shout", {"text": "owls"}, execution_id="owls-1", tags=["red"])
    assert handle.wait(PATIENCE) == "OWLS"
    assert executions.get("owls-1").tags == ("red",)
    assert (
        executions.run(f"{tmp_path}/agent.py:shout", {"text": "owls"}, execution_id="owls-1").wait(PATIENCE) == "OWLS"
    )


@pytest.mark.parametrize(
    ("target", "inputs", "error", "told"),
    [
        ("agent.py:shout", {"text": "owls", "texts": ""}, KitaruUsageError, "texts"),
        ("agent.py:shout", {"stack": "local"}, KitaruUsageError, "'stack' is an option of executions.run"),
        ("agent.py:whisper", {}, KitaruNotFoundError, "there is no flow 'agent.py:whisper', seen from"),
        ("agent.py:NUMBER", {}, KitaruNotFoundError, "names no flow"),
        ("agent.py", {}, KitaruNotFoundError, "Write module:flow or file.py:flow"),
        ("nowhere.py:shout", {}, KitaruNotFoundError, "nowhere.py"),
        ("nowhere:shout", {}, KitaruNotFoundError, "module 'nowhere'"),
    ],
)
def test_s7_1_a_source_or_input_that_does_not_fit_is_refused_before_anything_is_recorded(
    target: str,
    inputs: dict[str, str],
    error: type[Exception],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "agent.py").write_text(SHOUT)
    monkeypatch.chdir(tmp_path)
    executions = KitaruClient().executions
    with pytest.raises(error, match=re.escape(told)):
        executions.run(target, inputs)
    assert len(executions.list()) == 0
