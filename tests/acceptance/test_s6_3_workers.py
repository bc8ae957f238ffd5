"""S6.3: workers run the executions of their stack, in processes that come, go and are killed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kitaru import FailureOrigin, KitaruClient, create_stack
from kitaru.core.states import Status
from kitaru.services.run_apart import MOST_TAKEOVERS
from kitaru.services.wiring import wiring
from tests.acceptance.gates import PATIENCE, until
from tests.acceptance.processes import Child, Scripts

AGENT = """
import os, sys, threading, time
from pathlib import Path
import kitaru
from kitaru import checkpoint, flow
from kitaru.services.wiring import wiring

def note(line: str) -> None:
    with open("notes", "a") as file:
        file.write(line + "\\n")

def wait_for(name: str) -> None:
    while not Path(name).exists():
        time.sleep(0.01)

def hear(name: str) -> None:
    if Path("hear").exists():  # until this process knows that it is to end
        while wiring().runner._leaving is None:
            time.sleep(0.01)
        Path("heard-" + name).touch()

@checkpoint
def first(name: str) -> int:
    note(f"first-{name}")
    return os.getpid()

@checkpoint
def slow(name: str) -> int:
    note(f"slow-{name}-begins")
    hear(name)
    wait_for("go-" + name)
    note(f"slow-{name}-ends")
    return os.getpid()

@checkpoint
def last(name: str) -> int:
    note(f"last-{name}")
    return os.getpid()

@flow
def agent(name: str) -> list[int]:
    return [first(name), slow(name), last(name)]

@flow
async def async_agent(name: str) -> list[int]:
    return [first(name), slow(name), last(name)]

@flow
def quick(name: str) -> list[int]:
    return [first(name), last(name)]

@flow
def asks(name: str) -> str:
    return f"{first(name)} {kitaru.wait('who', schema=str)} {os.getpid()}"

@flow
def parent(name: str) -> int:
    return slow(name) and quick.run(name).wait()[0]

@flow
def fails_once(name: str) -> int:
    if not Path("repaired").exists():
        raise ValueError("broken")
    return first(name)

@flow
def kills(name: str) -> int:
    first(name)
    if not Path("repaired").exists():
        os.kill(os.getpid(), 9)
    return last(name)

@flow(retries=1)
def fails_twice(name: str) -> None:
    note(f"body-{name}")
    if Path("notes").read_text().count(f"body-{name}") > 1:
        slow(name)
    raise ValueError("broken")

@flow
def dies(name: str) -> int:
    first(name)
    if not Path("died").exists():
        Path("died").touch()
        os.kill(os.getpid(), 9)
    return last(name)
"""
SUBMIT = """
import sys
import agent

for name in sys.argv[2:]:
    getattr(agent, sys.argv[1]).run(name, execution_id=name, stack="fleet")
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    made = Scripts(tmp_path / "project")
    made.write("agent.py", AGENT)
    made.write("submit.py", SUBMIT)
    create_stack("fleet", kind="worker")
    return made


@contextmanager
def a_worker(scripts: Scripts, *options: str) -> Iterator[Child]:
    with scripts.started("-m", "kitaru", "worker", "--stack", "fleet", *options) as child:
        yield child


def submit(scripts: Scripts, flow: str, *names: str) -> None:
    scripts.run("submit.py", flow, *names)


def end(child: Child) -> str:
    """Ask a worker to end; what it complained of."""
    child.process.send_signal(signal.SIGTERM)
    return complaints(child)


def complaints(child: Child) -> str:
    """What a worker that ends in good order has said, but for its greeting."""
    _, errors = child.finish()
    assert child.process.returncode == 0, errors
    return errors.partition("good order\n")[2]


def asked_to_end(scripts: Scripts, worker: Child) -> None:
    """Ask a worker that is in the slow call of ``a``, and wait until the process of that call knows it."""
    worker.process.send_signal(signal.SIGTERM)
    until((scripts.folder / "heard-a").exists)
    (scripts.folder / "hear").unlink()


def finished(name: str) -> object:
    """The result, once it is there."""
    executions = KitaruClient().executions
    until(lambda: executions.get(name).status.finished)
    assert executions.get(name).status is Status.COMPLETED, executions.get(name).failure
    return executions.get(name).result


def test_s6_3_a_worker_runs_what_waits_for_its_stack_and_nobody_else_does(scripts: Scripts) -> None:
    submit(scripts, "quick", "a", "b")
    assert {KitaruClient().executions.get(name).status for name in "ab"} == {Status.PENDING}
    with a_worker(scripts) as child:
        pids = [finished("a"), finished("b")]
        assert end(child) == ""
    assert pids == [[child.process.pid] * 2] * 2


