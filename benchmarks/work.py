"""The flows and checkpoints that are measured. Each step does nothing, so that what remains is our cost."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from kitaru import checkpoint, flow


@checkpoint
def step(number: int) -> dict[str, object]:
    return {"number": number, "ok": True}


@checkpoint
async def step_async(number: int) -> dict[str, object]:
    return {"number": number, "ok": True}


@checkpoint
def pause(number: int, seconds: float) -> int:
    time.sleep(seconds)
    return number


@checkpoint
async def pause_async(number: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return number


@checkpoint
def large(number: int, size: int) -> bytes:
    return _RANDOM[number : number + size]


# Made once: drawing 1 MiB takes longer than writing it. Every slice of it is another value.
_RANDOM = os.urandom(2 << 20)


@flow(cache=False)
def three_steps(number: int) -> int:
    for index in range(3):
        step(number + index)
    return number


@flow(cache=False)
def fan_out(count: int) -> float:
    """Seconds for ``count`` submitted steps."""
    started = time.perf_counter()
    step.map(range(count)).result()
    return time.perf_counter() - started


@flow(cache=False)
async def fan_out_on_loop(count: int) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(step_async(index) for index in range(count)))
    return time.perf_counter() - started


@flow(cache=False)
def fan_out_of_pauses(count: int, seconds: float) -> float:
    started = time.perf_counter()
    pause.map(range(count), seconds).result()
    return time.perf_counter() - started


@flow(cache=False)
async def fan_out_of_async_pauses(count: int, seconds: float) -> float:
    started = time.perf_counter()
    await asyncio.gather(*(pause_async(index, seconds) for index in range(count)))
    return time.perf_counter() - started


def _nothing(index: int) -> None:
    pass


# Runs before each step of the sequential flows. Not an argument of theirs, because a function cannot be
# recorded: whoever measures sets it before the run, in this process.
between: Callable[[int], None] = _nothing


@checkpoint(runtime="isolated")
def step_apart(index: int) -> dict[str, int]:
    return {"index": index}


@flow(cache=False)
def isolated_and_inline(count: int) -> list[tuple[float, float]]:
    """Seconds of an isolated and of an inline step, in turns."""
    step_apart(-1)
    took: list[tuple[float, float]] = []
    for index in range(count):
        started = time.perf_counter()
        step_apart(index)
        between_both = time.perf_counter()
        step(index)
        took.append((between_both - started, time.perf_counter() - between_both))
    return took


@flow(cache=False)
def sequential(count: int) -> list[float]:
    """Seconds of each of ``count`` steps, one after the other; ``between`` runs before each."""
    took: list[float] = []
    for index in range(count):
        between(index)
        started = time.perf_counter()
        step(index)
        took.append(time.perf_counter() - started)
    return took


@flow(cache=False)
def sequential_large(count: int, size: int) -> list[float]:
    took: list[float] = []
    for index in range(count):
        between(index)
        started = time.perf_counter()
        large(index, size)
        took.append(time.perf_counter() - started)
    return took
