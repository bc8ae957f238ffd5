"""What flows print and log is kept with the call that did it, and can be followed live (S7.3)."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

import kitaru
from kitaru import KitaruClient, KitaruExecutionError, KitaruNotFoundError, KitaruUsageError, LogEntry, checkpoint, flow
from kitaru.services import wiring

pytestmark = pytest.mark.usefixtures("home")

log = logging.getLogger("app.part")


def logs_of(exec_id: str) -> list[LogEntry]:
    return list(KitaruClient().executions.logs(exec_id))


def told(exec_id: str) -> list[tuple[str | None, str, str]]:
    return [(entry.call_id, entry.level, entry.message) for entry in logs_of(exec_id)]


def by_call(exec_id: str) -> dict[str | None, list[str]]:
    found: dict[str | None, list[str]] = {}
    for entry in logs_of(exec_id):
        found.setdefault(entry.call_id, []).append(entry.message)
    return found


@checkpoint
def speak(word: str) -> str:
    print(word, "one")
    print(word, "two", file=sys.stderr)
    return word


# ── who said it ──────────────────────────────────────────────────────────────────────────────────


def test_s7_3_prints_of_checkpoints_and_of_the_body_are_kept_apart() -> None:
    @flow
    def talk() -> None:
        print("before")
        speak("a")
        print("between")
        speak("b")

    handle = talk.run()
    handle.wait(timeout=30)
    assert told(handle.exec_id) == [
        (None, "stdout", "before"),
        ("speak", "stdout", "a one"),
        ("speak", "stderr", "a two"),
        (None, "stdout", "between"),
        ("speak_2", "stdout", "b one"),
        ("speak_2", "stderr", "b two"),
    ]
    assert list(KitaruClient().executions.logs(handle.exec_id, call_id="speak_2")) == logs_of(handle.exec_id)[4:]


def test_s7_3_calls_in_threads_at_the_same_time_keep_their_lines() -> None:
    together = threading.Barrier(8)

    @checkpoint
    def count(number: int) -> None:
        together.wait(30)
        for index in range(50):
            print(f"{number}:{index}")

    @flow
    def fan_out() -> None:
        count.map(range(8)).result()

    handle = fan_out.run()
    handle.wait(timeout=60)
    lines = by_call(handle.exec_id)
    assert len(lines) == 8
    for said in lines.values():
        number = said[0].partition(":")[0]
        assert said == [f"{number}:{index}" for index in range(50)]


def test_s7_3_tasks_at_the_same_time_keep_their_lines_and_so_does_their_threads_work() -> None:
    @checkpoint
    async def count(number: int) -> None:
        for index in range(20):
            print(f"{number}:{index}")
            await asyncio.sleep(0)
        await asyncio.to_thread(print, f"{number}:thread")

    @flow
    async def fan_out() -> None:
        print("body")
        await asyncio.gather(*(count(number) for number in range(5)))

    handle = fan_out.run()
    handle.wait(timeout=30)
    lines = by_call(handle.exec_id)
    assert lines.pop(None) == ["body"]
    assert len(lines) == 5
    for said in lines.values():
        number = said[0].partition(":")[0]
        assert said == [*(f"{number}:{index}" for index in range(20)), f"{number}:thread"]


def test_s7_3_two_executions_at_the_same_time_keep_their_lines() -> None:
    together = threading.Barrier(2)

    @flow
    def talk(word: str) -> None:
        together.wait(30)
        speak(word)

    handles = [talk.run("a"), talk.run("b")]
    for handle, word in zip(handles, "ab", strict=True):
        handle.wait(timeout=30)
        assert by_call(handle.exec_id) == {"speak": [f"{word} one", f"{word} two"]}


# ── attempts ─────────────────────────────────────────────────────────────────────────────────────


def test_s7_3_what_a_failed_attempt_printed_is_kept_with_its_number_and_its_unfinished_line() -> None:
    tries: list[int] = []

    @checkpoint(retries=2)
    def shaky() -> None:
        tries.append(1)
        print(f"attempt {len(tries)}", end="")
        if len(tries) < 3:
            raise ValueError

    @flow
    def job() -> None:
        shaky()

    handle = job.run()
    handle.wait(timeout=30)
    entries = logs_of(handle.exec_id)
    assert [(entry.attempt, entry.message) for entry in entries] == [(n, f"attempt {n}") for n in (1, 2, 3)]
    assert all(entry.exec_id == handle.exec_id and entry.at.tzinfo is not None for entry in entries)


def test_s7_3_a_flow_that_fails_keeps_what_it_printed_in_each_run_of_its_body() -> None:
    @flow(retries=1)
    def broken() -> None:
        print("so far")
        raise ValueError("no further")

    handle = broken.run()
    with pytest.raises(KitaruExecutionError):
        handle.wait(timeout=30)
    assert [(entry.attempt, entry.message) for entry in logs_of(handle.exec_id)] == [(1, "so far"), (2, "so far")]


def test_s2_6_what_a_thread_prints_after_its_timeout_is_not_kept() -> None:
    timed_out, printed = threading.Event(), threading.Event()

    @checkpoint(timeout=1.0)
    def slow(number: int) -> None:
        print("in time")
        timed_out.wait(30)
        print("late")
        printed.set()

    @flow
    def job() -> str:
        with contextlib.suppress(TimeoutError):
            slow(1)
        timed_out.set()
        printed.wait(30)
        return speak("after")

    handle = job.run()
    handle.wait(timeout=30)
    assert by_call(handle.exec_id) == {"slow": ["in time"], "speak": ["after one", "after two"]}


def test_s3_2_a_call_that_is_reused_says_nothing_again() -> None:
    broken = [True]

    @flow
    def job() -> None:
        speak("once")
        print("each time")
        if broken[0]:
            raise ValueError

    handle = job.run()
    with pytest.raises(KitaruExecutionError):
        handle.wait(timeout=30)
    broken[0] = False
    KitaruClient().executions.retry(handle.exec_id).wait(timeout=30)
    assert by_call(handle.exec_id) == {"speak": ["once one", "once two"], None: ["each time", "each time"]}


def test_s7_3_a_checkpoint_that_prints_for_ever_is_cut_off_and_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    @checkpoint
    def runaway() -> None:
        for _ in range(3000):
            print("x" * 999)

    @flow
    def job() -> None:
        runaway()
        speak("next")

    handle = job.run()
    handle.wait(timeout=60)
    lines = by_call(handle.exec_id)
    assert sum(map(len, lines["runaway"])) < 1_100_000
    assert "more than 1 MiB" in lines["runaway"][-1]
    assert lines["speak"] == ["next one", "next two"]
    assert capsys.readouterr().out.count("x" * 999) == 3000, "it is printed all the same"


# ── logging ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own that lets everything through, as an application would set it."""
    logger = logging.getLogger("app.capture")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.setLevel(before)
    logger.propagate = True
    logger.filters.clear()
    logger.handlers.clear()