@pytest.mark.parametrize("flow", ["agent", "async_agent"])
def test_s6_3_a_worker_that_is_asked_to_end_lets_its_call_end_and_another_goes_on_at_once(
    scripts: Scripts, flow: str
) -> None:
    (scripts.folder / "hear").touch()
    submit(scripts, flow, "a")
    with a_worker(scripts) as one:
        until(lambda: "slow-a-begins" in scripts.lines("notes"))
        asked_to_end(scripts, one)
        submit(scripts, flow, "b")  # which the leaving worker does not take any more
        (scripts.folder / "go-a").touch()
        (scripts.folder / "go-b").touch()
        assert complaints(one) == ""
    assert KitaruClient().executions.get("a").status is Status.PENDING
    assert KitaruClient().executions.get("b").status is Status.PENDING
    with a_worker(scripts) as other:
        assert finished("a") == [one.process.pid, one.process.pid, other.process.pid]
        finished("b")
        end(other)
    of_a = [line for line in scripts.lines("notes") if "-a" in line]
    assert of_a == ["first-a", "slow-a-begins", "slow-a-ends", "last-a"]


def test_s6_3_a_worker_that_is_asked_to_end_lets_the_calls_in_its_processes_end(scripts: Scripts) -> None:
    (scripts.folder / "hear").touch()
    submit(scripts, "agent", "a")
    with a_worker(scripts, "--isolation", "process") as one:
        until(lambda: "slow-a-begins" in scripts.lines("notes"))
        asked_to_end(scripts, one)
        assert not threading.Event().wait(0.5)  # some rounds of asking
        (scripts.folder / "go-a").touch()
        assert complaints(one) == ""
    assert KitaruClient().executions.get("a").status is Status.PENDING
    with a_worker(scripts) as other:
        finished("a")
        end(other)
    assert scripts.lines("notes") == ["first-a", "slow-a-begins", "slow-a-ends", "last-a"]


def test_s6_3_a_call_that_outlives_the_grace_runs_again_elsewhere(scripts: Scripts) -> None:
    submit(scripts, "agent", "a")
    with a_worker(scripts, "--grace", "0.1") as one:
        until(lambda: "slow-a-begins" in scripts.lines("notes"))
        end(one)
    (scripts.folder / "go-a").touch()
    with a_worker(scripts) as other:
        assert finished("a") == [one.process.pid, other.process.pid, other.process.pid]
        end(other)
    assert scripts.lines("notes").count("first-a") == 1


def test_s6_3_a_second_signal_ends_a_worker_at_once(scripts: Scripts) -> None:
    submit(scripts, "agent", "a")
    with a_worker(scripts, "--grace", "1000") as child:
        until(lambda: "slow-a-begins" in scripts.lines("notes"))
        child.process.send_signal(signal.SIGTERM)

        def ended_by_another() -> bool:
            child.process.send_signal(signal.SIGTERM)  # more than one: while one is pending, the next is lost
            return child.process.poll() is not None

        until(ended_by_another)
        assert child.process.returncode == 128 + signal.SIGTERM


def test_s6_3_what_a_killed_worker_ran_is_taken_up_by_another(scripts: Scripts) -> None:
    submit(scripts, "agent", "a", "b")
    with a_worker(scripts) as one:
        until(lambda: {"slow-a-begins", "slow-b-begins"} <= set(scripts.lines("notes")))
        one.kill()
    for name in "ab":
        (scripts.folder / f"go-{name}").touch()
    with a_worker(scripts) as other:
        for name in "ab":
            assert finished(name) == [one.process.pid, other.process.pid, other.process.pid]
        end(other)


def test_s6_3_a_worker_runs_no_more_at_once_than_it_has_places(scripts: Scripts) -> None:
    submit(scripts, "agent", "a", "b", "c")
    with a_worker(scripts, "--concurrency", "2") as child:
        until(lambda: len(scripts.lines("notes")) >= 4)
        assert not threading.Event().wait(0.3)
        assert sorted(scripts.lines("notes")) == ["first-a", "first-b", "slow-a-begins", "slow-b-begins"]
        for name in "abc":
            (scripts.folder / f"go-{name}").touch()
        for name in "abc":
            finished(name)
        end(child)


def test_s6_3_a_flow_that_cannot_be_loaded_here_is_left_to_others(scripts: Scripts, tmp_path: Path) -> None:
    submit(scripts, "quick", "a")
    (scripts.folder / "agent.py").rename(scripts.folder / "away")
    scripts.write("other.py", AGENT)
    scripts.write("submit_other.py", SUBMIT.replace("agent", "other"))
    scripts.run("submit_other.py", "quick", "b")
    with a_worker(scripts) as child:
        finished("b")  # which is younger
        errors = end(child)
    assert "agent:quick" in errors
    assert KitaruClient().executions.get("a").status is Status.PENDING
    (scripts.folder / "away").rename(scripts.folder / "agent.py")
    with a_worker(scripts) as child:
        finished("a")
        end(child)


