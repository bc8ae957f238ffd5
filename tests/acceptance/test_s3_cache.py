"""S3.4, S3.5: what an execution may reuse of earlier ones."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import kitaru
from kitaru import FlowHandle, KitaruClient, checkpoint, flow
from tests.acceptance.runs import TIMEOUT, Breakage, Program, failure_of, record, retry


class Work:
    """A checkpoint that counts its runs, and a flow that calls it once."""

    def __init__(self, **options: Any) -> None:
        self.ran: list[Any] = []
        ran = self.ran

        @checkpoint(**options)
        def work(x: Any) -> str:
            ran.append(x)
            return f"run {len(ran)}"

        @flow
        def agent(x: Any) -> str:
            return work(x)

        self.work, self.agent = work, agent

    def __call__(self, x: Any = 1, **options: Any) -> str:
        return self.agent.run(x, **options).wait(timeout=TIMEOUT)


# ── S3.5: reuse across executions ────────────────────────────────────────────────────────────────


def test_s3_5_an_equal_call_of_a_later_execution_reuses_the_result_and_says_from_where() -> None:
    work = Work()
    first, second = work.agent.run(1), None
    assert first.wait(timeout=TIMEOUT) == "run 1"
    second = work.agent.run(1)
    assert second.wait(timeout=TIMEOUT) == "run 1"
    assert len(work.ran) == 1
    call = record(second).checkpoints[0]
    assert (call.status, call.cached_from, call.cached_from_call) == ("completed", first.exec_id, "work")
    assert call.attempts == ()
    assert call.output == "run 1"
    original = record(first).checkpoints[0]
    assert (original.cached_from, original.cached_from_call) == (None, None)


def test_s3_5_other_inputs_are_not_reused() -> None:
    work = Work()
    assert [work(x) for x in (1, 2, 1.0, True, "1")] == ["run 1", "run 2", "run 3", "run 4", "run 5"]


def test_s3_5_another_flow_may_reuse_the_result() -> None:
    work = Work()
    work(1)

    @flow
    def other() -> list[str]:
        return work.work.map([1, 2]).result()

    assert other.run().wait(timeout=TIMEOUT) == ["run 1", "run 2"]


def test_s3_5_async_and_submitted_calls_reuse_results_too() -> None:
    ran: list[int] = []

    @checkpoint
    async def work(x: int) -> int:
        ran.append(x)
        return x

    @flow
    async def agent() -> list[int]:
        return [await work(1), *await asyncio.gather(work(2), work(3)), await work.submit(4)]

    first, second = agent.run(), None
    assert first.wait(timeout=TIMEOUT) == [1, 2, 3, 4]
    second = agent.run()
    assert second.wait(timeout=TIMEOUT) == [1, 2, 3, 4]
    assert sorted(ran) == [1, 2, 3, 4]
    assert [call.cached_from for call in record(second).checkpoints] == [first.exec_id] * 4


def test_s3_5_two_equal_calls_of_one_execution_are_never_served_from_each_other() -> None:
    work = Work()

    @flow
    def agent() -> list[str]:
        return [work.work(1), work.work(1), *work.work.map([1, 1]).result()]

    assert sorted(agent.run().wait(timeout=TIMEOUT)) == ["run 1", "run 2", "run 3", "run 4"]
    assert sorted(agent.run().wait(timeout=TIMEOUT)) == ["run 1", "run 2", "run 3", "run 4"]
    assert len(work.ran) == 4


def test_s3_5_equal_calls_are_reused_occurrence_by_occurrence() -> None:
    work = Work()

    @flow
    def agent(times: int) -> list[str]:
        return [work.work(1) for _ in range(times)]

    assert agent.run(2).wait(timeout=TIMEOUT) == ["run 1", "run 2"]
    assert agent.run(3).wait(timeout=TIMEOUT) == ["run 1", "run 2", "run 3"]


def test_s3_5_the_newest_success_wins() -> None:
    work = Work()
    assert work() == "run 1"
    assert work(cache=False) == "run 2"
    assert work() == "run 2"


def test_s3_5_failures_are_never_cached() -> None:
    outside = Breakage()
    ran: list[int] = []

    @checkpoint
    def work() -> str:
        ran.append(1)
        outside.check()
        return "good"

    @flow
    def agent() -> str:
        try:
            return work()
        except ConnectionError:
            return "bad"

    assert agent.run().wait(timeout=TIMEOUT) == "bad"
    assert agent.run().wait(timeout=TIMEOUT) == "bad"
    outside.mend()
    assert agent.run().wait(timeout=TIMEOUT) == "good"
    assert len(ran) == 3


def test_s3_5_a_success_of_a_failed_execution_is_reused() -> None:
    outside = Breakage()
    work = Work()

    @flow
    def agent() -> str:
        value = work.work(1)
        outside.check()
        return value

    failure_of(agent.run())
    assert work() == "run 1"


def test_s3_5_cache_false_on_the_checkpoint_neither_uses_nor_feeds_the_cache() -> None:
    work = Work(cache=False)
    assert [work(), work()] == ["run 1", "run 2"]
    handle = work.agent.run(1)
    handle.wait(timeout=TIMEOUT)
    assert record(handle).checkpoints[0].cached_from is None


def test_s3_5_cache_false_for_one_call_by_with_options() -> None:
    work = Work()
    work()

    @flow
    def agent() -> list[str]:
        return [work.work.with_options(cache=False)(1), work.work(2)]

    assert agent.run().wait(timeout=TIMEOUT) == ["run 2", "run 3"]
    assert agent.run().wait(timeout=TIMEOUT) == ["run 4", "run 3"]


def test_s3_5_cache_false_on_the_flow_switches_it_off_for_all_its_checkpoints() -> None:
    work = Work()
    sure = Work(cache=True, name="sure")
    work()
    sure()

    @flow(cache=False)
    def agent() -> list[str]:
        return [work.work(1), sure.work(1)]

    assert agent.run().wait(timeout=TIMEOUT) == ["run 2", "run 2"]
    assert agent.run().wait(timeout=TIMEOUT) == ["run 3", "run 3"]
    assert agent.run(cache=True).wait(timeout=TIMEOUT) == ["run 3", "run 3"], "the run says otherwise"


def test_s3_5_cache_false_on_the_run_switches_it_off_for_that_run() -> None:
    work = Work()
    assert [work(), work(cache=False), work(cache=True)] == ["run 1", "run 2", "run 2"]


def test_s3_5_an_execution_without_the_cache_still_reuses_its_own_records() -> None:
    outside = Breakage()
    work = Work()

    @flow(cache=False)
    def agent() -> str:
        value = work.work(1)
        outside.check()
        return value

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "run 1"
    assert len(work.ran) == 1


def test_s3_5_a_reused_result_can_be_reused_in_turn() -> None:
    work = Work()
    first = work.agent.run(1)
    first.wait(timeout=TIMEOUT)
    second = work.agent.run(1)
    second.wait(timeout=TIMEOUT)
    KitaruClient().executions.delete(first.exec_id)
    third = work.agent.run(1)
    assert third.wait(timeout=TIMEOUT) == "run 1"
    assert record(third).checkpoints[0].cached_from == second.exec_id


def test_s3_5_a_cached_call_of_a_resumed_execution_is_its_own_record_by_then() -> None:
    work, outside = Work(), Breakage()

    @flow
    def agent() -> str:
        value = work.work(1)
        outside.check()
        return value

    work()
    handle = agent.run()
    failure_of(handle)
    work(cache=False)  # a newer success elsewhere must not change what this execution has seen
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "run 1"


def test_s3_5_a_key_does_not_hand_the_result_of_other_inputs_to_another_execution() -> None:
    work = Work()

    @flow
    def agent(x: int) -> str:
        return work.work.with_options(key="the page")(x)

    assert [agent.run(x).wait(timeout=TIMEOUT) for x in (1, 2, 1)] == ["run 1", "run 2", "run 1"]


def test_s3_5_the_label_and_the_policy_are_no_part_of_the_code() -> None:
    work = Work()

    @flow
    def agent() -> str:
        return work.work.with_options(type="tool_call", retries=3, timeout=TIMEOUT)(1)

    work()
    assert agent.run().wait(timeout=TIMEOUT) == "run 1"


# ── S3.5: the same code ──────────────────────────────────────────────────────────────────────────

SOURCES = {
    "agent_flow": """
        from kitaru import checkpoint, flow
        from agent_tools import clean
        RAN = []
        @checkpoint
        def work(text):
            RAN.append(text)
            return clean(text)
        @flow
        def agent(text):
            return work(text)
        """,
    "agent_tools": """
        import agent_words
        def clean(text):
            return agent_words.strip(text) + "!"
        """,
    "agent_words": """
        MARK = "?"
        def strip(text):
            return text.strip() + MARK
        def unrelated():
            return 1
        """,
}


class Project:
    """Modules that can be edited between executions, as a developer does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sources = {name: "\n".join(line[8:] for line in text.splitlines()) for name, text in SOURCES.items()}

    def load(self) -> ModuleType:
        for name, text in self.sources.items():
            (self.folder / f"{name}.py").write_text(text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("agent_flow")

    def edit(self, module: str, old: str, new: str) -> None:
        assert old in self.sources[module]
        self.sources[module] = self.sources[module].replace(old, new)

    def runs_again(self) -> bool:
        """Run the flow with the sources as they are; whether its checkpoint ran."""
        module = self.load()
        module.agent.run(" x ").wait(timeout=TIMEOUT)
        return bool(module.RAN)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Project(folder)
    for name in SOURCES:
        sys.modules.pop(name, None)


def test_s3_5_unchanged_code_is_reused_after_a_reload(project: Project) -> None:
    assert [project.runs_again(), project.runs_again()] == [True, False]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        pytest.param("agent_flow", "return clean(text)", "return clean(text) + '.'", id="the function"),
        pytest.param("agent_tools", '"!"', '"!!"', id="a helper"),
        pytest.param("agent_words", "text.strip()", "text.lstrip()", id="a helper two modules away"),
        pytest.param("agent_words", 'MARK = "?"', 'MARK = "¿"', id="a constant two modules away"),
        pytest.param("agent_flow", "def work(text)", "def work(text, *, new=1)", id="the signature"),
    ],
)
def test_s3_5_edited_code_runs_again(project: Project, module: str, old: str, new: str) -> None:
    assert project.runs_again()
    project.edit(module, old, new)
    assert [project.runs_again(), project.runs_again()] == [True, False]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        pytest.param("agent_flow", "return work(text)", "return [work(text)]", id="the flow's body"),
        pytest.param("agent_words", "return 1", "return 2", id="a function that is not reached"),
        pytest.param("agent_tools", "def clean", "# a comment\ndef clean", id="a comment"),
        pytest.param("agent_flow", "@checkpoint", "@checkpoint(type='tool_call')", id="an option"),
    ],
)
def test_s3_5_an_edit_that_does_not_concern_the_checkpoint_keeps_the_cache(
    project: Project, module: str, old: str, new: str
) -> None:
    assert project.runs_again()
    project.edit(module, old, new)
    assert not project.runs_again()


