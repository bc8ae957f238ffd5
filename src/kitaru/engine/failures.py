"""Exceptions to records, and records to exceptions."""

from __future__ import annotations

import importlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from kitaru.core.failure import Failure
from kitaru.core.ports import Values
from kitaru.core.redaction import redact
from kitaru.core.references import reference_of
from kitaru.errors import FailureOrigin, KitaruUserCodeError

_MACHINERY = (str(Path(__file__).resolve().parent.parent) + os.sep, "<frozen importlib", importlib.__file__)


def failure_of(error: BaseException, origin: FailureOrigin, values: Values) -> Failure:
    """The record of an exception."""
    kind = type(error)
    return Failure(
        type=reference_of(kind.__module__, kind.__qualname__),
        message=_message(error),
        origin=origin,
        traceback=traceback_text(error),
        exception=values.encode_exception(error),
    )


def error_of(failure: Failure, call_id: str, execution_id: str, values: Values) -> BaseException:
    """The exception of a recorded failure, to be raised again in the body (S2.5).

    Where its class is gone, a ``KitaruUserCodeError`` that tells what it was stands in for it.
    """
    error = values.decode_exception(failure)
    if error is not None:
        return error
    return KitaruUserCodeError(
        f"{call_id} failed with {failure.type}: {failure.message} (the exception itself could not be restored)",
        exec_id=execution_id,
        status="running",
        failure_origin=failure.origin,
    )


def traceback_text(error: BaseException) -> str:
    """The traceback without Kitaru's own frames, and without those of the import system: what is left is the user's."""
    told = traceback.TracebackException(type(error), error, error.__traceback__)
    seen: traceback.TracebackException | None = told
    while seen is not None:
        if kept := [frame for frame in seen.stack if not frame.filename.startswith(_MACHINERY)]:
            seen.stack = traceback.StackSummary.from_list(kept)
        seen = seen.__cause__ or seen.__context__
    return redact(_writable("".join(told.format()).rstrip()))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions inside an exception group, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        inner: tuple[BaseException, ...] = error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # typeshed: the group's parameter is unknown here
        for one in inner:
            yield from leaves(one)
    else:
        yield error


def _message(error: BaseException) -> str:
    try:
        return redact(_writable(str(error)))
    except Exception as broken:  # noqa: BLE001  # user code: a __str__ that raises must not hide the failure itself
        return f"<{type(error).__name__}.__str__ raised {type(broken).__name__}>"


def _writable(text: str) -> str:
    """The text with lone surrogates escaped: a database takes UTF-8 only, and the failure must be recorded."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
