"""Answers waits while a test runs."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from kitaru.client.executions import MAX_LIMIT
from kitaru.client.waits import wait_record
from kitaru.core.wait import Wait
from kitaru.errors import KitaruStateError, KitaruStoreError, KitaruWaitAbortedError
from kitaru.services.answer import abort, answer
from kitaru.services.cancel import cancel
from kitaru.services.wiring import Wiring, wiring
from kitaru.testing.clock import SkippingClock

Answers = Mapping[str, Any]
"""By the name of a wait, or its id, its answer; or a function that makes one from the ``Wait``."""

_LOOK_SECONDS = 0.05


@contextmanager
def answer_waits(answers: Answers) -> Generator[None]:
    """In the block, answer every wait that opens, as a person would.

    A wait that is not named stays open, or expires. A wrong answer, or a function that raises, cancels the
    execution, and the error is raised at the end of the block.

    Args:
        answers: By the wait's id (``review_2``) or its name (``review``), the answer: JSON data. Or a
            function: it gets the ``Wait`` and returns the answer, and may raise
            ``KitaruWaitAbortedError(reason)`` to abort the wait.
    """
    process = wiring()
    clock = process.machine if isinstance(process.machine, SkippingClock) else None
    with clock.answering() if clock is not None else nullcontext():
        answering = _Answering(process, clock, answers)
        try:
            yield
        except BaseException as error:
            answering.end()
            if answering.error is not None:  # why the block failed
                raise answering.error from error
            raise
        answering.end()
    if answering.error is not None:
        raise answering.error


class _Answering:
    """The thread that answers. ``error`` is written by it, and read once it has ended."""

    def __init__(self, wiring: Wiring, clock: SkippingClock | None, answers: Answers) -> None:
        self._wiring = wiring
        self._clock = clock
        self._answers = answers
        self._changed = threading.Event()
        self._ended = False
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="kitaru-answers", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Answer no more."""
        self._ended = True
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        stop_listening = self._wiring.store.changes(self._changed.set)
        try:
            while not self._ended:
                self._look()
                self._changed.wait(_LOOK_SECONDS)
                self._changed.clear()
        except KitaruStoreError as error:  # the store is gone, and all waits with it
            self.error = error
        finally:
            stop_listening()

    def _look(self) -> None:
        # In this order: whatever is idle by now had asked before, so it is found open.
        seen = self._clock.seen() if self._clock is not None else ()
        for execution_id, row in self._wiring.store.waits.open(flow=None, since=0, limit=MAX_LIMIT):
            if row.wait_id in self._answers or row.name in self._answers:
                self._give(wait_record(self._wiring, execution_id, row))
        if self._clock is not None:
            self._clock.skip_seen(seen)

    def _give(self, wait: Wait) -> None:
        given = self._answers[wait.wait_id if wait.wait_id in self._answers else wait.name]
        try:
            value = given(wait) if callable(given) else given
            answer(self._wiring, wait.exec_id, value, wait=wait.wait_id, by="answer_waits", via="test")
        except KitaruWaitAbortedError as aborted:
            reason = str(aborted) or None
            abort(self._wiring, wait.exec_id, wait=wait.wait_id, reason=reason, by="answer_waits", via="test")
        except KitaruStateError:  # somebody else was first
            return
        except KitaruStoreError:
            raise
        except Exception as error:  # noqa: BLE001  # the test's function: the error is the test's, not this thread's
            self.error = error
            with suppress(KitaruStateError):  # it has ended by itself
                cancel(self._wiring, wait.exec_id)
