"""DBOS on SQLite, which it opens with journal_mode=DELETE.

Steps that run side by side are async steps under ``asyncio.gather``. A retry is the recovery of a
workflow whose process died in its last step; DBOS has been launched when the clock starts.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS, DBOSConfig, SetWorkflowID

from benchmarks.peers import commands

_RECORDER = "recorder"
_retrying = False  # owned by `Dbos.retry`


@DBOS.step()
def step(number: int) -> dict[str, object]:
    return {"number": number, "ok": True}


@DBOS.step()
async def step_async(number: int) -> dict[str, object]:
    return {"number": number, "ok": True}


@DBOS.step()
async def pause(number: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return number


@DBOS.step()
def last() -> None:
    if _retrying:
        commands.reached()
    print("{}", flush=True)
    os._exit(0)  # the process dies in this step, so the workflow stays to be recovered


@DBOS.workflow()
def sequential(count: int) -> int:
    for index in range(count):
        step(index)
    return count


@DBOS.workflow()
async def fan_out(count: int) -> int:
    await asyncio.gather(*(step_async(index) for index in range(count)))
    return count


@DBOS.workflow()
async def pauses(count: int, seconds: float) -> int:
    await asyncio.gather(*(pause(index, seconds) for index in range(count)))
    return count


@DBOS.workflow()
def long(count: int) -> int:
    for index in range(count):
        step(index)
    last()
    return count


class Dbos:
    def open(self, database: str, *, recovers: bool = False) -> None:
        config: DBOSConfig = {
            "name": "benchmark",
            "system_database_url": f"sqlite:///{database}",
            "log_level": "ERROR",
            "application_version": "1",
            # Under another name it leaves what the recorder began alone until it is asked to recover it.
            "executor_id": "retrier" if recovers else _RECORDER,
        }
        DBOS(config=config)
        DBOS.launch()

    def three_steps(self) -> None:
        sequential(3)

    def sequential(self, count: int) -> float:
        started = time.perf_counter()
        sequential(count)
        return time.perf_counter() - started

    def fan_out(self, count: int) -> float:
        started = time.perf_counter()
        asyncio.run(fan_out(count))
        return time.perf_counter() - started

    def pauses(self, count: int, seconds: float) -> float:
        started = time.perf_counter()
        asyncio.run(pauses(count, seconds))
        return time.perf_counter() - started

    def flows(self, count: int, at_a_time: int) -> float:
        started = time.perf_counter()
        with ThreadPoolExecutor(at_a_time) as callers:
            list(callers.map(lambda _: sequential(3), range(count)))
        return time.perf_counter() - started

    def record(self, count: int) -> None:
        with SetWorkflowID("recorded"):
            long(count)

    def retry(self, count: int) -> None:
        global _retrying
        _retrying = True
        for handle in DBOS._recover_pending_workflows([_RECORDER]):  # noqa: SLF001  # what its admin server calls
            handle.get_result()


if __name__ == "__main__":
    commands.main(Dbos())
