"""Named limits: at most so many calls at once, at most so many a minute, whichever processes make them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruUsageError, Retry, checkpoint, flow
from kitaru.core.mutations import Claimed, Commit, ExecutionCreated
from kitaru.core.ports import Ask
from kitaru.core.rows import ExecutionRow, RunnerRow
from kitaru.core.states import Status
from kitaru.services.wiring import wiring
from kitaru.testing import SkippingClock, fresh_kitaru
from tests.acceptance.gates import PATIENCE, Gate, until


class Peak:
    """Counts how many are inside at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


class Stranger:
    """Somebody else, who holds the places of a limit: an execution of another runner, with a lease of its own."""

    def __init__(self, *limits: str) -> None:
        KitaruClient().limits.list()  # writes what is declared
        store = wiring().store
        store.runners.register(RunnerRow("stranger", "local", "elsewhere", 1, 0), lease_seconds=3600)
        row = ExecutionRow("held", "project", "flow", "m:flow", Status.PENDING, "local", "{}", "digest", 0)
        store.commit([Commit("held", None, (ExecutionCreated(row), Claimed("stranger", Status.PENDING, 0, 1)))])
        self._asks = [Ask("held", f"{name}-call", 1, 0, (name,)) for name in limits]
        assert len(store.limits.take((), joining=self._asks).taken) == len(limits)

    def leave(self) -> None:
        wiring().store.limits.leave(self._asks)


def waiting(name: str) -> list[str | None]:
    """The calls that wait for a place."""
    return [slot.call_id for slot in KitaruClient().limits.get(name).waiting]


def holders(name: str) -> list[str | None]:
    return [slot.call_id for slot in KitaruClient().limits.get(name).holders]


# ── at once ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("at_once", [1, 3])
def test_submitted_calls_are_never_more_than_the_limit_at_once(at_once: int) -> None:
    kitaru.configure(limits={"api": {"at_once": at_once}})
    peak = Peak()
    meeting = threading.Barrier(at_once)

    @checkpoint(limit="api")
    def step(x: int) -> int:
        with peak.inside():
            meeting.wait(PATIENCE)  # so many must meet, or nobody goes on
            return x

    @flow
    def agent() -> int:
        return sum(step.map(range(12)).result())

    assert agent.run().wait(PATIENCE) == 66
    assert peak.most == at_once


def test_async_calls_are_never_more_than_the_limit_at_once_and_the_loop_goes_on() -> None:
    kitaru.configure(limits={"api": {"at_once": 2}})
    peak = Peak()
    ticks = 0
    meeting = asyncio.Barrier(2)

    @checkpoint(limit="api")
    async def step(x: int) -> int:
        with peak.inside():
            await meeting.wait()  # two must meet, or nobody goes on
            before = ticks
            while ticks < before + 2:  # noqa: ASYNC110  # it is the loop that is watched
                await asyncio.sleep(0)
            return x

    @flow
    async def agent() -> int:
        async def ticking() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        clock = asyncio.create_task(ticking())
        results = await asyncio.gather(*(step(x) for x in range(6)))
        submitted = await asyncio.gather(*(step.submit(x) for x in range(6, 10)))
        clock.cancel()
        return sum(results) + sum(submitted)

    assert agent.run().wait(PATIENCE) == 45
    assert peak.most == 2


def test_flows_of_one_process_share_a_limit() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    peak = Peak()

    @checkpoint(limit="api")
    def step(x: int) -> int:
        with peak.inside():
            return x

    @flow
    def agent(number: int) -> int:
        return sum(step(number * 10 + x) for x in range(5))

    assert [handle.wait(PATIENCE) for handle in [agent.run(n) for n in range(4)]] == [10, 60, 110, 160]
    assert peak.most == 1


def test_a_call_with_several_limits_takes_a_place_under_each() -> None:
    kitaru.configure(limits={"wide": {"at_once": 3}, "narrow": {"at_once": 1}})
    held: list[tuple[list[str | None], list[str | None]]] = []

    @checkpoint(limit=["wide", "narrow"])
    def step() -> None:
        held.append((holders("wide"), holders("narrow")))

    @flow
    def agent() -> None:
        step()

    agent.run().wait(PATIENCE)
    assert held == [(["step"], ["step"])]
    assert (holders("wide"), holders("narrow")) == ([], [])


