"""The flows that run on failing stores, in this process."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import kitaru
from kitaru import checkpoint, flow
from kitaru.sdk.flow import Flow


class Effects:
    """How often each call was executed. ``_lock`` guards the counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self) -> int:
        """Count this execution; how many there were of the same call before."""
        key = kitaru.idempotency_key()
        with self._lock:
            self.counts[key] += 1
            return self.counts[key] - 1


effects = Effects()
"""The present test's. Replaced by ``new_effects``, while no flow is running."""


def new_effects() -> Effects:
    global effects
    effects = Effects()
    return effects


@checkpoint
def step(x: int) -> int:
    effects.enter()
    return x + 1


@checkpoint
async def async_step(x: int) -> int:
    effects.enter()
    return x + 1


@checkpoint(retries=1)
def fails_once(x: int) -> int:
    if effects.enter() == 0:
        raise ConnectionError("not yet")
    return x * 10


@checkpoint
def refuse(x: int) -> int:
    effects.enter()
    raise ValueError(f"no {x}")


@checkpoint
def large(x: int) -> str:
    """A result that goes to the artifact store."""
    effects.enter()
    kitaru.save(f"saved {x}", str(x + 1) * 100_000)
    return str(x) * 100_000


@flow(cache=False)
def sequential(x: int) -> list[Any]:
    seen: list[Any] = [step(x), fails_once(x)]
    try:
        refuse(x)
    except ValueError as error:
        seen.append(str(error))
    kitaru.log(seen=len(seen))
    return [*seen, step(x + 1)]


@flow(cache=False)
def fan_out(x: int) -> list[int]:
    return [*step.map(range(x, x + 5)).result(), step(x)]


@flow(cache=False)
async def gathering(x: int) -> list[int]:
    return [*await asyncio.gather(*(async_step(y) for y in range(x, x + 4))), await async_step.submit(x)]


@flow(cache=False)
def family(x: int) -> list[Any]:
    first = sequential.run(x).wait()
    return [first, step(x), sequential.run(x + 1).wait()]


@flow(cache=False)
async def async_family(x: int) -> list[Any]:
    first = await gathering.run(x)
    return [first, await async_step(x), await gathering.run(x + 1)]


@flow(cache=False)
def large_values(x: int) -> list[str]:
    """Large values everywhere: results, arguments, artifacts, the flow's result."""
    kitaru.save("from the body", str(x + 2) * 100_000)
    first = large(x)
    second, third = large.map([x + 3, x + 4]).result()
    shout(first)
    return [first, second, third, str(x + 9) * 100_000]


@checkpoint
def shout(text: str) -> int:
    effects.enter()
    return len(text)


FLOWS: dict[str, Flow[[int], Any]] = {
    "sequential": sequential,
    "fan_out": fan_out,
    "gathering": gathering,
    "family": family,
    "async_family": async_family,
}
