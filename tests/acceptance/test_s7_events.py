"""What happened can be read and followed, and a cursor neither misses nor repeats (S7.1, S7.3)."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from typing import Any

import pytest

import kitaru
from kitaru import (
    Event,
    EventKind,
    KitaruClient,
    KitaruContextError,
    KitaruExecutionError,
    KitaruNotFoundError,
    KitaruUsageError,
    checkpoint,
    flow,
)
from kitaru.services import runner

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(autouse=True)
def _no_call_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a call tells of its start where the machine is slow: one that lasts is shown while it runs."""
    monkeypatch.setattr(runner, "_SLOW_CALL", 10**12)


@checkpoint
def double(x: int) -> int:
    return 2 * x


@checkpoint(cache=False)
def triple(x: int) -> int:
    return 3 * x


def events_of(exec_id: str, after: int = 0) -> list[Event]:
    return list(KitaruClient().executions.events(exec_id, after=after))


def told(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.kind, event.call_id) for event in events]


# ── what is told ─────────────────────────────────────────────────────────────────────────────────


def test_s7_1_a_completed_execution_tells_its_story_in_order() -> None:
    @flow
    def job() -> int:
        kitaru.now()
        return double(1) + double(2)

    handle = job.run()
    handle.wait(timeout=30)
    events = events_of(handle.exec_id)
    assert told(events) == [
        ("execution.created", None),
        ("execution.running", None),
        ("call.completed", "double"),
        ("call.completed", "double_2"),
        ("execution.completed", None),
    ]
    assert all(event.exec_id == handle.exec_id and event.at.tzinfo is not None for event in events)
    assert [event.at for event in events] == sorted(event.at for event in events)
    assert isinstance(events[0].kind, EventKind)


def test_s7_1_results_of_other_executions_are_told_reused_and_own_ones_not_at_all() -> None:
    broken = [False]

    @flow
    def job() -> None:
        double(1)
        triple(1)
        if broken[0]:
            raise ValueError("stop")

    first = job.run()
    first.wait(timeout=30)
    broken[0] = True
    second = job.run()
    with pytest.raises(KitaruExecutionError):
        second.wait(timeout=30)
    events = events_of(second.exec_id)
    assert told(events)[2:] == [
        ("call.reused", "double"),
        ("call.completed", "triple"),
        ("attempt.failed", None),
        ("execution.failed", None),
    ]
    assert events[2].detail == {"exec_id": first.exec_id, "call_id": "double"}
    assert events[-1].detail == {"type": "builtins:ValueError", "message": "stop", "origin": "user_code"}
    broken[0] = False
    KitaruClient().executions.retry(second.exec_id).wait(timeout=30)
    assert told(events_of(second.exec_id, after=events[-1].event_id)) == [
        ("execution.running", None),
        ("execution.completed", None),
    ], "what the memo gave is no event"


def test_s2_4_s1_7_each_failed_attempt_and_each_run_of_the_body_is_told() -> None:
    tries: list[int] = []

    @checkpoint(retries=1)
    def shaky() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise ValueError(f"try {len(tries)}")

    @flow(retries=1)
    def job() -> None:
        shaky()

    handle = job.run()
    handle.wait(timeout=30)
    events = events_of(handle.exec_id)
    assert told(events)[2:] == [
        ("attempt.failed", "shaky"),
        ("call.started", "shaky"),
        ("attempt.failed", "shaky"),
        ("call.failed", "shaky"),
        ("attempt.failed", None),
        ("execution.retried", None),
        ("attempt.failed", "shaky"),
        ("call.started", "shaky"),
        ("call.completed", "shaky"),
        ("execution.completed", None),
    ]
    assert [event.detail.get("attempt") for event in events[2:8]] == [1, 2, 2, None, 1, 2]
    assert events[2].detail["message"] == "try 1"


def test_s6_8_a_cancelled_execution_tells_so_and_its_followers_end() -> None:
    begun, go_on = threading.Event(), threading.Event()

    @flow
    def job() -> None:
        begun.set()
        go_on.wait(30)
        double(1)

    handle = job.run()
    assert begun.wait(30)
    followed: list[Event] = []
    reader = threading.Thread(
        target=lambda: followed.extend(KitaruClient().executions.events(handle.exec_id, follow=True, timeout=30))
    )
    reader.start()
    handle.cancel()
    reader.join(30)
    go_on.set()
    assert told(followed) == [
        ("execution.created", None),
        ("execution.running", None),
        ("execution.cancelled", None),
    ]


