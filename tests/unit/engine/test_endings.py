"""S3.2, S9: which calls ended a body, told from its exception."""

from __future__ import annotations

from typing import Any

import pytest

from kitaru.engine.endings import ending_calls, origin_of
from kitaru.engine.run import Raised
from kitaru.errors import FailureOrigin


class Body:
    """What is known of a run when its body has ended."""

    def __init__(self, **errors: BaseException) -> None:
        self.body_steps = 0
        self.raised = [Raised(error, call_id, FailureOrigin.TIMEOUT, None, 0) for call_id, error in errors.items()]

    def ended_by(self, error: BaseException) -> tuple[str, ...]:
        return ending_calls(self, error)  # type: ignore[arg-type]

    def origin(self, error: BaseException) -> FailureOrigin:
        return origin_of(self, error)  # type: ignore[arg-type]


def raised_from(error: BaseException, cause: BaseException | None, *, during: BaseException | None = None) -> Any:
    error.__context__ = during
    error.__cause__ = cause
    return error


A, B = ValueError("a"), KeyError("b")


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        pytest.param(A, ("a",), id="the very exception"),
        pytest.param(RuntimeError("own"), (), id="the body's own"),
        pytest.param(raised_from(RuntimeError("from"), A), ("a",), id="from"),
        pytest.param(raised_from(RuntimeError("during"), None, during=A), ("a",), id="during"),
        pytest.param(raised_from(RuntimeError("from"), B, during=A), ("b",), id="the cause comes before the context"),
        pytest.param(raised_from(OSError(), raised_from(OSError(), A)), ("a",), id="two steps"),
        pytest.param(ExceptionGroup("", [A, OSError(), B]), ("a", "b"), id="a group"),
        pytest.param(ExceptionGroup("", [ExceptionGroup("", [B]), A]), ("b", "a"), id="a group in a group"),
        pytest.param(ExceptionGroup("", [raised_from(OSError(), A)]), ("a",), id="inside a group, from"),
        pytest.param(raised_from(OSError(), ExceptionGroup("", [A, B])), ("a", "b"), id="from a group"),
        pytest.param(raised_from(ExceptionGroup("", [OSError()]), None, during=A), ("a",), id="a group of others"),
        pytest.param(raised_from(ExceptionGroup("", [B]), None, during=A), ("b",), id="a group during another"),
        pytest.param(ExceptionGroup("", [A, A]), ("a",), id="twice the same"),
    ],
)
def test_s3_2_the_nearest_calls_in_the_line_of_the_exception_ended_it(
    error: BaseException, calls: tuple[str, ...]
) -> None:
    assert Body(a=A, b=B).ended_by(error) == calls


def test_s3_2_what_was_handled_before_the_nearest_call_failed_did_not_end_it() -> None:
    first, second = ValueError("first"), ValueError("second")
    second.__context__ = first
    assert Body(first=first, second=second).ended_by(second) == ("second",)


def test_s3_2_a_group_that_a_call_raised_is_that_calls() -> None:
    group = ExceptionGroup("inside", [OSError()])
    body = Body(a=group)
    assert body.ended_by(group) == ("a",)
    assert body.ended_by(ExceptionGroup("outside", [group])) == ("a",)
    assert body.origin(group) is FailureOrigin.TIMEOUT


def test_s3_2_circles_end() -> None:
    one, two = ValueError(), ValueError()
    one.__context__, two.__context__ = two, one
    group = ExceptionGroup("", [one])
    two.__cause__ = group
    assert Body(a=A).ended_by(group) == ()


def test_s9_the_origin_is_that_of_the_call_that_raised_it_or_the_users_code() -> None:
    body = Body(a=A)
    assert body.origin(A) is FailureOrigin.TIMEOUT
    assert body.origin(ExceptionGroup("", [OSError(), A])) is FailureOrigin.TIMEOUT
    assert body.origin(ValueError("a")) is FailureOrigin.USER_CODE
    assert body.origin(raised_from(OSError(), A)) is FailureOrigin.USER_CODE
