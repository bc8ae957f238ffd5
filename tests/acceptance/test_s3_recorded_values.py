"""S3.3: kitaru.now(), uuid4() and random() are recorded values."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime
from typing import Any

import pytest

import kitaru
from kitaru import KitaruContextError, checkpoint, flow
from tests.acceptance.drifting import Twice
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, record, retry


def test_s3_3_now_uuid4_and_random_are_the_same_when_the_body_runs_again() -> None:
    drawn: list[tuple[Any, ...]] = []

    def body(run: int) -> None:
        drawn.append((kitaru.now(), kitaru.uuid4(), kitaru.random(), kitaru.now(), kitaru.uuid4(), kitaru.random()))

    twice = Twice(body)
    assert twice.drift() == []
    first, second = drawn
    assert first == second
    assert [type(value) for value in first[:3]] == [datetime, uuid.UUID, float]
    assert first[0].utcoffset().total_seconds() == 0
    assert first[1].version == 4
    assert 0 <= first[2] < 1
    assert first[1] != first[4]
    assert first[2] != first[5]
    assert first[0] <= first[3]


def test_s3_3_a_recorded_time_as_an_argument_is_no_drift() -> None:
    ran: list[Any] = []

    @checkpoint(on_drift="fail")
    def work(at: datetime) -> str:
        ran.append(at)
        return at.isoformat()

    twice = Twice(lambda run: work(kitaru.now()))
    assert twice.drift() == []
    assert len(ran) == 1


def test_s3_3_recorded_values_work_in_async_flows_and_tasks() -> None:
    drawn: list[Any] = []
    outside = Breakage()

    @flow
    async def agent() -> None:
        async def branch() -> uuid.UUID:
            await asyncio.sleep(0)
            return kitaru.uuid4()

        drawn.append((kitaru.now(), await asyncio.gather(branch(), branch())))
        outside.check()

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    retry(handle).wait(timeout=TIMEOUT)
    assert drawn[0] == drawn[1]


def test_s3_3_inside_a_checkpoint_they_are_drawn_anew_by_each_attempt() -> None:
    drawn: list[Any] = []

    @checkpoint(retries=1)
    def work() -> None:
        drawn.append((kitaru.uuid4(), kitaru.random(), kitaru.now()))
        if len(drawn) == 1:
            raise ConnectionError

    @flow
    def agent() -> None:
        work()

    handle = agent.run()
    handle.wait(timeout=TIMEOUT)
    assert drawn[0][0] != drawn[1][0]
    assert [call.name for call in record(handle).checkpoints] == ["work"]


def test_s3_3_outside_a_flow_there_is_nothing_to_record_them_with() -> None:
    for draw in (kitaru.now, kitaru.uuid4, kitaru.random):
        with pytest.raises(KitaruContextError, match="outside a flow"):
            draw()
