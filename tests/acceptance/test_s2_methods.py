"""Checkpoints that are methods: the object is the first input (S2.1, S3.4)."""

from __future__ import annotations

import asyncio

import pytest

from kitaru import KitaruClient, KitaruExecutionError, checkpoint, flow

pytestmark = pytest.mark.usefixtures("home")

RUNS: list[int] = []


class Agent:
    """Holds what cannot be recorded, as agents do."""

    def __init__(self, factor: int) -> None:
        self.client = object()
        self.factor = factor

    @checkpoint
    def scale(self, x: int) -> int:
        RUNS.append(x)
        return self.factor * x

    @checkpoint
    async def ascale(self, x: int) -> int:
        return self.factor * x


def test_s2_1_a_method_is_called_submitted_mapped_and_given_options() -> None:
    @flow
    def body() -> list[int]:
        agent = Agent(2)
        return [
            agent.scale(1),
            agent.scale.submit(2).result(),
            *agent.scale.map([3, 4]).result(),
            agent.scale.with_options(retries=1)(5),
        ]

    assert body.run().wait() == [2, 4, 6, 8, 10]


def test_s2_2_an_async_method_is_gathered() -> None:
    @flow
    async def body() -> list[int]:
        agent = Agent(3)
        return await asyncio.gather(agent.ascale(1), agent.ascale(2))

    assert body.run().wait() == [3, 6]


def test_s3_4_the_object_counts_by_its_type_is_reused_on_retry_and_never_cached_across_runs() -> None:
    RUNS.clear()
    broken = [True]

    @flow
    def body() -> int:
        value = Agent(2).scale(7)
        if broken[0]:
            raise RuntimeError
        return value

    handle = body.run()
    with pytest.raises(KitaruExecutionError):
        handle.wait()
    broken[0] = False
    assert KitaruClient().executions.retry(handle.exec_id).wait() == 14
    assert RUNS == [7]
    assert body.run().wait() == 14
    assert RUNS == [7, 7]


def test_s2_3_fn_is_the_bare_method() -> None:
    assert Agent.scale.fn(Agent(2), 4) == 8
