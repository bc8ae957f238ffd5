"""A child process for isolated checkpoints (S2.8): ``python -m kitaru.worker.isolated FD``.

It takes attempts from the socket it has inherited, one at a time, and ends when it has had none for a while,
or when the process at the other end is gone: then at once, whatever it is doing. User code runs on the main
thread, as in any script.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from kitaru.core import redaction
from kitaru.core.clock import SystemClock
from kitaru.core.ids import SystemIds
from kitaru.core.processes import end_own_session
from kitaru.engine import capture
from kitaru.engine.binding import Binder
from kitaru.engine.channel import Channel
from kitaru.engine.context import current
from kitaru.engine.failures import failure_of
from kitaru.engine.overrides import function_of
from kitaru.engine.procedure import as_recorded
from kitaru.engine.remote import RemoteRun, RemoteScope
from kitaru.errors import FailureOrigin, KitaruSerializationError
from kitaru.services.settings import read_settings
from kitaru.services.wiring import take_nothing
from kitaru.values import ValueCodec, open_blobs

try:
    import resource
except ImportError:  # Windows
    resource = None

IDLE_SECONDS = 60.0
"""How long a child stays warm without an attempt."""


class Child:
    """This process. ``_busy`` is set by the main thread, and read by the one that receives."""

    def __init__(self, channel: Channel) -> None:
        settings = read_settings({})
        self._values = ValueCodec(open_blobs(settings.artifacts), allow_pickle=settings.allow_pickle)
        self._channel = channel
        self._clock = SystemClock()
        self._ids = SystemIds()
        self._busy = False
        self._requests: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()

    def serve(self) -> None:
        """Carry out attempts until there are no more."""
        threading.Thread(target=self._receive, name="kitaru-channel", daemon=True).start()
        with contextlib.suppress(Empty):
            while (request := self._requests.get(timeout=IDLE_SECONDS)) is not None:
                if self._attempt(request):
                    return

    def _receive(self) -> None:
        while (message := self._channel.receive()) is not None:
            self._busy = True
            self._requests.put(message.body)
        if self._busy:
            end_own_session()
        self._requests.put(None)

    def _tell(self, kind: str, body: Any) -> None:
        try:
            self._channel.send(kind, body)
        except OSError:
            end_own_session()

    def _attempt(self, request: Mapping[str, Any]) -> bool:
        """Run the function once and answer; True where this process should not go on after it."""
        self._move(request)
        run = RemoteRun(request, self._values, self._clock, self._ids)
        scope = RemoteScope(request, run, self._tell)
        capture.install()
        token = current.set(scope)
        leaving = False
        try:
            kind, answer = "returned", self._run(request, scope)
        except Exception as error:  # noqa: BLE001  # user code
            leaving = isinstance(error, MemoryError)  # there may be none left for the next attempt
            kind, answer = "raised", self._failure(error)
        finally:
            current.reset(token)
            scope.relayed.relay(last=True)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        scope.closed = True
        self._busy = False
        self._tell(kind, {**answer, "leaving": leaving})
        return leaving

    def _run(self, request: Mapping[str, Any], scope: RemoteScope) -> dict[str, Any]:
        try:
            fn = function_of(request["reference"])
            args, kwargs = Binder(fn, fn.__name__).unbind(self._values.decode_inputs(request["inputs"]))
        except Exception as error:
            raise _Unable(error) from error
        self._tell("begun", None)
        with _memory_bounded(request["memory"]):
            value = _called(fn, args, kwargs)
        try:
            return {"output": as_recorded(self._values, value, f"the result of {scope.call_id}")[1]}
        except KitaruSerializationError as refused:
            raise _Unable(refused) from None

    def _failure(self, error: Exception) -> dict[str, Any]:
        origin = FailureOrigin.USER_CODE
        if isinstance(error, _Unable):
            error, origin = error.reason, FailureOrigin.RUNTIME
        failure = failure_of(error, origin, self._values)
        return {
            "type": failure.type,
            "message": failure.message,
            "origin": str(failure.origin),
            "traceback": failure.traceback,
            "exception": failure.exception,
        }

    def _move(self, request: Mapping[str, Any]) -> None:
        """Be where the other process is, and know what it knows."""
        if "cwd" in request:
            os.chdir(request["cwd"])
        if "environ" in request:
            wanted: dict[str, str] = request["environ"]
            for name in set(os.environ) - set(wanted) - _OWN:
                del os.environ[name]
            os.environ.update({name: value for name, value in wanted.items() if name not in _OWN})
        for value, name in request["secrets"].items():
            redaction.know(name, value)


class _Unable(Exception):
    """The function cannot be called here, or its result cannot be recorded: another attempt would fare no better."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason


def _called(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    value = fn(*args, **kwargs)
    return asyncio.run(value) if asyncio.iscoroutine(value) else value


@contextmanager
def _memory_bounded(memory: int | None) -> Generator[None]:
    """Bound what may be allocated in the block, beyond what this process has now."""
    if memory is None or resource is None:
        yield
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


_OWN = frozenset(name for name in os.environ if name.startswith("KITARU_") or name == "PYTHONPATH")


def main() -> None:
    """The command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_nothing()
    faulthandler.enable(all_threads=False)
    Child(Channel(socket.socket(fileno=int(sys.argv[1])))).serve()


if __name__ == "__main__":
    main()