# ── following ────────────────────────────────────────────────────────────────────────────────────


def test_s7_1_events_can_be_followed_while_it_runs_until_it_is_finished() -> None:
    go_on = threading.Event()

    @flow
    def job() -> None:
        double(1)
        assert go_on.wait(30)
        double(2)

    handle = job.run()
    followed: list[Event] = []
    for event in KitaruClient().executions.events(handle.exec_id, follow=True, timeout=30):
        followed.append(event)
        if event.call_id == "double":
            go_on.set()  # only what came while it was running lets it end
    assert followed == events_of(handle.exec_id)
    assert followed[-1].kind is EventKind.COMPLETED


def test_s7_1_thousands_of_events_are_each_seen_once_by_readers_that_come_and_go() -> None:
    @flow
    def many() -> None:
        for start in range(0, 3000, 500):
            triple.map(range(start, start + 500)).result()
            triple(start)

    handle = many.run()
    executions = KitaruClient().executions

    def read(seed: int, seen: list[Event]) -> None:
        rng = random.Random(seed)
        cursor = 0
        while not seen or not seen[-1].kind.startswith("execution.completed"):
            bite = rng.choice([1, 7, 400, 5000])
            for event in executions.events(handle.exec_id, after=cursor, follow=True, timeout=60):
                seen.append(event)
                cursor = event.event_id
                bite -= 1
                if not bite:
                    break  # the connection is lost; the next one begins at the cursor

    readers: list[list[Event]] = [[], []]
    threads = [threading.Thread(target=read, args=(seed, seen)) for seed, seen in enumerate(readers)]
    for thread in threads:
        thread.start()
    handle.wait(timeout=60)
    for thread in threads:
        thread.join(60)
    everything = events_of(handle.exec_id)
    assert len(everything) == 3000 + 6 + 3
    assert len({event.event_id for event in everything}) == len(everything)
    for seen in readers:
        assert seen == everything


FOLLOWER = """
import sys
from kitaru import KitaruClient
for event in KitaruClient().executions.events(sys.argv[1], follow=True, timeout=60):
    print(event.event_id, event.kind, event.call_id, flush=True)
"""


def test_s7_1_another_process_follows() -> None:
    go_on = threading.Event()

    @flow
    def job() -> None:
        double(1)
        assert go_on.wait(60)
        triple.map(range(20)).result()

    handle = job.run()
    command = [sys.executable, "-c", FOLLOWER, handle.exec_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip() for _ in range(3)]  # it has seen the start
        go_on.set()
        lines += [line.rstrip() for line in process.stdout]
    assert process.returncode == 0
    assert lines == [f"{event.event_id} {event.kind} {event.call_id}" for event in events_of(handle.exec_id)]


def test_s7_1_following_ends_with_its_time_and_with_a_deleted_execution() -> None:
    begun, go_on = threading.Event(), threading.Event()

    @flow
    def job() -> None:
        begun.set()
        go_on.wait(30)

    handle = job.run()
    assert begun.wait(30)
    executions = KitaruClient().executions
    seen: list[Event] = []

    def follow() -> None:
        for event in executions.events(handle.exec_id, follow=True, timeout=0.05):
            seen.append(event)  # what came before the error counts

    with pytest.raises(TimeoutError, match=handle.exec_id):
        follow()
    assert told(seen) == [("execution.created", None), ("execution.running", None)]
    reading = executions.events(handle.exec_id, follow=True, timeout=30)
    next(reading)
    go_on.set()
    handle.wait(timeout=30)
    executions.delete(handle.exec_id)
    with pytest.raises(KitaruNotFoundError, match="deleted"):
        list(reading)


def test_s7_1_a_wrong_id_or_cursor_is_refused_at_once() -> None:
    executions = KitaruClient().executions
    with pytest.raises(KitaruNotFoundError):
        executions.events("unknown")

    @flow
    def job() -> None: ...

    handle = job.run()
    handle.wait(timeout=30)
    with pytest.raises(KitaruUsageError, match="after=-1"):
        executions.events(handle.exec_id, after=-1)