def test_calls_that_wait_for_a_place_hold_no_thread_of_the_pool() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}}, max_threads=2)
    stranger = Stranger("api")

    @checkpoint(limit="api")
    def limited(x: int) -> int:
        return x

    @checkpoint
    def free(x: int) -> int:
        return x

    @flow
    def agent() -> int:
        behind = limited.map(range(10))
        until(lambda: len(waiting("api")) == 10)
        ahead = sum(free.map(range(10)).result())
        stranger.leave()
        return ahead + sum(behind.result())

    assert agent.run().wait(PATIENCE) == 90


def test_a_call_goes_on_by_itself_when_another_frees_its_place() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    stranger = Stranger("api")

    @checkpoint(limit="api")
    def step() -> str:
        return "done"

    @flow
    def agent() -> str:
        return step()

    handle = agent.run()
    until(lambda: waiting("api") == ["step"])
    stranger.leave()
    assert handle.wait(PATIENCE) == "done"


# ── what takes a place, and how long ─────────────────────────────────────────────────────────────


def test_each_attempt_takes_a_place_and_a_retry_delay_holds_none() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    seen: list[list[str | None]] = []
    paused = Gate()

    @checkpoint(limit="api", retry=Retry(attempts=2, delay=0.4))
    def shaky() -> str:
        seen.append(holders("api"))
        if len(seen) == 1:
            raise ConnectionError("once")
        return "done"

    @checkpoint(limit="api")
    def other() -> str:
        paused.pass_()
        return "meanwhile"

    @flow
    def agent() -> tuple[str, str]:
        first = shaky.submit()
        until(lambda: seen)
        second = other.submit()
        paused.await_reached()  # while the first call waits for its second attempt
        paused.open()
        return first.result(), second.result()

    assert agent.run().wait(PATIENCE) == ("done", "meanwhile")
    assert seen == [["shaky"], ["shaky"]]


def test_cache_hits_and_recorded_calls_take_no_place() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    broken = True

    @checkpoint(limit="api")
    def step(x: int) -> int:
        return x

    @flow
    def agent() -> int:
        value = step(1)
        if broken:
            raise RuntimeError("after the step")
        return value

    failed = agent.run()
    with pytest.raises(kitaru.KitaruExecutionError):
        failed.wait(PATIENCE)
    Stranger("api")
    broken = False
    assert KitaruClient().executions.retry(failed.exec_id).wait(PATIENCE) == 1  # recorded in this execution
    assert agent.run().wait(PATIENCE) == 1  # from the cache of an earlier one


def test_a_handled_failure_frees_its_place() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})

    @checkpoint(limit="api")
    def step(x: int) -> int:
        if x == 0:
            raise ValueError("zero")
        return x

    @flow
    def agent() -> int:
        try:
            step(0)
        except ValueError:
            return step(1)
        return 0

    assert agent.run().wait(PATIENCE) == 1


@pytest.mark.parametrize("submitted", [False, True])
def test_a_call_that_ends_without_a_record_frees_its_place(submitted: bool) -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})

    @checkpoint(limit="api")
    def leaving() -> None:
        raise SystemExit("not recorded")

    @checkpoint(limit="api")
    def next_one() -> str:
        return "done"

    @flow
    def agent() -> str:
        with pytest.raises(SystemExit):
            leaving.submit().result() if submitted else leaving()
        return next_one()

    assert agent.run().wait(PATIENCE) == "done"


def test_an_async_call_that_its_task_group_cancels_frees_its_place() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})

    @checkpoint(limit="api")
    async def slow() -> None:
        await asyncio.sleep(PATIENCE)

    @checkpoint(limit="api")
    async def quick() -> str:
        return "done"

    @flow
    async def agent() -> str:
        task = asyncio.ensure_future(slow())
        while not holders("api"):  # noqa: ASYNC110  # another thread gives it
            await asyncio.sleep(0.01)
        task.cancel()
        return await quick()

    assert agent.run().wait(PATIENCE) == "done"


