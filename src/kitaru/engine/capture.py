"""Keeps what flows print and log, process-wide, and passes all of it on unchanged (S7.3).

``sys.stdout`` and ``sys.stderr`` are wrapped, and ``Logger.callHandlers`` is, where every record comes by
that a logger lets through. Which call is printing is told by the context variable, which tasks and
``asyncio.to_thread`` inherit and threads that user code starts itself do not. Rejected:

* a handler on the root logger: where one is, ``logging.basicConfig`` does nothing, warnings without a
  handler are no longer printed, and loggers that do not propagate are missed
* ``logging.setLogRecordFactory``: it comes before a logger's filters, which may take secrets out
* redirecting the file descriptors: they do not tell which call is printing

Owned here: the wrapping, under ``_lock``. The wrappers of streams that somebody has kept stay in place when
it is undone, and then only pass on.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, TextIO, cast

from kitaru.engine.context import current
from kitaru.engine.output import output_of

_lock = threading.Lock()
_capturing = False
_wrapped = False  # Logger.callHandlers; it may stay so, inside somebody else's wrapper
_passing: ContextVar[bool] = ContextVar("kitaru_passing", default=False)
"""True while something is passed on: a wrapper around a wrapper, or a log handler that prints, adds nothing."""

_call_handlers: Callable[[logging.Logger, logging.LogRecord], None] = logging.Logger.callHandlers
_format = logging.Formatter("%(message)s").format


class _Stream:
    """A text stream that passes everything on, and keeps what code of a flow writes."""

    def __init__(self, stream: TextIO, level: str) -> None:
        self.kitaru_stream = stream
        self._level = level

    def write(self, text: str) -> int:
        scope = current.get()
        if scope is None or not _capturing or _passing.get():
            return self.kitaru_stream.write(text)
        token = _passing.set(True)
        try:
            written = self.kitaru_stream.write(text)
        finally:
            _passing.reset(token)
        output = output_of(scope)
        if output is not None:
            output.printed(self._level, text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    # `Any`: whatever else the stream has.
    def __getattr__(self, name: str) -> Any:
        return getattr(self.kitaru_stream, name)


def _handle(logger: logging.Logger, record: logging.LogRecord) -> None:
    scope = current.get()
    if scope is None or not _capturing or _passing.get():
        _call_handlers(logger, record)
        return
    token = _passing.set(True)
    try:
        _call_handlers(logger, record)
    finally:
        _passing.reset(token)
    output = output_of(scope)
    if output is not None:
        output.logged(record.levelname, record.name, _message(record))


def _message(record: logging.LogRecord) -> str:
    try:
        return _format(record)
    except Exception as error:  # noqa: BLE001  # user code: the arguments' own conversion to text
        return f"(a record that cannot be formatted: {type(error).__name__} in {record.pathname}:{record.lineno})"


def install() -> None:
    """Begin to capture, or take in streams that were replaced since. Called whenever a body begins to run."""
    global _capturing, _call_handlers, _wrapped
    with _lock:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Stream):
                setattr(sys, name, _Stream(stream, name))
        if not _wrapped:
            _call_handlers = logging.Logger.callHandlers
            logging.Logger.callHandlers = cast("Any", _handle)
            _wrapped = True
        _capturing = True


def uninstall() -> None:
    """Stop capturing, and put back what nobody else has wrapped since."""
    global _capturing, _wrapped
    with _lock:
        _capturing = False
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, _Stream):
                setattr(sys, name, stream.kitaru_stream)
        if logging.Logger.callHandlers is _handle:
            logging.Logger.callHandlers = cast("Any", _call_handlers)
            _wrapped = False


def _forget() -> None:
    """A forked child belongs to no flow, and what it might take a lock of stayed with the parent."""
    global _lock
    _lock = threading.Lock()
    uninstall()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
