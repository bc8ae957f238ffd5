"""Isolated checkpoints, seen from the process that runs the flow: its warm child processes (S2.8).

An attempt goes to a child: a reference to the function and the recorded text of its inputs there, what it
logs, saves and prints on the way, and its result or its exception back, all as ``kitaru.values`` writes
them. A child that ends before it has answered is a failed attempt, and another child takes its place.

Owned here: ``_idle`` and ``_busy``, under ``_changed``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from kitaru.core import redaction
from kitaru.core.failure import Failure
from kitaru.core.mutations import ProgressMade
from kitaru.core.processes import end_session, how_it_ended
from kitaru.core.rows import ArtifactRow, LogRow, MetadataRow
from kitaru.engine.call import Call, CallScope
from kitaru.engine.channel import Channel, Message
from kitaru.engine.failures import error_of
from kitaru.engine.output import output_of
from kitaru.engine.procedure import Ended, timed_out
from kitaru.engine.run import Run
from kitaru.errors import FailureOrigin, KitaruNotFoundError, KitaruSerializationError

if TYPE_CHECKING:
    import subprocess

_MODULE = "kitaru.worker.isolated"  # of a higher layer: it is started, not imported
_END_SECONDS = 1.0

Environment = Callable[[], Mapping[str, str]]
"""The variables with which a child sees the settings and modules of this process."""


class Isolation:
    """The children of this process.

    Args:
        environment: See ``Environment``.
        most: How many attempts run in children at once; others wait for one to end.
    """

    def __init__(self, environment: Environment, most: int | None = None) -> None:
        self._environment = environment
        self._most = most or (os.cpu_count() or 1) + 4
        self._changed = threading.Condition()
        self._idle: list[_Child] = []
        self._busy: dict[_Child, CallScope] = {}

    def attempt(self, call: Call, scope: CallScope) -> Ended:
        """Run the user's function once, in a child.

        Raises:
            Signal: The body has to unwind. The child is killed.
        """
        run = scope.run
        if not run.has_isolated:
            run.has_isolated = True
            run.on_signal(lambda: self._stop(lambda busy: busy.run is run))
        while True:
            try:
                child = self._take(scope)
            except OSError as error:  # no memory, no process, no descriptor
                failed = ChildProcessError(f"no process could be started for {call.call_id}: {error}")
                return Ended(None, failed, FailureOrigin.INFRASTRUCTURE)
            keep = False
            try:
                ended, keep = _Conversation(child, call, scope).hold()
            finally:
                self._give_back(child, keep=keep)
            if ended is not None:
                return ended

    def abandon(self, scope: CallScope) -> None:
        """Nobody waits for this attempt any more: its child is killed."""
        scope.closed = True
        self._stop(lambda busy: busy is scope)

    def close(self) -> None:
        """End all children."""
        with self._changed:
            children = [*self._idle, *self._busy]
            self._idle.clear()
        for child in children:
            child.end()

    def _take(self, scope: CallScope) -> _Child:
        with self._changed:
            while not self._idle and len(self._busy) >= self._most:
                _check(scope)
                self._changed.wait()
            _check(scope)
            for left in [idle for idle in self._idle if idle.has_left()]:
                self._idle.remove(left)
                left.end()
            child = self._idle.pop() if self._idle else _Child(self._environment())
            self._busy[child] = scope
            return child

    def _give_back(self, child: _Child, *, keep: bool) -> None:
        with self._changed:
            del self._busy[child]
            if keep:
                self._idle.append(child)
            self._changed.notify_all()
        if not keep:
            child.end()

    def _stop(self, wanted: Callable[[CallScope], bool]) -> None:
        with self._changed:
            for child, scope in self._busy.items():
                if wanted(scope):
                    child.kill()
            self._changed.notify_all()


def _check(scope: CallScope) -> None:
    if scope.run.signal is not None:
        raise scope.run.signal
    if scope.closed:
        raise RuntimeError(f"{scope.call_id} was cancelled by the flow")


class _Child:
    """A child process. In a session of its own, so that what it starts ends with it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        import subprocess  # noqa: PLC0415  # some ms at every start, and few processes come here

        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        try:
            with theirs:
                fd = theirs.fileno()
                self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603  # our own module
                    [sys.executable, "-m", _MODULE, str(fd)],
                    pass_fds=(fd,),
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except BaseException:
            self.channel.close()
            raise
        self.fresh = True
        self._lock = threading.Lock()
        self._place: Mapping[str, Any] = {"environ": dict(os.environ), "cwd": str(Path.cwd())}

    def moved(self) -> Mapping[str, Any]:
        """What this process has changed of its environment and working directory since the child was told."""
        place = {"environ": dict(os.environ), "cwd": str(Path.cwd())}
        changed = {name: value for name, value in place.items() if value != self._place[name]}
        self._place = place
        return changed

    def kill(self) -> None:
        with self._lock:
            if self._process.poll() is None:
                end_session(self._process)

    def end(self) -> None:
        """Kill it where it still runs, and let go of it."""
        self.kill()
        self._process.wait()
        self.channel.close()

    def ended(self) -> int:
        """The return code of a process that has closed its end; it is killed where it has done no more than that."""
        import subprocess  # noqa: PLC0415  # as above

        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()

    def has_left(self) -> bool:
        """True where it has been idle for so long that it has ended."""
        return self._process.poll() is not None


