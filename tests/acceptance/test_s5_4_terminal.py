"""A process that waits at a terminal asks its questions there (S5.4). Real processes on real terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from kitaru import KitaruClient, Wait
from tests.acceptance.gates import until
from tests.acceptance.runs import TIMEOUT

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.skipif(sys.platform == "win32", reason="no terminals there")]

PROGRAM = """
import asyncio, contextlib, sys, threading, time
from typing import Literal
import kitaru
from pydantic import BaseModel


class Review(BaseModel):
    decision: Literal["approve", "revise"]
    comment: str = ""


@kitaru.flow
def gate():
    try:
        kitaru.wait("delete", question="Delete 300 files?")
    except kitaru.KitaruWaitAbortedError:
        return "kept"
    return "deleted"


@kitaru.flow
def review():
    return kitaru.wait("review", question="Publish\\x1b[2J this?", schema=Review, metadata={"draft": "Bees\\nsting."})


@kitaru.flow
def three():
    return [kitaru.wait(name, schema=int) for name in ("one", "two", "three")]


@kitaru.flow
async def at_once():
    return await asyncio.gather(*(kitaru.wait(name, schema=int) for name in ("one", "two")))


@kitaru.flow
def parent():
    return gate.run().wait()


@kitaru.flow
def expiring():
    return kitaru.wait("place", schema=str, expires_in=3, default="the usual place")


@kitaru.flow
def parked():
    return kitaru.wait("place", schema=str, timeout=0)


def in_a_thread(handle):
    thread = threading.Thread(target=lambda: print("result", handle.wait()))
    thread.start()
    thread.join()


handle = globals()[sys.argv[1]].run(execution_id="exec")
way = sys.argv[2] if len(sys.argv) > 2 else "wait"
if way == "wait":
    try:
        print("result", handle.wait())
    except kitaru.KitaruCancelledError:
        print("it was cancelled")
elif way == "thread":
    in_a_thread(handle)
elif way == "interrupted":
    with contextlib.suppress(KeyboardInterrupt):
        handle.wait()
    print("now")
    print("typed afterwards:", input())
elif way == "await":
    async def main():
        print("result", await handle)
    asyncio.run(main())
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


class Session(pexpect.spawn):
    """The program on a terminal of its own."""

    def __init__(self, program: Path, *arguments: str, **environment: str) -> None:
        super().__init__(
            sys.executable,
            [str(program), *arguments],
            cwd=str(program.parent),
            env={**os.environ, "TERM": "xterm", **environment},
            encoding="utf-8",
            timeout=TIMEOUT,
        )

    def sees(self, *texts: str) -> str:
        """Wait for the texts, in this order; what came before the last one."""
        for text in texts:
            self.expect_exact(text)
        return str(self.before)

    def ends(self) -> str:
        """Wait for the end; what it printed until then."""
        self.expect(pexpect.EOF)
        self.close()
        return str(self.before)


@pytest.fixture
def start(program: Path) -> Iterator[Any]:
    sessions: list[Session] = []

    def started(*arguments: str, **environment: str) -> Session:
        sessions.append(Session(program, *arguments, **environment))
        return sessions[-1]

    yield started
    for session in sessions:
        session.close(force=True)


def the_wait(exec_id: str = "exec", wait_id: str | None = None) -> Wait:
    waits = KitaruClient().executions.get(exec_id).waits
    return next(wait for wait in waits if wait_id in (None, wait.wait_id))


def test_s5_4_a_gate_is_continued_at_the_terminal(start: Any) -> None:
    session = start("gate")
    session.sees("gate exec asks (delete):", "Delete 300 files?", "continue? (y/n): ")
    session.sendline("y")
    session.sees("Answered.", "result deleted")
    session.ends()
    assert session.exitstatus == 0
    wait = the_wait()
    assert wait.answered_via == "terminal"
    assert wait.answered_by is not None


def test_s5_4_no_aborts_a_gate(start: Any) -> None:
    session = start("gate")
    session.sees("continue? (y/n): ")
    session.sendline("n")
    session.sees("Aborted.", "result kept")


def test_s5_4_a_form_asks_again_for_what_does_not_fit(start: Any) -> None:
    session = start("review")
    shown = session.sees("decision (approve | revise): ")
    assert "| draft: Bees" in shown
    assert "| draft: sting." in shown
    assert "\x1b" not in shown, "a question moves no cursor"
    session.sendline("aprove")
    session.sees("did you mean approve?", "decision (approve | revise): ")
    session.sendline("approve")
    session.sees('comment (text; Enter: ""): ')
    session.sendline("")
    session.sees("Answered.", "decision='approve' comment=''")


@pytest.mark.parametrize("way", ["wait", "await"])
def test_s5_4_several_questions_come_one_after_the_other(start: Any, way: str) -> None:
    session = start("three", way)
    for number, name in enumerate(("one", "two", "three")):
        session.sees(f"three exec asks ({name})", "answer (whole number): ")
        session.sendline(str(number))
    session.sees("result [0, 1, 2]")