def test_s7_3_log_records_are_kept_with_level_logger_and_traceback(logger: logging.Logger) -> None:
    @checkpoint
    def work() -> None:
        logger.info("%d of %s", 3, "five")
        try:
            raise ValueError("bad")
        except ValueError:
            logger.exception("it failed")
        logger.propagate = False  # a handler on the root would miss what follows
        logger.debug("quiet")

    @flow
    def job() -> None:
        work()

    handle = job.run()
    handle.wait(timeout=30)
    first, second, third = logs_of(handle.exec_id)
    assert (first.level, first.logger, first.message) == ("INFO", "app.capture", "3 of five")
    assert second.level == "ERROR"
    assert second.message.startswith("it failed\nTraceback")
    assert second.message.endswith("ValueError: bad")
    assert (third.level, third.message) == ("DEBUG", "quiet")


def test_s7_3_what_a_logger_does_not_let_through_is_not_kept(logger: logging.Logger) -> None:
    def redact(record: logging.LogRecord) -> bool:
        record.msg = str(record.msg).replace("secret", "***")
        return "drop" not in str(record.msg)

    @flow
    def job() -> None:
        logger.addFilter(redact)
        logger.warning("the secret")
        logger.warning("drop this")
        logger.setLevel(logging.ERROR)
        logger.warning("below the level")

    handle = job.run()
    handle.wait(timeout=30)
    assert told(handle.exec_id) == [(None, "WARNING", "the ***")]


