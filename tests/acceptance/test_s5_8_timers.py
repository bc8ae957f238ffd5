"""S5.6, S5.8, S2.4: expiry, timers, and long delays of retries."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruStateError, KitaruUsageError, Retry, checkpoint, flow
from kitaru.core.clock import to_datetime
from kitaru.services.wiring import wiring
from tests.acceptance.asking import abort, answer, asked, open_waits
from tests.acceptance.gates import until
from tests.acceptance.processes import Scripts
from tests.acceptance.runs import TIMEOUT, record, use_skipping_clock

DAY = 86_400


def statuses_of(exec_id: str) -> list[str]:
    """The statuses that an execution has had, in order."""
    kinds = [event.kind for event in KitaruClient().executions.events(exec_id)]
    return [kind.removeprefix("execution.") for kind in kinds if kind.startswith("execution.")]


@pytest.mark.parametrize("duration", [3 * DAY, timedelta(days=3), 90.5])
def test_s5_8_a_long_sleep_suspends_the_execution_and_it_goes_on_when_it_is_due(duration: Any) -> None:
    clock = use_skipping_clock()
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration

    @flow
    def agent() -> float:
        before = kitaru.now()
        kitaru.sleep(duration)
        return (kitaru.now() - before).total_seconds()

    handle = agent.run()
    assert handle.wait(timeout=100 * DAY) >= seconds
    assert sum(clock.pauses) >= seconds - 1
    assert statuses_of(handle.exec_id) == ["created", "running", "waiting", "running", "completed"]


def test_s5_8_an_async_flow_sleeps_beside_its_branches() -> None:
    use_skipping_clock()
    order: list[int] = []

    @flow
    async def agent() -> list[int]:
        async def branch(days: int) -> int:
            await kitaru.sleep(days * DAY)
            if days not in order:
                order.append(days)
            return days

        return await asyncio.gather(branch(3), branch(1), branch(2))

    assert agent.run().wait(timeout=100 * DAY) == [3, 1, 2]
    assert order == [1, 2, 3]


def test_s5_8_sleep_until_wakes_at_that_time_and_not_at_all_for_the_past() -> None:
    clock = use_skipping_clock()
    due = to_datetime(clock.now()) + timedelta(days=30)

    @flow
    def agent() -> datetime:
        kitaru.sleep_until(datetime(2000, 1, 1, tzinfo=UTC))
        kitaru.sleep_until(due)
        return kitaru.now()

    assert agent.run().wait(timeout=100 * DAY) >= due


def test_s5_8_sleeps_in_a_loop_add_up() -> None:
    clock = use_skipping_clock()

    @flow
    def agent() -> int:
        for _ in range(5):
            kitaru.sleep(DAY)
        return 5

    before = clock.now()
    assert agent.run().wait(timeout=100 * DAY) == 5
    assert clock.now() - before >= 5 * DAY * 1_000_000


@pytest.mark.parametrize("seconds", [0, 0.01, timedelta(0)])
def test_s5_8_a_short_sleep_is_no_suspension(seconds: Any) -> None:
    @flow
    def agent() -> str:
        kitaru.sleep(seconds)
        return "awake"

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == "awake"
    assert "waiting" not in statuses_of(handle.exec_id)


@pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), 1e12, "5", True, None, timedelta(seconds=-1)])
def test_s5_8_what_is_no_duration_is_refused(duration: Any) -> None:
    @flow
    def agent() -> str:
        with pytest.raises(KitaruUsageError):
            kitaru.sleep(duration)
        with pytest.raises(KitaruUsageError):
            kitaru.sleep_until(datetime(2030, 1, 1))  # without a zone
        with pytest.raises(KitaruUsageError, match="thousand years"):
            kitaru.sleep_until(datetime.max.replace(tzinfo=UTC))
        return "refused"

    assert agent.run().wait(timeout=TIMEOUT) == "refused"


def test_s5_8_a_parent_of_a_sleeping_child_waits_with_it() -> None:
    use_skipping_clock()

    @flow
    def child() -> str:
        kitaru.sleep(3 * DAY)
        return "slept"

    @flow
    def parent() -> str:
        return child.run().wait() + " well"

    handle = parent.run()
    assert handle.wait(timeout=100 * DAY) == "slept well"


# ── expiry ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("schema", "default"), [(str, "nobody"), (int | None, None), ({"type": "integer"}, 0), (None, False), (None, True)]
)
def test_s5_6_a_wait_that_expires_gives_its_default(schema: Any, default: Any) -> None:
    use_skipping_clock()

    @flow
    def agent() -> Any:
        return kitaru.wait("go", schema=schema, expires_in=7 * DAY, default=default)

    handle = agent.run()
    got = handle.wait(timeout=100 * DAY)
    assert (got, type(got)) == (default, type(default))
    (wait,) = wiring().store.waits.of(handle.exec_id)
    assert (str(wait.status), wait.via) == ("expired", "expiry")
    with pytest.raises(KitaruStateError):
        answer(handle, "late")


def test_s5_6_an_answer_before_the_expiry_counts() -> None:
    @flow
    def agent() -> Any:
        return kitaru.wait("go", schema=str, expires_in=7 * DAY, default="nobody")

    handle = agent.run()
    wait = asked(handle, "go")["go"]
    assert wait.expires_at is not None
    assert wait.expires_at - wait.opened_at == timedelta(days=7)
    answer(handle, "somebody")
    assert handle.wait(timeout=TIMEOUT) == "somebody"


def test_s5_6_an_abort_before_the_expiry_counts() -> None:
    @flow
    def agent() -> Any:
        try:
            return kitaru.wait("go", schema=str, expires_in=7 * DAY, default="nobody")
        except kitaru.KitaruWaitAbortedError:
            return "aborted"

    handle = agent.run()
    asked(handle, "go")
    abort(handle)
    assert handle.wait(timeout=TIMEOUT) == "aborted"


def test_s5_6_of_wait_any_the_first_to_expire_counts() -> None:
    use_skipping_clock()

    @flow
    def agent() -> Any:
        first = kitaru.wait_any(
            a={"schema": str},
            b={"schema": str, "expires_in": 9 * DAY, "default": "b"},
            c={"schema": str, "expires_in": 3 * DAY, "default": "c"},
        )
        kitaru.sleep(20 * DAY)  # the others are closed: nothing of them comes any more
        return first

    handle = agent.run()
    assert tuple(handle.wait(timeout=100 * DAY)) == ("c", "c")
    assert open_waits(handle.exec_id) == {}


def test_s5_6_an_expired_default_is_reused_by_a_later_run_of_the_body() -> None:
    use_skipping_clock()
    runs: list[Any] = []

    @flow(retries=1)
    def agent() -> Any:
        given = kitaru.wait("go", schema=int, expires_in=DAY, default=5)
        runs.append(given)
        if len(runs) == 1:
            raise ConnectionError("once")
        return given

    assert agent.run().wait(timeout=100 * DAY) == 5
    assert runs == [5, 5]


# ── retry delays ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["sync", "async", "submitted"])
def test_s2_4_a_long_delay_of_a_retry_suspends_the_execution_and_the_attempts_go_on(kind: str) -> None:
    use_skipping_clock()
    ran: list[int] = []

    @checkpoint(retry=Retry(attempts=3, delay=3600))
    def work(x: int) -> int:
        ran.append(x)
        if len(ran) < 3:
            raise ConnectionError(f"attempt {len(ran)}")
        return x

    @checkpoint(retry=Retry(attempts=3, delay=3600))
    async def async_work(x: int) -> int:
        return work.fn(x)

    @flow
    def agent() -> int:
        return work(7) if kind == "sync" else work.submit(7).result()

    @flow
    async def async_agent() -> int:
        return await async_work(7)

    handle = (async_agent if kind == "async" else agent).run()
    assert handle.wait(timeout=100 * DAY) == 7
    assert ran == [7, 7, 7]
    assert statuses_of(handle.exec_id).count("waiting") == 2
    (call,) = record(handle).checkpoints
    assert [(attempt.number, attempt.status) for attempt in call.attempts] == [
        (1, "failed"),
        (2, "failed"),
        (3, "completed"),
    ]


# ── over a restart ───────────────────────────────────────────────────────────────────────────────

SLEEPER = """
import sys
import kitaru
from kitaru import KitaruClient, checkpoint, flow