def test_an_attempt_that_times_out_frees_its_place() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    release = threading.Event()

    @checkpoint(limit="api", timeout=0.05)
    def stuck() -> None:
        release.wait(PATIENCE)

    @checkpoint(limit="api")
    def next_one() -> str:
        return "done"

    @flow
    def agent() -> str:
        with pytest.raises(TimeoutError):
            stuck()
        return next_one()

    assert agent.run().wait(PATIENCE) == "done"
    release.set()


# ── the end of those who wait ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["called", "submitted", "awaited"])
def test_a_call_that_waits_for_a_place_can_be_cancelled(kind: str) -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    Stranger("api")
    ended = threading.Event()

    @checkpoint(limit="api")
    def step() -> None:
        raise AssertionError("it must not run")

    @checkpoint(limit="api")
    async def async_step() -> None:
        raise AssertionError("it must not run")

    @flow
    def agent() -> None:
        try:
            step() if kind == "called" else step.submit().result()
        finally:
            ended.set()

    @flow
    async def async_agent() -> None:
        try:
            await async_step()
        finally:
            ended.set()

    handle: Any = (async_agent if kind == "awaited" else agent).run()
    until(lambda: len(waiting("api")) == 1)
    handle.cancel()
    with pytest.raises(kitaru.KitaruCancelledError):
        handle.wait(PATIENCE)
    assert ended.wait(PATIENCE)
    until(lambda: waiting("api") == [])


def test_a_body_that_fails_drops_the_calls_that_wait_for_a_place() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    Stranger("api")

    @checkpoint(limit="api")
    def step(x: int) -> None:
        raise AssertionError("it must not run")

    @flow
    def agent() -> None:
        step.map(range(5))
        until(lambda: len(waiting("api")) == 5)
        raise ValueError("enough")

    handle = agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError, match="enough"):
        handle.wait(PATIENCE)
    until(lambda: waiting("api") == [])


def test_a_call_that_waits_unwinds_when_the_lease_is_lost() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    Stranger("api")
    left = threading.Event()

    @checkpoint(limit="api")
    def step() -> None: ...

    @flow
    def agent() -> None:
        try:
            step()
        finally:
            left.set()

    agent.run()
    until(lambda: len(waiting("api")) == 1)
    wiring().runner.lease._until = 0.0
    assert left.wait(PATIENCE)


# ── a rate ───────────────────────────────────────────────────────────────────────────────────────


def test_no_more_calls_begin_in_a_minute_than_the_rate_allows() -> None:
    clock = SkippingClock(skip=False)
    with fresh_kitaru(clock=clock) as client:
        client.limits.set("api", per_minute=3)
        begun: list[int] = []

        @checkpoint(limit="api")
        def step(x: int) -> int:
            begun.append(x)
            return x

        @flow
        def agent() -> int:
            return sum(step.map(range(7)).result())

        handle = agent.run()
        for expected in (3, 6):
            until(lambda expected=expected: len(begun) == expected)
            until(lambda expected=expected: len(waiting("api")) == 7 - expected)
            assert client.limits.get("api").used == 3
            clock.advance(60)
        assert handle.wait(PATIENCE) == 21
        assert sorted(begun) == list(range(7))


# ── definitions ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("submitted", [False, True])
def test_a_limit_that_is_not_defined_is_refused_with_the_nearest_name(submitted: bool) -> None:
    kitaru.configure(limits={"openai": {"at_once": 1}})

    @checkpoint(limit="opneai")
    def step() -> None:
        raise AssertionError("it must not run")

    @flow
    def agent() -> None:
        step.submit().result() if submitted else step()

    with pytest.raises(kitaru.KitaruExecutionError, match="there is no limit 'opneai'; did you mean 'openai'"):
        agent.run().wait(PATIENCE)


