"""S2.5: a failure that the flow body catches is part of the run."""

from __future__ import annotations

import asyncio
import io
from email.message import Message
from typing import Any
from urllib.error import HTTPError

import pytest

from kitaru import checkpoint, flow
from tests.acceptance.runs import TIMEOUT, Breakage, failure_of, record, retry


class ToolError(Exception):
    """An exception with a signature and attributes of its own, as SDKs have them."""

    def __init__(self, message: str, *, code: int, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class SlottedError(ValueError):
    __slots__ = ("hint",)

    def __init__(self, hint: str) -> None:
        super().__init__(f"hint: {hint}")
        self.hint = hint


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError("plain"), id="builtin"),
        pytest.param(KeyError(("a", 1)), id="a key that is a tuple"),
        pytest.param(ToolError("boom", code=7, details={"retry": None, "at": (1, 2)}), id="with attributes"),
        pytest.param(SlottedError("slots"), id="with slots"),
        pytest.param(FileNotFoundError(2, "No such file", "/tmp/x"), id="OSError"),
        pytest.param(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), id="UnicodeDecodeError"),
        pytest.param(ExceptionGroup("both", [ValueError("a"), ToolError("b", code=1, details={})]), id="group"),
    ],
)
def test_s2_5_a_caught_failure_is_raised_again_on_resume_with_type_message_and_attributes(error: Exception) -> None:
    ran: list[str] = []
    seen: list[Exception] = []
    outside = Breakage()

    @checkpoint
    def work() -> None:
        ran.append("work")
        raise error

    @flow
    def agent() -> str:
        try:
            work()
        except Exception as caught:
            seen.append(caught)
        outside.check()
        return "survived"

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == "survived"
    assert ran == ["work"]
    first, second = seen
    assert first is error
    assert second is not error
    assert (type(second), str(second), repr(second)) == (type(first), str(first), repr(first))
    assert second.__dict__ == first.__dict__ or isinstance(first, ExceptionGroup)
    if isinstance(first, SlottedError):
        assert isinstance(second, SlottedError)
        assert second.hint == first.hint
    assert len(record(handle).checkpoints[0].attempts) == 1


def test_s2_4_an_exception_that_is_made_oddly_is_retried_recorded_and_raised_again() -> None:
    outside = Breakage()
    codes: list[int] = []

    @checkpoint(retries=1)
    def fetch() -> None:
        raise HTTPError("http://example.com", 503, "Busy", Message(), io.BytesIO(b"come back later"))

    @flow
    def agent() -> None:
        try:
            fetch()
        except HTTPError as error:
            codes.append(error.code)
        outside.check()

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    retry(handle).wait(timeout=TIMEOUT)
    assert codes == [503, 503]
    failures = [attempt.failure for attempt in record(handle).checkpoints[0].attempts]
    assert [failure and failure.message for failure in failures] == ["HTTP Error 503: Busy"] * 2


def test_s2_5_notes_of_a_caught_failure_come_back() -> None:
    outside = Breakage()
    notes: list[list[str]] = []

    @checkpoint
    def work() -> None:
        error = ValueError("annotated")
        error.add_note("while reading page 3")
        raise error

    @flow
    def agent() -> None:
        try:
            work()
        except ValueError as caught:
            notes.append(list(caught.__notes__))
        outside.check()

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    retry(handle).wait(timeout=TIMEOUT)
    assert notes == [["while reading page 3"]] * 2


@pytest.mark.parametrize("way", ["call", "result", "exception", "map"])
def test_s2_5_a_failure_that_the_body_was_given_is_raised_again_without_running(way: str) -> None:
    ran: list[int] = []
    outside = Breakage()

    @checkpoint
    def work(x: int) -> int:
        ran.append(x)
        raise ToolError("no", code=x, details={})

    def look() -> Exception | None:
        try:
            if way == "call":
                work(1)
            elif way == "result":
                work.submit(1).result()
            elif way == "exception":
                return work.submit(1).exception()  # type: ignore[return-value]
            else:
                work.map([1]).result()
        except ToolError as error:
            return error
        return None

    @flow
    def agent() -> int:
        error = look()
        assert isinstance(error, ToolError)
        outside.check()
        return error.code

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == 1
    assert ran == [1]


@pytest.mark.parametrize("way", ["await", "submit", "gather", "group"])
def test_s2_5_a_failure_that_an_async_body_was_given_is_raised_again_without_running(way: str) -> None:
    ran: list[int] = []
    outside = Breakage()

    @checkpoint
    async def work(x: int) -> int:
        ran.append(x)
        raise ToolError("no", code=x, details={})

    @checkpoint
    async def good() -> int:
        return 1

    async def look() -> Exception | None:
        try:
            if way == "await":
                await work(1)
            elif way == "submit":
                await work.submit(1)
            elif way == "gather":
                return (await asyncio.gather(work(1), return_exceptions=True))[0]  # type: ignore[return-value]
            else:
                async with asyncio.TaskGroup() as group:
                    group.create_task(work(1))
        except* ToolError as errors:
            found = errors.exceptions[0]
            assert isinstance(found, ToolError)
            return_value.append(found)
        return return_value[-1]

    return_value: list[Exception] = []

    @flow
    async def agent() -> int:
        error = await look()
        assert isinstance(error, ToolError)
        await good()
        outside.check()
        return error.code

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == 1
    assert ran == [1]


def test_s2_5_an_exception_whose_class_cannot_be_found_again_is_still_raised_as_what_it_says() -> None:
    outside = Breakage()
    seen: list[str] = []

    class LocalError(Exception):
        pass

    @checkpoint
    def work() -> None:
        raise LocalError("made in a function")

    @flow
    def agent() -> None:
        try:
            work()
        except Exception as error:
            seen.append(str(error))
        outside.check()

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    retry(handle).wait(timeout=TIMEOUT)
    assert seen[0] == "made in a function"
    assert "LocalError: made in a function" in seen[1]


def test_s2_5_the_same_exception_object_may_be_raised_by_several_calls() -> None:
    """A module-level exception instance must not tie the fates of two calls together."""
    shared_error = ValueError("the same object")
    ran: list[int] = []
    outside = Breakage()

    @checkpoint
    def work(x: int) -> int:
        ran.append(x)
        if outside.mended and x == 2:
            return x
        raise shared_error

    @flow
    def agent() -> int:
        with pytest.raises(ValueError, match="the same object"):
            work(1)
        return work(2)

    handle = agent.run()
    failure_of(handle)
    outside.mend()
    assert retry(handle).wait(timeout=TIMEOUT) == 2
    assert ran == [1, 2, 2]
