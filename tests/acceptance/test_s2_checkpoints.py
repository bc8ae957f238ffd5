"""S2.1, S2.7, S2.8: what a checkpoint is, and what its options mean."""

from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from typing import Any

import pytest

from kitaru import KitaruUsageError, Retry, checkpoint, flow
from tests.acceptance.runs import TIMEOUT, call_ids, failure_of, record


def test_s2_1_a_call_returns_the_plain_value() -> None:
    @checkpoint
    def search(query: str) -> list[str]:
        return [query.upper()] if query else []

    @flow
    def agent() -> dict[str, Any]:
        found, nothing = search("cat"), search("")
        return {
            "type": type(found).__name__,
            "branch": "nothing" if not nothing else "something",
            "text": f"found {found[0]}",
            "total": sum(len(word) for word in found),
        }

    assert agent.run().wait(timeout=TIMEOUT) == {"type": "list", "branch": "nothing", "text": "found CAT", "total": 3}


def test_s2_1_an_async_checkpoint_returns_the_plain_value_when_it_is_awaited() -> None:
    @checkpoint
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    @flow
    async def agent(x: int) -> str:
        y = await double(x)
        return f"{y + 1}" if y else "none"

    assert agent.run(4).wait(timeout=TIMEOUT) == "9"


def test_s2_1_every_option_is_taken_by_sync_and_async_functions() -> None:
    options: dict[str, Any] = {
        "retry": Retry(attempts=2), "type": "tool_call", "cache": False, "runtime": "inline",
        "timeout": timedelta(seconds=20), "name": "other_name", "on_drift": "rerun",
    }  # fmt: skip

    @checkpoint(**options)
    def plain(x: int) -> int:
        return x + 1

    @checkpoint(**{**options, "name": "third_name"})
    async def awaited(x: int) -> int:
        return x + 2

    @flow
    async def agent() -> int:
        return plain(1) + await awaited(1)

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == 5
    assert [(call.call_id, call.name, call.type) for call in record(handle).checkpoints] == [
        ("other_name", "other_name", "tool_call"),
        ("third_name", "third_name", "tool_call"),
    ]


def test_s2_1_the_wrapper_keeps_the_functions_name_docstring_and_signature() -> None:
    @checkpoint
    def fetch(url: str, *, tries: int = 3) -> str:
        """Fetch a page."""
        return url * tries

    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch a page.")
    assert list(inspect.signature(fetch).parameters) == ["url", "tries"]


def test_s2_1_a_sync_checkpoint_is_called_plainly_in_an_async_flow() -> None:
    @checkpoint
    def double(x: int) -> int:
        return 2 * x

    @flow
    async def agent() -> int:
        return double(double(1))

    assert agent.run().wait(timeout=TIMEOUT) == 4


def test_s2_1_an_async_checkpoint_called_in_a_sync_flow_is_refused_with_what_to_write_instead() -> None:
    @checkpoint
    async def double(x: int) -> int:
        return 2 * x

    @flow
    def agent() -> str:
        with pytest.raises(KitaruUsageError, match=r"double\.submit\(\.\.\.\)\.result\(\)"):
            double(1)
        return "refused"

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == "refused"
    assert call_ids(handle) == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param({"retries": -1}, "retries=-1", id="negative retries"),
        pytest.param({"retries": 1.5}, "retries=1.5", id="part of a retry"),
        pytest.param({"retries": True}, "retries=True", id="retries as a truth value"),
        pytest.param({"retries": "3"}, "retries='3'", id="retries as text"),
        pytest.param({"retries": 1, "retry": Retry()}, "not both", id="two policies"),
        pytest.param({"timeout": 0}, "timeout=0", id="no time"),
        pytest.param({"timeout": -1.0}, "timeout=-1.0", id="negative time"),
        pytest.param({"timeout": float("nan")}, "timeout=nan", id="time that is no number"),
        pytest.param({"timeout": float("inf")}, "timeout=inf", id="time without end"),
        pytest.param({"timeout": timedelta(0)}, "timeout=", id="no time, as a timedelta"),
        pytest.param({"name": ""}, "name=''", id="no name"),
        pytest.param({"name": "kitaru.now"}, "reserved", id="a reserved name"),
        pytest.param({"on_drift": "explode"}, "'rerun' or 'fail'", id="unknown reaction to drift"),
    ],
)
def test_s2_1_and_s2_4_a_wrong_option_is_refused_at_decoration(options: dict[str, Any], named: str) -> None:
    def work() -> None: ...

    with pytest.raises(KitaruUsageError, match="work") as caught:
        checkpoint(**options)(work)
    assert named in str(caught.value)