def test_limits_come_from_the_project_and_from_configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kitaru.limits]\na = {at_once = 1}\nb = {per_minute = 2}\n")
    monkeypatch.chdir(tmp_path)
    kitaru.configure(limits={"b": {"at_once": 9}, "c": {"at_once": 3, "per_minute": 4}})
    limits = KitaruClient().limits
    assert [(one.name, one.at_once, one.per_minute, one.declared) for one in limits.list()] == [
        ("a", 1, None, True),
        ("b", 9, None, True),
        ("c", 3, 4, True),
    ]


def test_what_is_set_by_hand_stands_until_it_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kitaru.services import wiring as process

    (tmp_path / "pyproject.toml").write_text("[tool.kitaru.limits]\na = {at_once = 1}\n")
    monkeypatch.chdir(tmp_path)
    KitaruClient().limits.set("a", at_once=7)
    process.reset()
    assert KitaruClient().limits.get("a").at_once == 7
    KitaruClient().limits.delete("a")
    process.reset()
    assert KitaruClient().limits.get("a").at_once == 1


def test_a_limit_can_be_changed_while_calls_wait() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    Stranger("api")

    @checkpoint(limit="api")
    def step() -> str:
        return "done"

    @flow
    def agent() -> str:
        return step()

    handle = agent.run()
    until(lambda: len(waiting("api")) == 1)
    KitaruClient().limits.set("api", at_once=2)
    assert handle.wait(PATIENCE) == "done"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"api": {}}, "bounds nothing"),
        ({"api": {"at_once": 0}}, "at_once=0"),
        ({"api": {"at_once": 1.5}}, "at_once=1.5"),
        ({"api": {"at_once": True}}, "at_once=True"),
        ({"api": {"per_minute": -1}}, "per_minute=-1"),
        ({"api": {"at_onec": 1}}, "no field 'at_onec'; did you mean 'at_once'"),
        ({"api": 5}, "limit 'api' is 5"),
        ({"": {"at_once": 1}}, "'' is no name"),
        ({" api": {"at_once": 1}}, "' api' is no name"),
        ({3: {"at_once": 1}}, "3 is no name"),
        (["api"], r"limits=\['api'\]"),
        ({"flow:agent": {"per_minute": 1}}, "counts executions"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(limits: Any, message: str) -> None:
    with pytest.raises(KitaruUsageError, match=message):
        kitaru.configure(limits=limits)


def test_a_definition_in_the_project_that_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kitaru.limits]\na = {at_once = -1}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KitaruUsageError, match=r"pyproject.toml: \[tool.kitaru\]: at_once=-1 of limit 'a'"):
        KitaruClient()


@pytest.mark.parametrize("limit", [5, "", " x", ["a", None], [""], "flow:agent", ["stack:gpu"]])
def test_a_checkpoint_refuses_what_is_no_name_of_a_limit(limit: Any) -> None:
    with pytest.raises(KitaruUsageError, match="limit="):

        @checkpoint(limit=limit)
        def step() -> None: ...

    @checkpoint
    def other() -> None: ...

    with pytest.raises(KitaruUsageError, match="limit="):
        other.with_options(limit=limit)


def test_with_options_gives_and_takes_limits() -> None:
    kitaru.configure(limits={"api": {"at_once": 1}})
    Stranger("api")

    @checkpoint(limit="api")
    def step() -> str:
        return "free"

    @flow
    def agent() -> str:
        return step.with_options(limit=[])()

    assert agent.run().wait(PATIENCE) == "free"


def test_an_unknown_limit_is_not_found_and_the_nearest_is_named() -> None:
    limits = KitaruClient().limits
    limits.set("openai", at_once=1)
    with pytest.raises(kitaru.KitaruNotFoundError, match="there is no limit 'opena'; did you mean 'openai'"):
        limits.get("opena")
    with pytest.raises(kitaru.KitaruNotFoundError, match=r"'zzz'. The limits are: openai"):
        limits.delete("zzz")
    with pytest.raises(KitaruUsageError, match="bounds nothing"):
        limits.set("openai")
