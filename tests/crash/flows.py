"""The flows whose processes are killed, and the script that runs them.

``python flows.py VERB FLOW EXECUTION_ID``, with these variables beside Kitaru's own:

* ``CRASH_EFFECTS``: the file to which each execution of a checkpoint's function appends a line
* ``CRASH_TRACE``: a file to which each passing of a crash point appends its name
* ``CRASH_AT_WRITE``: die at the start of the n-th SQL statement that writes, inside a transaction too
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from kitaru.engine import crash_points


def _append(path: str, line: str) -> None:
    """One write to a file opened with O_APPEND: lines of several threads and processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def _trace_crash_points(path: str) -> None:
    """Before the engine is imported: its modules take the function by name."""
    crash_points.crash_point = lambda point: _append(path, point)


def _die_at_write(number: int) -> None:
    """Kill this process at a statement, which the named points cannot: between BEGIN and COMMIT."""
    connect = sqlite3.connect
    writes = itertools.count(1)
    counting = threading.Lock()

    def look(statement: str) -> None:
        if statement.lstrip().startswith(("BEGIN", "INSERT", "UPDATE", "DELETE", "COMMIT")):
            with counting:
                if next(writes) == number:
                    os.kill(os.getpid(), signal.SIGKILL)

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(look)
        return connection

    sqlite3.connect = traced
    if "KITARU_STORE" in os.environ:
        from kitaru.store.postgres_pipeline import Pipeline

        send = Pipeline.send

        def sent(self: Pipeline, statement: str, values: Any = (), *, each: bool = False) -> None:
            look(statement)
            send(self, statement, values, each=each)

        Pipeline.send = sent


if "CRASH_TRACE" in os.environ:
    _trace_crash_points(os.environ["CRASH_TRACE"])
if "CRASH_AT_WRITE" in os.environ:
    _die_at_write(int(os.environ["CRASH_AT_WRITE"]))

import kitaru  # noqa: E402  # after the two above
from kitaru import KitaruClient, checkpoint, flow  # noqa: E402
from kitaru.core.ports import ExecutionFilter  # noqa: E402
from kitaru.core.states import Status  # noqa: E402
from kitaru.sdk.flow import Flow  # noqa: E402
from kitaru.services.settings import read_settings  # noqa: E402
from kitaru.services.wiring import Wiring, install, wiring  # noqa: E402
from kitaru.testing import SkippingClock  # noqa: E402


def effect(name: str, *inputs: object) -> int:
    """Leave a trace of this call in the world; how many it has left before."""
    key = kitaru.idempotency_key()
    path = os.environ["CRASH_EFFECTS"]
    before = sum(json.loads(line)[0] == key for line in Path(path).read_text().splitlines())
    _append(path, json.dumps([key, name, *inputs]))
    return before


