"""S3.4: inputs that cannot be digested."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitaru import checkpoint, flow
from tests.acceptance.counted import Work
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, record, retry


class Client:
    """What an SDK's client is to us: it cannot be recorded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


OPAQUE: list[Any] = [
    pytest.param(Client, id="client"),
    pytest.param(threading.Lock, id="lock"),
    pytest.param(lambda: lambda: 1, id="lambda"),
    pytest.param(lambda: Path("/dev/null").open(), id="file"),  # noqa: SIM115  # closed by the test
    pytest.param(lambda: [1, {"deep": Client()}], id="deep inside"),
]


def close(value: Any) -> None:
    getattr(value, "close", lambda: None)()


@pytest.mark.parametrize("make", OPAQUE)
def test_s3_4_an_input_that_cannot_be_digested_counts_as_a_token_of_its_type(make: Callable[[], Any]) -> None:
    work, outside = Work(), Breakage()

    @flow
    def agent() -> str:
        value = make()
        result = work.work(value)
        close(value)
        outside.check()
        return result

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "run 1"
    assert len(work.ran) == 1, "a new client of the same type is the same call when the execution resumes"


@pytest.mark.parametrize("make", OPAQUE)
def test_s3_4_a_call_with_such_an_input_is_never_part_of_the_cache(make: Callable[[], Any]) -> None:
    work = Work()

    @flow
    def agent() -> str:
        value = make()
        try:
            return work.work(value)
        finally:
            close(value)

    assert agent.run().wait(timeout=TIMEOUT) == "run 1"
    second = agent.run()
    assert second.wait(timeout=TIMEOUT) == "run 2"
    assert record(second).checkpoints[0].cached_from is None


def test_s3_4_a_key_does_not_bring_such_a_call_into_the_cache() -> None:
    work = Work()

    @flow
    def agent() -> str:
        return work.work.with_options(key="k")(Client())

    assert [agent.run().wait(timeout=TIMEOUT) for _ in range(2)] == ["run 1", "run 2"]


def test_s3_4_other_types_are_other_calls_and_plain_inputs_beside_them_still_count() -> None:
    ran: list[int] = []

    @checkpoint
    def work(client: Any, x: int) -> int:
        ran.append(x)
        return len(ran)

    runs: list[int] = []

    @flow
    def agent() -> list[int]:
        runs.append(1)
        values = [work(Client(), 1), work(threading.Lock(), 1), work(Client(), len(runs) + 1)]
        if len(runs) == 1:
            raise ConnectionError
        return values

    handle = agent.run()
    failure_of(handle)
    assert retry(handle).wait(timeout=TIMEOUT) == [1, 2, 4]


def test_s3_4_the_checkpoint_gets_the_very_object() -> None:
    client = Client()
    got: list[Any] = []

    @checkpoint
    def work(given: Client) -> None:
        got.append(given)

    @flow
    def agent() -> None:
        work(client)
        work.submit(client).result()

    handle = agent.run()
    handle.wait(timeout=TIMEOUT)
    assert got == [client, client]
    assert "Client" in repr(record(handle).checkpoints[0].inputs["given"])


def test_s3_4_a_socket_is_opaque_too() -> None:
    work = Work()
    one, other = socket.socketpair()

    @flow
    def agent() -> str:
        return work.work(one)

    try:
        assert agent.run().wait(timeout=TIMEOUT) == "run 1"
    finally:
        one.close()
        other.close()