def test_s2_1_what_is_no_plain_function_is_refused() -> None:
    def numbers() -> Any:
        yield 1

    async def later() -> Any:
        yield 1

    for wrong in (numbers, later, int, "text", checkpoint(lambda: 1)):
        with pytest.raises(KitaruUsageError, match="@checkpoint"):
            checkpoint(wrong)  # type: ignore[call-overload]


def test_s2_1_arguments_that_do_not_fit_are_refused_before_anything_is_recorded() -> None:
    @checkpoint
    def fetch(url: str, *, tries: int = 3) -> str:
        return url * tries

    @flow
    def agent() -> list[str]:
        messages: list[str] = []
        for args, kwargs in (((), {}), (("a", 3), {}), (("a",), {"retires": 1}), (("a",), {"url": "b"})):
            with pytest.raises(KitaruUsageError, match="fetch") as caught:
                fetch(*args, **kwargs)  # type: ignore[arg-type]
            messages.append(str(caught.value))
        return messages

    handle = agent.run()
    assert all("(url: 'str', *, tries: 'int' = 3)" in message for message in handle.wait(timeout=TIMEOUT))
    assert call_ids(handle) == []


def test_s2_1_two_functions_under_one_name_in_one_execution_are_refused() -> None:
    """Else the records of one would be returned for the other."""

    @checkpoint(name="work")
    def one(x: int) -> int:
        return x

    @checkpoint(name="work")
    def two(x: int) -> int:
        return -x

    @flow
    def agent() -> int:
        return one(1) + two(1)

    error = failure_of(agent.run())
    assert isinstance(error.__cause__, KitaruUsageError)
    assert "two functions named 'work'" in str(error)


def test_s2_1_options_can_be_changed_for_one_call() -> None:
    @checkpoint(type="tool_call")
    def work(x: int) -> int:
        return x

    @flow
    def agent() -> int:
        return work(1) + work.with_options(type="llm_call")(2)

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == 3
    assert [call.type for call in record(handle).checkpoints] == ["tool_call", "llm_call"]
    with pytest.raises(KitaruUsageError, match="retries=-1"):
        work.with_options(retries=-1)


@pytest.mark.parametrize("label", ["llm_call", "tool_call", "anything else, even with ünicode", None])
def test_s2_7_type_is_a_free_label_that_is_shown(label: str | None) -> None:
    @checkpoint(type=label)
    def work() -> int:
        return 1

    @flow
    def agent() -> int:
        return work.submit().result()

    handle = agent.run()
    handle.wait(timeout=TIMEOUT)
    assert record(handle).checkpoints[0].type == label


def test_seed_a_flow_composes_checkpoints_as_on_the_checkpoint_page() -> None:
    @checkpoint
    def fetch_data(url: str) -> str:
        return f"page of {url}"

    @checkpoint
    def process_data(data: str) -> str:
        return data.upper()

    @flow
    def my_agent(url: str) -> str:
        data = fetch_data(url)
        return process_data(data)

    @flow
    def parallel_agent(urls: list[str]) -> list[str]:
        futures = [fetch_data.submit(url) for url in urls]
        return [future.result() for future in futures]

    assert my_agent.run(url="here").wait(timeout=TIMEOUT) == "PAGE OF HERE"
    assert parallel_agent.run(["a", "b"]).wait(timeout=TIMEOUT) == ["page of a", "page of b"]


def test_seed_checkpoints_are_reusable_in_any_flow() -> None:
    @checkpoint
    def double(x: int) -> int:
        return 2 * x

    @flow(cache=False)
    def one() -> int:
        return double(1)

    @flow(cache=False)
    async def other() -> int:
        return double(2)

    assert (one.run().wait(timeout=TIMEOUT), other.run().wait(timeout=TIMEOUT)) == (2, 4)