class Refused(Exception):
    """A failure with more to it than a message."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code


@checkpoint
def step(x: int) -> int:
    effect("step", x)
    return x + 1


@checkpoint
async def async_step(x: int) -> int:
    effect("async_step", x)
    await asyncio.sleep(0)
    return x + 1


@checkpoint
def large(x: int) -> str:
    """A result that goes to the artifact store."""
    effect("large", x)
    return str(x) * 200_000


@checkpoint
def length(text: str) -> int:
    effect("length", len(text))
    return len(text)


@checkpoint(retries=2)
def fails_twice(x: int) -> int:
    before = effect("fails_twice", x)
    if before < 2:
        raise ConnectionError(f"attempt {before + 1}")
    return x * 10


@checkpoint
def fails_once(x: int) -> int:
    if effect("fails_once", x) < 1:
        raise ConnectionError("not yet")
    return x * 10


@checkpoint
def refuse(x: int) -> int:
    effect("refuse", x)
    raise Refused(f"no {x}", x)


@checkpoint
def keep(x: int) -> int:
    effect("keep", x)
    kitaru.log(kept=x)
    kitaru.save("from a checkpoint", [x])
    return x


@checkpoint
def write_down(at: datetime, name: str, chance: float) -> str:
    effect("write_down", at.isoformat(), name, chance)
    return name


@flow
def sequential(start: int) -> list[object]:
    first = step(start)
    text = large(first)
    again = step(start)
    return [first, length(text), again, step(again), text[:3] * 50_000]


@flow
def fan_out(count: int) -> list[int]:
    futures = step.map(range(count))
    return [*futures.result(), step(100), *step.map([7, 7, 7]).result()]


@flow
async def gathering(count: int) -> list[object]:
    first = await asyncio.gather(*(async_step(x) for x in range(count)))
    submitted = [async_step.submit(x) for x in (50, 51)]
    async with asyncio.TaskGroup() as group:
        grouped = [group.create_task(async_step(x)) for x in (60, 61)]
    return [first, [await future for future in submitted], [task.result() for task in grouped], step(70)]


@flow
def retried(x: int) -> list[int]:
    return [step(x), fails_twice(x), step(x + 1), fails_twice.submit(x + 1).result()]


@flow
def handled(x: int) -> list[object]:
    seen: list[object] = [step(x)]
    try:
        refuse(x)
    except Refused as error:
        seen += [str(error), error.code]
    seen.append(step(x + 1))
    error = refuse.submit(x + 1).exception()
    assert isinstance(error, Refused)
    return [*seen, error.code, step(x + 2)]


@flow(retries=2)
def rerun(x: int) -> list[int]:
    return [step(x), fails_once(x), step(x + 1), fails_once(x + 1)]


@flow
def child(x: int) -> int:
    return step(step(x))


@flow
def refusing_child(x: int) -> int:
    step(x)
    return refuse(x)


@flow
def family(x: int) -> list[object]:
    one = child.run(x).wait()
    two = child.run(x + 10)
    seen: list[object] = [one, step(x + 20), two.wait()]
    try:
        refusing_child.run(x + 30).wait()
    except kitaru.KitaruUserCodeError as error:
        seen.append(str(error.__cause__))
    return [*seen, step(x + 40)]


@flow
def recorded(x: int) -> list[object]:
    at, name, chance = kitaru.now(), kitaru.uuid4(), kitaru.random()
    kitaru.log(body=x)
    kitaru.save("from the body", {"name": name})
    # Under a key: drawn anew, they would make another call, and the checks could not tell which.
    first = write_down.with_options(key="first")(at, str(name), chance)
    keep(x)
    second = write_down.with_options(key="second")(kitaru.now(), str(kitaru.uuid4()), kitaru.random())
    assert first == str(name)
    assert second != first
    return [x]


@flow
def asking(x: int) -> list[object]:
    """Somebody answers; the pause is long enough to be suspended for."""
    seen: list[object] = [step(x), kitaru.wait("number", schema=int)]
    kitaru.sleep(1.1)
    seen.append(step(x + 1))
    return [*seen, kitaru.wait_any(one={"schema": int}, two={"schema": int})[1], step(x + 2)]


def skip_timers() -> None:
    """Let no process wait for a timer, not for one either that the process before it has set."""
    clock = SkippingClock()
    install(Wiring(read_settings({}), clock=clock))
    store = wiring().store
    for row in store.executions.list(ExecutionFilter(statuses=(Status.WAITING,)), limit=100, after=None):
        for call in store.calls.of(row.execution_id):
            if call.due_at is not None and call.ended_at is None:
                clock.idle_until(call.due_at)


def answer_questions() -> None:
    """The person: answers all but ``two``, in every process, until that ends."""
    executions = KitaruClient().executions
    while True:
        for wait in executions.pending_waits():
            if wait.name == "two":
                continue
            with contextlib.suppress(kitaru.KitaruStateError):  # the body, or another process, was faster
                executions.input(wait.exec_id, 7, wait=wait.wait_id, by="somebody")
        time.sleep(0.01)


@flow
def bystander() -> int:
    return 0


FLOWS: dict[str, tuple[Flow[[int], Any], int]] = {
    "sequential": (sequential, 1),
    "fan_out": (fan_out, 6),
    "gathering": (gathering, 4),
    "retried": (retried, 1),
    "handled": (handled, 1),
    "rerun": (rerun, 1),
    "family": (family, 1),
    "recorded": (recorded, 1),
    "asking": (asking, 1),
}
"""By name: the flow and its input."""

_PATIENCE = 60


def run(name: str, execution_id: str) -> object:
    """The same script again: started with an id, an execution is found and goes on."""
    started, argument = FLOWS[name]
    return started.run(argument, execution_id=execution_id).wait(_PATIENCE)


def resume(name: str, execution_id: str) -> object:
    """By hand."""
    executions = KitaruClient().executions
    if executions.get(execution_id).status.finished:
        return executions.handle(execution_id).get()
    try:
        return executions.resume(execution_id).wait(_PATIENCE)
    except kitaru.KitaruStateError:  # it waits: there is nothing to resume by hand
        return pick_up(name, execution_id)


def pick_up(name: str, execution_id: str) -> object:
    """By itself: some process of the project is at work, on something else."""
    bystander.run().wait(_PATIENCE)
    return KitaruClient().executions.handle(execution_id).wait(_PATIENCE)


VERBS: dict[str, Callable[[str, str], object]] = {"run": run, "resume": resume, "pick_up": pick_up}

if __name__ == "__main__":
    _, verb, flow_name, given_id = sys.argv
    if "KITARU_STORE" in os.environ:
        # Only its lease tells that a runner of PostgreSQL is dead.
        install(Wiring(read_settings({}), lease_seconds=2.0))
    elif flow_name == "asking":
        skip_timers()
    if flow_name == "asking":
        threading.Thread(target=answer_questions, daemon=True).start()
    print(json.dumps(VERBS[verb](flow_name, given_id)))