def test_s5_4_questions_that_are_open_at_once_are_asked_in_turn(start: Any) -> None:
    session = start("at_once")
    for answer in ("5", "5"):
        session.sees("answer (whole number): ")
        session.sendline(answer)
    session.sees("result [5, 5]")


def test_s5_4_a_child_flow_asks_at_the_terminal_of_whoever_waits_for_its_parent(start: Any) -> None:
    session = start("parent")
    session.sees("asks (delete):", "continue? (y/n): ")
    session.sendline("y")
    session.sees("result deleted")


def test_s5_4_an_answer_from_elsewhere_ends_the_prompt_and_what_was_half_typed_is_thrown_away(start: Any) -> None:
    session = start("three")
    session.sees("asks (one)", "answer (whole number): ")
    before = termios.tcgetattr(session.child_fd)
    session.send("123")
    KitaruClient().executions.input("exec", 1, wait="one", by="ann")
    session.sees("one was answered by ann, elsewhere.", "asks (two)", "answer (whole number): ")
    session.sendline("2")
    session.sees("answer (whole number): ")
    session.sendline("3")
    session.sees("result [1, 2, 3]")
    assert termios.tcgetattr(session.child_fd) == before


def test_s5_4_nothing_that_was_typed_for_a_prompt_is_left_for_what_comes_after(start: Any) -> None:
    session = start("review", "interrupted")
    session.sees("decision (approve | revise): ")
    session.send("appro")
    session.sees("appro")
    os.kill(session.pid, signal.SIGINT)  # not from the terminal, which throws away what is typed by itself
    session.sees("now")
    session.sendline("hello")
    session.sees("typed afterwards: hello")


def test_s5_4_an_expiry_ends_the_prompt(start: Any) -> None:
    session = start("expiring")
    session.sees("then its default counts", "answer (text): ", "place is expired.", "result the usual place")


def test_s5_4_a_cancellation_ends_the_prompt(start: Any) -> None:
    session = start("gate")
    session.sees("continue? (y/n): ")
    KitaruClient().executions.cancel("exec")
    session.sees("it was cancelled")


def test_s5_4_an_execution_that_has_left_its_memory_still_asks(start: Any) -> None:
    session = start("parked")
    session.sees("answer (text): ")
    until(lambda: KitaruClient().executions.get("exec").status == "waiting")
    session.sendline("home")
    session.sees("result home")


def test_s5_4_ctrl_c_is_ctrl_c(start: Any) -> None:
    session = start("gate")
    session.sees("continue? (y/n): ")
    session.sendintr()
    assert "KeyboardInterrupt" in session.ends()
    assert session.signalstatus == signal.SIGINT
    assert the_wait().status == "open"


def test_s5_4_ctrl_d_leaves_the_question_open_for_others(start: Any) -> None:
    session = start("gate")
    session.sees("continue? (y/n): ")
    session.sendeof()
    session.sees("Left open. To answer it later: kitaru executions input exec --wait delete")
    KitaruClient().executions.input("exec")
    session.sees("result deleted")


def test_s5_4_what_was_typed_before_the_question_is_no_answer_to_it(start: Any) -> None:
    session = start("gate")
    session.sendline("y")  # while Python starts
    session.sees("continue? (y/n): ")
    session.sendline("n")
    session.sees("result kept")


@pytest.mark.parametrize(("way", "environment"), [("thread", {}), ("wait", {"KITARU_PROMPT": "0"})])
def test_s5_4_nothing_is_asked_where_nobody_wants_it(start: Any, way: str, environment: dict[str, str]) -> None:
    session = start("gate", way, **environment)
    until(lambda: _status() == "waiting")
    KitaruClient().executions.input("exec")
    shown = session.sees("result deleted")
    assert "asks" not in shown
    assert "(y/n)" not in shown


def test_s5_4_a_wrong_switch_is_an_error(start: Any) -> None:
    assert "KITARU_PROMPT='perhaps'" in start("gate", KITARU_PROMPT="perhaps").ends()


@pytest.mark.parametrize("stream", ["stdin", "stderr"])
def test_s5_4_nothing_is_asked_where_a_stream_is_no_terminal(program: Path, stream: str) -> None:
    ours, theirs = os.openpty()
    streams: dict[str, Any] = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": theirs, stream: subprocess.PIPE}
    child = subprocess.Popen([sys.executable, str(program), "gate"], cwd=program.parent, text=True, **streams)
    os.close(theirs)
    try:
        until(lambda: _status() == "waiting")
        KitaruClient().executions.input("exec")
        out, errors = child.communicate(timeout=TIMEOUT)
        assert out == "result deleted\n"
        assert not errors
    finally:
        child.kill()
        os.close(ours)


def _status() -> str | None:
    found = KitaruClient().executions.list()
    return next((execution.status for execution in found if execution.exec_id == "exec"), None)
