"""Threads for submitted calls: as many as are needed, and no more."""

from __future__ import annotations

import threading
import time

import pytest

from kitaru.engine import pool as module
from kitaru.engine.pool import Pool

PATIENCE = 30.0


class Jobs:
    """Jobs that all wait until the test lets them go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.running = 0
        self.peak = 0
        self.done = 0
        self.go_on = threading.Event()

    def __call__(self) -> None:
        with self._lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
        assert self.go_on.wait(PATIENCE)
        with self._lock:
            self.running -= 1
            self.done += 1

    def until_running(self, count: int) -> None:
        until(lambda: self.running >= count)

    def until_done(self, count: int) -> None:
        until(lambda: self.done >= count)


def until(reached: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < deadline
        assert not threading.Event().wait(0.001)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


def test_jobs_that_block_get_a_thread_each(jobs: Jobs) -> None:
    pool = Pool()
    for _ in range(100):
        pool.submit(jobs)
    jobs.until_running(100)
    jobs.go_on.set()
    jobs.until_done(100)


def test_a_job_that_comes_while_all_threads_block_gets_a_thread_too(jobs: Jobs) -> None:
    pool = Pool()
    for count in range(1, 20):
        pool.submit(jobs)
        jobs.until_running(count)
    jobs.go_on.set()
    jobs.until_done(19)


def test_the_bound_holds_and_everything_is_run(jobs: Jobs) -> None:
    pool = Pool(max_threads=5)
    for _ in range(50):
        pool.submit(jobs)
    jobs.until_running(5)
    assert not threading.Event().wait(0.05)
    assert (jobs.running, jobs.done) == (5, 0)
    jobs.go_on.set()
    jobs.until_done(50)
    assert jobs.peak == 5


def test_one_thread_is_enough_to_run_everything(jobs: Jobs) -> None:
    pool = Pool(max_threads=1)
    jobs.go_on.set()
    for _ in range(20):
        pool.submit(jobs)
    jobs.until_done(20)
    assert jobs.peak == 1


def test_jobs_are_taken_in_the_order_in_which_they_came() -> None:
    pool, order, done = Pool(max_threads=1), list[int](), threading.Event()
    for n in range(100):
        pool.submit(lambda n=n: order.append(n))  # type: ignore[misc]
    pool.submit(done.set)
    assert done.wait(PATIENCE)
    assert order == list(range(100))


class BusyTime:
    """The time of a process that has no processor time to spare, whatever else this machine does."""

    def __init__(self) -> None:
        self._used = 0.0
        self.sleep = time.sleep

    def process_time(self) -> float:
        self._used += 1.0
        return self._used


def test_quick_jobs_need_no_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", BusyTime())
    monkeypatch.setattr(module, "_PATIENCE", 1_000_000)  # nor do its threads wait for a processor in vain
    pool, done, left = Pool(), threading.Event(), [2_000]
    lock = threading.Lock()

    def job() -> None:
        with lock:
            left[0] -= 1
            if not left[0]:
                done.set()

    for _ in range(2_000):
        pool.submit(job)
    assert done.wait(PATIENCE)
    assert pool._threads == 2, "they only compute, so more threads would only get in each other's way"


def test_idle_threads_leave_and_later_jobs_are_run_all_the_same(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.01)
    pool = Pool()
    jobs.go_on.set()
    for round_ in range(1, 4):
        for _ in range(10):
            pool.submit(jobs)
        jobs.until_done(10 * round_)
        until(lambda: pool._threads == 0)
