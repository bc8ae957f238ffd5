"""The flows of the soak. Each attempt leaves a line in ``SOAK_EFFECTS``: its key, and when it was let begin."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import kitaru
from kitaru import checkpoint, flow
from kitaru.engine.call import CallScope
from kitaru.engine.context import current
from kitaru.sdk.flow import Flow


def effect() -> None:
    scope = current.get()
    assert isinstance(scope, CallScope)
    # As the engine has noted it, before it asked for the lease. Here it may be later by any time: a process that is
    # stopped between the two goes on with this attempt when it wakes, which nothing can prevent.
    line = f"{kitaru.idempotency_key()} {scope.call.started_at}\n"
    descriptor = os.open(os.environ["SOAK_EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@checkpoint(cache=False)
def step(x: int) -> int:
    effect()
    time.sleep(0.02)
    return x + 1


@checkpoint(cache=False)
async def async_step(x: int) -> int:
    effect()
    await asyncio.sleep(0.02)
    return x + 1


@checkpoint(cache=False, retries=3)
def unsteady(x: int) -> int:
    effect()
    if time.time_ns() // 1_000_000 % 3 == 0:  # by chance
        raise ConnectionError("not now")
    return x + 1


@flow
def sequential(x: int) -> int:
    return step(step(step(x)))


@flow
def fan_out(x: int) -> int:
    return sum(step.map(range(x, x + 4)).result())


@flow
async def gathering(x: int) -> int:
    return sum(await asyncio.gather(*(async_step(y) for y in range(x, x + 4))))


@flow
def asking(x: int) -> int:
    answer = kitaru.wait("number", schema=int)
    return step(x) + answer


@flow
def sleeping(x: int) -> int:
    first = step(x)
    kitaru.sleep(1.5)
    return step(first)


@flow
def family(x: int) -> int:
    child = sequential.run(x)
    return step(x) + child.wait()


@flow
def retried(x: int) -> int:
    try:
        return unsteady(step(x))
    except ConnectionError:
        return x + 2


ANSWER = 7

FLOWS: dict[str, tuple[Flow[[int], Any], Callable[[int], int]]] = {
    "sequential": (sequential, lambda x: x + 3),
    "fan_out": (fan_out, lambda x: 4 * x + 10),
    "gathering": (gathering, lambda x: 4 * x + 10),
    "asking": (asking, lambda x: x + 1 + ANSWER),
    "sleeping": (sleeping, lambda x: x + 2),
    "family": (family, lambda x: 2 * x + 4),
    "retried": (retried, lambda x: x + 2),
}
"""By name: the flow, and what it has to give."""