def test_s3_5_and_s3_2_within_one_execution_edited_code_does_not_undo_what_was_recorded(project: Project) -> None:
    """Code may be edited while an execution is parked; its records stay (S3)."""
    project.edit("agent_flow", "return work(text)", "value = work(text)\n    raise ConnectionError(value)")
    module = project.load()
    handle: FlowHandle[str] = module.agent.run(" x ")
    failure_of(handle)
    project.edit("agent_flow", "\n    raise ConnectionError(value)", "\n    return value")
    project.edit("agent_tools", '"!"', '"!!"')
    module = project.load()
    assert retry(handle).wait(timeout=TIMEOUT) == "x?!"
    assert module.RAN == []


def test_s3_5_the_cache_holds_across_processes(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        """
from kitaru import checkpoint, flow
RAN = []
@checkpoint
def work(x):
    RAN.append(x)
    return {x, "b", "c"}
@flow
def agent():
    return work("a")
print(sorted(agent.run().wait(timeout=30)), len(RAN))
""",
    )
    assert [program.printed(), program.printed()] == ["['a', 'b', 'c'] 1", "['a', 'b', 'c'] 0"]


# ── S3.4: opaque inputs ──────────────────────────────────────────────────────────────────────────


class Client:
    """What an SDK's client is to us: it cannot be recorded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


OPAQUE: list[Any] = [
    pytest.param(Client, id="client"),
    pytest.param(threading.Lock, id="lock"),
    pytest.param(lambda: lambda: 1, id="lambda"),
    pytest.param(lambda: open("/dev/null"), id="file"),  # noqa: SIM115  # closed by the test
    pytest.param(lambda: [1, {"deep": Client()}], id="deep inside"),
]


def close(value: Any) -> None:
    getattr(value, "close", lambda: None)()


@pytest.mark.parametrize("make", OPAQUE)
def test_s3_4_an_input_that_cannot_be_digested_counts_as_a_token_of_its_type(make: Callable[[], Any]) -> None:
    work, outside = Work(), Breakage()

    @flow
    def agent() -> str:
        value = make()
        result = work.work(value)
        close(value)
        outside.check()
        return result

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "run 1"
    assert len(work.ran) == 1, "a new client of the same type is the same call when the execution resumes"


@pytest.mark.parametrize("make", OPAQUE)
def test_s3_4_a_call_with_such_an_input_is_never_part_of_the_cache(make: Callable[[], Any]) -> None:
    work = Work()

    @flow
    def agent() -> str:
        value = make()
        try:
            return work.work(value)
        finally:
            close(value)

    assert agent.run().wait(timeout=TIMEOUT) == "run 1"
    second = agent.run()
    assert second.wait(timeout=TIMEOUT) == "run 2"
    assert record(second).checkpoints[0].cached_from is None


def test_s3_4_a_key_does_not_bring_such_a_call_into_the_cache() -> None:
    work = Work()

    @flow
    def agent() -> str:
        return work.work.with_options(key="k")(Client())

    assert [agent.run().wait(timeout=TIMEOUT) for _ in range(2)] == ["run 1", "run 2"]


def test_s3_4_other_types_are_other_calls_and_plain_inputs_beside_them_still_count() -> None:
    ran: list[int] = []

    @checkpoint
    def work(client: Any, x: int) -> int:
        ran.append(x)
        return len(ran)

    runs: list[int] = []

    @flow
    def agent() -> list[int]:
        runs.append(1)
        values = [work(Client(), 1), work(threading.Lock(), 1), work(Client(), len(runs) + 1)]
        if len(runs) == 1:
            raise ConnectionError
        return values

    handle = agent.run()
    failure_of(handle)
    assert retry(handle).wait(timeout=TIMEOUT) == [1, 2, 4]


def test_s3_4_the_checkpoint_gets_the_very_object() -> None:
    client = Client()
    got: list[Any] = []

    @checkpoint
    def work(given: Client) -> None:
        got.append(given)

    @flow
    def agent() -> None:
        work(client)
        work.submit(client).result()

    handle = agent.run()
    handle.wait(timeout=TIMEOUT)
    assert got == [client, client]
    assert "Client" in repr(record(handle).checkpoints[0].inputs["given"])


def test_s3_4_a_socket_is_opaque_too() -> None:
    work = Work()
    one, other = socket.socketpair()

    @flow
    def agent() -> str:
        return work.work(one)

    try:
        assert agent.run().wait(timeout=TIMEOUT) == "run 1"
    finally:
        one.close()
        other.close()


def test_s3_5_kitaru_configure_switches_the_cache_off_for_the_process() -> None:
    work = Work()
    work()
    kitaru.configure(cache=False)
    try:
        assert work() == "run 2"
    finally:
        from kitaru.services import wiring

        wiring.overrides.pop("cache")