class _Conversation:
    """One attempt in one child."""

    def __init__(self, child: _Child, call: Call, scope: CallScope) -> None:
        self._child = child
        self._call = call
        self._scope = scope
        self._run: Run = scope.run
        self._began = False

    def hold(self) -> tuple[Ended | None, bool]:
        """How the attempt ended, None where it never began and another child may try; and whether the child is kept."""
        with contextlib.suppress(OSError):  # it is gone: what follows tells how
            self._child.channel.send("call", self._request())
        deadline: float | None = None
        while True:
            try:
                message = self._child.channel.receive(deadline)
            except TimeoutError:
                self._child.kill()
                return timed_out(self._call), False
            if message is None:
                return self._lost(), False
            if message.kind == "begun":
                self._began = True
                timeout = self._call.definition.timeout
                deadline = None if timeout is None else monotonic() + timeout
            elif message.kind in ("returned", "raised"):
                self._child.fresh = False
                return self._ended(message), not message.body["leaving"]
            else:
                self._told(message)

    def _request(self) -> dict[str, Any]:
        call, run = self._call, self._run
        isolated = call.definition.isolated
        return {
            "reference": call.definition.reference,
            "inputs": call.inputs.text,
            "memory": None if isolated is None else isolated.memory,
            # As code inside a checkpoint may ask for it: not what can be large.
            "execution": run.row._replace(inputs="{}", result=None, failure=None)._asdict(),
            "call_id": call.call_id,
            "attempt": self._scope.attempt,
            "identity": list(call.identity),
            "secrets": {} if redaction.present is None else dict(redaction.present.names),
            **self._child.moved(),
        }

    def _told(self, message: Message) -> None:
        """What the attempt logs, saves and prints, as it does."""
        body = message.body
        if message.kind == "logged":
            self._scope.log([MetadataRow(*row) for row in body])
        elif message.kind == "saved":
            self._scope.save(ArtifactRow(*body))
        else:
            output = output_of(self._scope)
            if output is not None:
                progress = body["progress"]
                output.received([LogRow(*row) for row in body["rows"]], progress and ProgressMade(*progress))

    def _ended(self, message: Message) -> Ended:
        body = message.body
        if message.kind == "returned":
            try:
                with self._run.needing_the_store():
                    return Ended(self._run.values.decode(body["output"]), None, output=body["output"])
            except (KitaruSerializationError, KitaruNotFoundError) as error:
                return Ended(None, error, FailureOrigin.RUNTIME)
        origin = FailureOrigin(body["origin"])
        failure = Failure(body["type"], body["message"], origin, body["traceback"], body["exception"])
        error = error_of(failure, self._call.call_id, self._run.execution_id, self._run.values)
        if not isinstance(error, Exception):  # its class has become another one here
            error = RuntimeError(f"{failure.type}: {failure.message}")
        if failure.traceback:
            error.add_note(f"\nIn the child process:\n{failure.traceback}")
        return Ended(None, error, origin, failure=failure)

    def _lost(self) -> Ended | None:
        """The child has ended before it answered."""
        code = self._child.ended()
        _check(self._scope)
        if not self._began and not self._child.fresh:
            return None  # it had been idle for long and left as the call came
        before = "" if self._began else " before it could begin (what it printed to stderr tells why)"
        error = ChildProcessError(f"the process of {self._call.call_id} {how_it_ended(code)}{before}")
        return Ended(None, error, FailureOrigin.INFRASTRUCTURE)