@checkpoint
def effect(name: str) -> str:
    with open("effects", "a") as file:
        file.write(name + "\\n")
    return name

@flow
def agent() -> str:
    first = effect("before")
    kitaru.sleep(float(sys.argv[1]))
    return first + " " + effect("after")

if __name__ == "__main__":
    handle = agent.run(execution_id="sleeper")
    print("started", flush=True)
    print(handle.wait())
"""


def test_s5_8_a_sleep_goes_on_over_a_kill_with_the_time_that_was_left(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write("sleeper.py", SLEEPER)
    with scripts.started("sleeper.py", "3") as child:
        child.expect("started")
        until(lambda: KitaruClient().executions.list(status="waiting"))
    assert scripts.run("sleeper.py", "3") == ["started", "before after"]
    assert scripts.lines("effects") == ["before", "after"]
    assert statuses_of("sleeper") in (
        ["created", "running", "waiting", "running", "completed"],
        ["created", "running", "waiting", "running", "waiting", "running", "completed"],
    )


def test_s6_4_a_timer_that_has_come_while_no_process_was_there_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = Scripts(tmp_path / "project")
    monkeypatch.chdir(scripts.folder)  # the flow goes on in this process, and writes beside itself
    scripts.write("sleeper.py", SLEEPER.replace("print(handle.wait())", "").replace("float(sys.argv[1])", "3"))
    scripts.run("sleeper.py")
    executions = KitaruClient().executions

    def resumed() -> bool:
        with suppress(KitaruStateError):  # not yet
            executions.resume("sleeper")
            return True
        return False

    until(resumed)
    assert executions.handle("sleeper").wait(timeout=TIMEOUT) == "before after"
    assert scripts.lines("effects") == ["before", "after"]