# ── progress ─────────────────────────────────────────────────────────────────────────────────────


def progress_of(exec_id: str) -> list[tuple[str | None, dict[str, Any]]]:
    return [(event.call_id, dict(event.detail)) for event in events_of(exec_id) if event.kind is EventKind.PROGRESS]


def test_s7_3_progress_is_seen_while_the_call_runs_behind_its_start() -> None:
    go_on = threading.Event()

    @checkpoint
    def work() -> None:
        kitaru.progress("reading", percent=10)
        assert go_on.wait(30)

    @flow
    def job() -> None:
        work()

    handle = job.run()
    followed: list[Event] = []
    for event in KitaruClient().executions.events(handle.exec_id, follow=True, timeout=30):
        followed.append(event)
        if event.kind is EventKind.PROGRESS:
            go_on.set()
    assert told(followed)[2:] == [
        ("call.started", "work"),
        ("progress", "work"),
        ("call.completed", "work"),
        ("execution.completed", None),
    ]
    assert followed[3].detail == {"message": "reading", "percent": 10}


def test_s7_3_of_fast_progress_few_are_kept_and_the_last_always_is() -> None:
    @checkpoint
    def work() -> None:
        for index in range(10_001):
            kitaru.progress(percent=index / 100)

    @flow
    def job() -> None:
        work()
        kitaru.progress("all done")

    handle = job.run()
    handle.wait(timeout=30)
    execution = KitaruClient().executions.get(handle.exec_id)
    assert execution.started_at is not None
    assert execution.ended_at is not None
    ticks = (execution.ended_at - execution.started_at).total_seconds() / 0.1
    told = progress_of(handle.exec_id)
    assert len(told) <= ticks + 3
    of_work = [detail["percent"] for call_id, detail in told if call_id == "work"]
    assert of_work == sorted(of_work)
    assert of_work[-1] == 100.0
    assert told[-1] == (None, {"message": "all done", "percent": None})


def test_s7_3_progress_of_a_failed_attempt_is_kept() -> None:
    tries: list[int] = []

    @checkpoint(retries=1)
    def shaky() -> None:
        tries.append(1)
        kitaru.progress(f"attempt {len(tries)}")
        if len(tries) == 1:
            raise ValueError

    @flow
    def job() -> None:
        shaky()

    handle = job.run()
    handle.wait(timeout=30)
    assert [detail["message"] for _, detail in progress_of(handle.exec_id)] == ["attempt 1", "attempt 2"]


WRONG: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((3,), {}),
    ((), {"percent": -1}),
    ((), {"percent": 100.5}),
    ((), {"percent": float("nan")}),
    ((), {"percent": True}),
    ((), {"percent": "50"}),
]


@pytest.mark.parametrize(("args", "options"), WRONG)
def test_s7_3_progress_that_makes_no_sense_is_refused(args: tuple[Any, ...], options: dict[str, Any]) -> None:
    @flow
    def job() -> str:
        with pytest.raises(KitaruUsageError, match=r"kitaru\.progress\("):
            kitaru.progress(*args, **options)
        return "refused"

    assert job.run().wait(timeout=30) == "refused"


def test_s7_3_progress_outside_a_flow_is_refused() -> None:
    with pytest.raises(KitaruContextError, match=r"kitaru\.progress\(\) is called outside a flow"):
        kitaru.progress("here")


def test_s2_6_progress_of_a_thread_that_outlived_its_timeout_is_refused() -> None:
    timed_out, asked = threading.Event(), threading.Event()
    refused: list[Exception] = []

    @checkpoint(timeout=0.1)
    def slow() -> None:
        timed_out.wait(30)
        try:
            kitaru.progress("late")
        except KitaruContextError as error:
            refused.append(error)
        asked.set()

    @flow
    def job() -> None:
        with pytest.raises(TimeoutError):
            slow()
        timed_out.set()
        assert asked.wait(30)

    handle = job.run()
    handle.wait(timeout=30)
    assert len(refused) == 1
    assert progress_of(handle.exec_id) == []
