"""LangGraph's functional API on its SQLite saver.

``durability="sync"`` is its strictest setting. The writes of single tasks go to a background thread even
so: a task may start before the one before it is on disk. That is kind to LangGraph in W2.
"""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.func import entrypoint, task

from benchmarks.peers import commands

_RECORDED = "recorded"
_retrying = False  # owned by `LangGraph.retry`


@task
def step(number: int) -> dict[str, object]:
    return {"number": number, "ok": True}


@task
def pause(number: int, seconds: float) -> int:
    time.sleep(seconds)
    return number


@task
def last() -> None:
    if _retrying:
        commands.reached()
    raise RuntimeError("the step that is to be retried")


class LangGraph:
    def open(self, database: str, *, recovers: bool = False) -> None:
        saver = SqliteSaver(sqlite3.connect(database, check_same_thread=False))
        saver.setup()

        @entrypoint(checkpointer=saver)
        def sequential(count: int) -> int:
            for index in range(count):
                step(index).result()
            return count

        @entrypoint(checkpointer=saver)
        def fan_out(count: int) -> int:
            return len([future.result() for future in [step(index) for index in range(count)]])

        @entrypoint(checkpointer=saver)
        def pauses(given: tuple[int, float]) -> int:
            count, seconds = given
            return len([future.result() for future in [pause(index, seconds) for index in range(count)]])

        @entrypoint(checkpointer=saver)
        def long(count: int) -> int:
            for index in range(count):
                step(index).result()
            last().result()
            return count

        self._sequential, self._fan_out, self._pauses, self._long = sequential, fan_out, pauses, long

    def three_steps(self) -> None:
        _run(self._sequential, 3)

    def sequential(self, count: int) -> float:
        return _run(self._sequential, count)

    def fan_out(self, count: int) -> float:
        return _run(self._fan_out, count)

    def pauses(self, count: int, seconds: float) -> float:
        return _run(self._pauses, (count, seconds))

    def flows(self, count: int, at_a_time: int) -> float:
        started = time.perf_counter()
        with ThreadPoolExecutor(at_a_time) as callers:
            list(callers.map(lambda _: self.three_steps(), range(count)))
        return time.perf_counter() - started

    def record(self, count: int) -> None:
        try:
            _run(self._long, count, _RECORDED)
        except RuntimeError:
            return
        raise AssertionError("the last step was to fail")

    def retry(self, count: int) -> None:
        global _retrying
        _retrying = True
        _run(self._long, None, _RECORDED)


def _run(graph: Any, given: object, thread: str | None = None) -> float:
    started = time.perf_counter()
    graph.invoke(given, {"configurable": {"thread_id": thread or uuid4().hex}}, durability="sync")
    return time.perf_counter() - started


if __name__ == "__main__":
    commands.main(LangGraph())