def test_s7_3_a_record_that_cannot_be_formatted_is_told_and_harms_nothing(logger: logging.Logger) -> None:
    logger.propagate = False
    logger.addHandler(logging.NullHandler())

    @flow
    def job() -> int:
        logger.warning("%d", "not a number")
        return 1

    handle = job.run()
    assert handle.wait(timeout=30) == 1
    assert "cannot be formatted: TypeError" in told(handle.exec_id)[0][2]


def test_s7_3_a_record_that_a_handler_prints_is_kept_once(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    @flow
    def job() -> None:
        logger.addHandler(logging.StreamHandler())  # takes the present sys.stderr, which is ours
        logger.warning("once")

    handle = job.run()
    handle.wait(timeout=30)
    assert told(handle.exec_id) == [(None, "WARNING", "once")]
    assert capsys.readouterr().err == "once\n"


SCRIPT = """
import logging, sys
from kitaru import KitaruClient, flow

@flow
def job():
    print("printed")
    logging.getLogger("app").warning("without a handler")
    logging.basicConfig(format="configured %(message)s", level=logging.INFO)
    logging.info("it works")
    print("unfinished", end="")

handle = job.run()
handle.wait()
print()
logging.info("outside")
print([(entry.level, entry.message) for entry in KitaruClient().executions.logs(handle.exec_id)])
"""


def test_s7_3_a_process_prints_and_logs_as_it_would_without_kitaru() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    entries = [
        ("stdout", "printed"),
        ("WARNING", "without a handler"),
        ("INFO", "it works"),
        ("stdout", "unfinished"),
    ]
    assert done.stdout == f"printed\nunfinished\n{entries}\n"
    assert done.stderr == "without a handler\nconfigured it works\nconfigured outside\n"


# ── streams that others replace ──────────────────────────────────────────────────────────────────


def test_s7_3_prints_reach_capsys_and_the_logs(capsys: pytest.CaptureFixture[str]) -> None:
    @flow
    def talk(word: str) -> None:
        speak(word)

    for word in "ab":
        handle = talk.run(word)
        handle.wait(timeout=30)
        assert capsys.readouterr() == (f"{word} one\n", f"{word} two\n")
        assert by_call(handle.exec_id) == {"speak": [f"{word} one", f"{word} two"]}
        speak.fn("outside")
        assert capsys.readouterr() == ("outside one\n", "outside two\n")


def test_s7_3_prints_reach_capfd_and_the_logs(capfd: pytest.CaptureFixture[str]) -> None:
    @flow
    def talk() -> None:
        speak("a")

    handle = talk.run()
    handle.wait(timeout=30)
    assert capfd.readouterr() == ("a one\n", "a two\n")
    assert by_call(handle.exec_id) == {"speak": ["a one", "a two"]}


def test_s7_3_code_that_redirects_its_output_gets_it() -> None:
    @checkpoint
    def collect() -> str:
        print("to the log")
        with contextlib.redirect_stdout(io.StringIO()) as own:
            print("to me")
        print("to the log again")
        return own.getvalue()

    @flow
    def job() -> str:
        return collect()

    handle = job.run()
    assert handle.wait(timeout=30) == "to me\n"
    assert by_call(handle.exec_id) == {"collect": ["to the log", "to the log again"]}


def test_s7_3_a_stream_that_somebody_put_around_ours_is_captured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loud(io.StringIO):
        """Passes on to the stream that it found, as progress bars and test tools do."""

        def __init__(self, inner: object) -> None:
            super().__init__()
            self.inner = inner

        def write(self, text: str) -> int:
            return self.inner.write(text)  # type: ignore[attr-defined]

    @flow
    def talk(word: str) -> None:
        speak(word)

    talk.run("first").wait(timeout=30)
    monkeypatch.setattr(sys, "stdout", Loud(sys.stdout))
    handle = talk.run("a")
    handle.wait(timeout=30)
    assert by_call(handle.exec_id) == {"speak": ["a one", "a two"]}


def test_s7_3_nothing_is_wrapped_before_a_flow_runs_nor_after_a_reset() -> None:
    def state() -> tuple[object, object, object]:
        return sys.stdout, sys.stderr, logging.Logger.callHandlers

    before = state()
    KitaruClient()
    assert state() == before

    @flow
    def talk() -> None:
        speak("a")

    talk.run().wait(timeout=30)
    assert all(now is not then for now, then in zip(state(), before, strict=True))
    assert sys.stdout.fileno is not None, "the rest of the stream is there"
    assert sys.stdout.encoding == before[0].encoding  # type: ignore[attr-defined]
    wiring.reset()
    assert state() == before


def test_s7_3_a_logger_that_somebody_patched_over_ours_survives_resets(monkeypatch: pytest.MonkeyPatch) -> None:
    @flow
    def talk() -> None:
        log.warning("heard")

    passed: list[str] = []
    original = logging.Logger.callHandlers
    talk.run().wait(timeout=30)
    ours = logging.Logger.callHandlers

    def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
        passed.append(record.getMessage())
        ours(self, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", theirs)
    wiring.reset()
    handle = talk.run()
    handle.wait(timeout=30)
    assert told(handle.exec_id) == [(None, "WARNING", "heard")]
    assert passed.count("heard") == 1
    monkeypatch.undo()
    wiring.reset()
    assert logging.Logger.callHandlers is original


# ── following ────────────────────────────────────────────────────────────────────────────────────


def test_s7_3_lines_can_be_followed_while_the_checkpoint_that_prints_them_runs() -> None:
    go_on = threading.Event()

    @checkpoint
    def work() -> None:
        print("begun")
        assert go_on.wait(30)
        print("ended")

    @flow
    def job() -> None:
        work()

    handle = job.run()
    followed: list[str] = []
    for entry in KitaruClient().executions.logs(handle.exec_id, follow=True, timeout=30):
        followed.append(entry.message)
        go_on.set()  # only what came while it was running lets it end
    assert followed == ["begun", "ended"]
    handle.wait(timeout=30)


FOLLOWER = """
import sys
from kitaru import KitaruClient
for entry in KitaruClient().executions.logs(sys.argv[1], after=int(sys.argv[2]), follow=True, timeout=60):
    print(entry.log_id, entry.message, flush=True)
"""


def test_s7_3_another_process_follows_and_comes_back_with_its_cursor() -> None:
    turns = [threading.Event() for _ in range(3)]

    @checkpoint
    def work() -> None:
        for number, turn in enumerate(turns):
            print(f"line {number}")
            assert turn.wait(60)

    @flow
    def job() -> None:
        work()

    def follow(after: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FOLLOWER, handle.exec_id, str(after)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    handle = job.run()
    seen: list[str] = []
    cursor = 0
    with follow(0) as first:
        assert first.stdout is not None
        for turn in turns[:2]:
            number, _, message = first.stdout.readline().rstrip().partition(" ")
            seen.append(message)
            cursor = int(number)
            if len(seen) == 1:
                turn.set()
        first.kill()
    for turn in turns:
        turn.set()
    with follow(cursor) as second:
        assert second.stdout is not None
        seen += [line.rstrip().partition(" ")[2] for line in second.stdout]
    assert second.returncode == 0
    assert seen == ["line 0", "line 1", "line 2"]
    handle.wait(timeout=30)


def test_s7_3_an_unknown_execution_and_a_wrong_cursor_are_refused_at_once() -> None:
    executions = KitaruClient().executions
    with pytest.raises(KitaruNotFoundError):
        executions.logs("unknown")

    @flow
    def talk() -> None:
        speak("a")

    handle = talk.run()
    handle.wait(timeout=30)
    wrong: list[Callable[[], object]] = [
        lambda: executions.logs(handle.exec_id, after=-1),
        lambda: executions.logs(handle.exec_id, after="3"),  # type: ignore[arg-type]
    ]
    for ask in wrong:
        with pytest.raises(KitaruUsageError, match="after="):
            ask()
    assert kitaru.LogEntry is LogEntry
