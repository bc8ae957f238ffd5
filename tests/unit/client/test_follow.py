"""Following waits for a change and looks again; it does not spin, and it looks once more after the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from kitaru.client.follow import PAGE, read_on
from kitaru.core.states import Status
from kitaru.services.wiring import Wiring


class World:
    """A store, a clock and a wiring in one. Each wait is one step: ``script`` says what happens in it."""

    def __init__(self, *script: Callable[[], None]) -> None:
        self.clock = self.store = self.executions = self
        self.records: list[int] = []
        self.at: Status | None = Status.RUNNING
        self.time = 0.0
        self.script = list(script)
        self.waits: list[float] = []
        self.listeners: list[Callable[[], None]] = []
        self.looks = 0

    def status(self, execution_id: str) -> Status | None:
        self.looks += 1
        return self.at

    def changes(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def monotonic(self) -> float:
        return self.time

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        assert len(self.waits) < 10, "it spins"
        if not event.is_set():
            self.script.pop(0)()
        return event.is_set()

    def page_after(self, cursor: int) -> list[int]:
        return [record for record in self.records if record > cursor][:PAGE]

    def follow(self, *, follow: bool = True, timeout: float | None = None) -> Iterator[int]:
        wiring = cast("Wiring", cast("Any", self))
        return read_on(wiring, "e", self.page_after, lambda one: one, after=0, follow=follow, timeout=timeout)

    def change(self, *records: int, status: Status | None = Status.RUNNING) -> None:
        self.records += records
        self.at = status
        for listener in self.listeners:
            listener()


def test_it_waits_for_a_change_and_ends_with_the_execution() -> None:
    world = World(lambda: world.change(1, 2), lambda: world.change(3), lambda: world.change(4, status=Status.FAILED))
    assert list(world.follow()) == [1, 2, 3, 4]
    assert len(world.waits) == 3
    assert world.looks == 4
    assert world.listeners == []


def test_a_change_that_nobody_told_of_is_found_by_looking_from_time_to_time() -> None:
    def silently() -> None:
        world.records.append(1)
        world.at = Status.COMPLETED

    world = World(lambda: None, silently)
    assert list(world.follow()) == [1]
    assert all(0 < seconds <= 5 for seconds in world.waits)


def test_what_comes_between_the_look_at_the_status_and_the_end_is_not_missed() -> None:
    world = World()
    world.change(1)
    reading = world.follow()
    assert next(reading) == 1
    world.change(2, status=Status.COMPLETED)  # while the reader works on what it has got
    assert list(reading) == [2]
    assert world.script == []


def test_pages_are_read_until_there_is_nothing_more() -> None:
    world = World()
    world.change(*range(1, 3 * PAGE + 1), status=Status.COMPLETED)
    assert list(world.follow()) == world.records
    assert list(world.follow(follow=False)) == world.records


def test_without_follow_it_neither_waits_nor_listens() -> None:
    world = World()
    world.change(1)
    assert list(world.follow(follow=False)) == [1]
    assert (world.waits, world.looks) == ([], 1)


def test_the_time_limit_counts_from_the_beginning() -> None:
    def pass_time() -> None:
        world.time += 1.5

    world = World(pass_time, pass_time, pass_time)
    with pytest.raises(TimeoutError, match="within 4 s"):
        list(world.follow(timeout=4))
    assert world.waits == [2.0, 2.0, 1.0]


def test_a_reader_that_stops_early_no_longer_listens() -> None:
    world = World()
    world.change(1)
    reading = world.follow()
    next(reading)
    assert len(world.listeners) == 1
    cast("Any", reading).close()
    assert world.listeners == []