def test_s6_3_each_execution_may_have_a_process_of_its_own_whose_death_is_its_own(scripts: Scripts) -> None:
    with a_worker(scripts, "--isolation", "process") as child:
        submit(scripts, "dies", "a")
        submit(scripts, "quick", "b")
        own = finished("b")
        assert isinstance(own, list)
        assert own[0] != child.process.pid
        assert finished("a")
        end(child)
    assert scripts.lines("notes").count("first-a") == 1


def test_s5_2_an_answer_wakes_an_execution_on_a_worker_of_its_stack(scripts: Scripts) -> None:
    with a_worker(scripts) as one:
        submit(scripts, "asks", "a")
        until(lambda: KitaruClient().executions.get("a").status is Status.WAITING)
        end(one)
    with a_worker(scripts) as other:
        until(lambda: wiring().store.runners.serves("fleet"))
        KitaruClient().executions.input("a", "me")
        assert finished("a") == f"{one.process.pid} me {other.process.pid}"
        end(other)


def test_s5_2_with_no_worker_left_the_process_that_answers_goes_on(scripts: Scripts) -> None:
    with a_worker(scripts) as one:
        submit(scripts, "asks", "a")
        until(lambda: KitaruClient().executions.get("a").status is Status.WAITING)
        end(one)
    answer = "from kitaru import KitaruClient\nKitaruClient().executions.input('a', 'me')\n"
    scripts.write("answer.py", answer)
    with scripts.started("answer.py") as child:
        child.finish()
    assert finished("a") == f"{one.process.pid} me {child.process.pid}"


def test_s1_10_a_child_flow_runs_in_the_worker_of_its_parent(scripts: Scripts) -> None:
    (scripts.folder / "go-a").touch()
    submit(scripts, "parent", "a")
    with a_worker(scripts, "--concurrency", "1") as child:
        assert finished("a") == child.process.pid
        end(child)


def test_s6_4_a_failed_execution_is_retried_by_the_workers_of_its_stack(scripts: Scripts) -> None:
    with a_worker(scripts) as child:
        submit(scripts, "fails_once", "a")
        until(lambda: KitaruClient().executions.get("a").status is Status.FAILED)
        (scripts.folder / "repaired").touch()
        assert KitaruClient().executions.retry("a").wait(PATIENCE) == child.process.pid
        end(child)


def test_s6_3_a_project_has_the_same_name_wherever_it_lies(scripts: Scripts, tmp_path: Path) -> None:
    elsewhere = Scripts(tmp_path / "elsewhere")
    elsewhere.write("agent.py", AGENT)
    submit(scripts, "quick", "unnamed")
    for place in (scripts, elsewhere):
        place.write("pyproject.toml", "[tool.kitaru]\nproject = 'refunds'\n")
    submit(scripts, "quick", "a")
    with a_worker(elsewhere) as child:
        assert finished("a") == [child.process.pid] * 2
        end(child)
    assert KitaruClient().executions.get("unnamed").status is Status.PENDING


def test_s6_3_an_execution_that_kills_every_process_is_given_up_and_can_be_retried(scripts: Scripts) -> None:
    submit(scripts, "kills", "a")
    deaths = 0
    while KitaruClient().executions.get("a").status is not Status.FAILED:
        with a_worker(scripts) as child:
            until(lambda: child.process.poll() is not None or KitaruClient().executions.get("a").status.finished)
            deaths += child.process.poll() is not None
    assert deaths == 1 + MOST_TAKEOVERS
    failure = KitaruClient().executions.get("a").failure
    assert failure is not None
    assert failure.origin is FailureOrigin.INFRASTRUCTURE
    assert f"died {MOST_TAKEOVERS} times in a row" in failure.message
    (scripts.folder / "repaired").touch()
    with a_worker(scripts) as child:
        until(lambda: wiring().store.runners.serves("fleet"))
        assert KitaruClient().executions.retry("a").wait(PATIENCE) == child.process.pid
        end(child)
    assert scripts.lines("notes").count("first-a") == 1


def test_s1_7_a_flows_retries_are_used_up_whatever_process_goes_on_with_it(scripts: Scripts) -> None:
    submit(scripts, "fails_twice", "a")
    with a_worker(scripts) as one:
        until(lambda: "slow-a-begins" in scripts.lines("notes"))
        one.kill()
    (scripts.folder / "go-a").touch()
    with a_worker(scripts) as other:
        until(lambda: KitaruClient().executions.get("a").status is Status.FAILED)
        end(other)
    assert [attempt.number for attempt in KitaruClient().executions.get("a").attempts] == [1, 2]
    assert scripts.lines("notes").count("body-a") == 3
