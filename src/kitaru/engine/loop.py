"""The driver for asyncio: carries out what the call procedure asks for, awaiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from kitaru.core.clock import Microseconds
from kitaru.core.mutations import CallRecorded, HandledChanged, Mutation
from kitaru.core.states import CallStatus
from kitaru.engine.admission import Waiting
from kitaru.engine.call import Call, CallScope
from kitaru.engine.committer import Verdict
from kitaru.engine.context import current
from kitaru.engine.futures import CheckpointFuture
from kitaru.engine.parking import PARK_SECONDS, Outcome, Parked
from kitaru.engine.procedure import Attempt, Ended, Finished, LookUp, Take, Write, call_procedure, timed_out
from kitaru.engine.run import Run
from kitaru.engine.signals import KitaruCancelled


async def call_on_loop(run: Run, call: Call) -> Any:
    """Run an async call in the awaiting task; its value or error comes once it is on disk."""
    finished: Finished | None = None
    run.parking.busy(1)
    try:
        finished = await _carry(run, call, seen_at_once=True)
        await _write(run, finished.mutations)
    except asyncio.CancelledError:
        if run.signal is not None and run.side_task() is None:
            raise run.signal from None
        if finished is None:
            _cancelled(run, call)
        elif finished.error is not None:  # its outcome is on its way to the disk; nobody will be told of this failure
            run.riding.append(HandledChanged((call.call_id,), False))
        raise
    finally:
        run.parking.busy(-1)
        run.under_way.pop(call.call_id, None)
    if finished.error is not None:
        run.remember(finished.error, call.call_id, finished.origin, run.side_task())
        raise finished.error
    return finished.value


def submit_on_loop(run: Run, call: Call) -> CheckpointFuture[Any]:
    """Run an async call in a task of its own."""
    future: CheckpointFuture[Any] = CheckpointFuture(run, call.call_id, on_loop=True)

    async def job() -> None:
        if run.failed:
            run.submitted.abandon(future, RuntimeError(f"{call.call_id} was not started: the flow had failed"))
            return
        try:
            finished = await _carry(run, call, seen_at_once=False)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                _cancelled(run, call)
            run.under_way.pop(call.call_id, None)
            run.submitted.abandon(future, error)
            if not isinstance(error, Exception):
                raise
        else:
            run.submitted.finish(future, finished)

    def done(task: asyncio.Task[None]) -> None:
        run.tasks.discard(task)
        if task.cancelled() and not future.done():  # before its first step
            run.submitted.abandon(future, asyncio.CancelledError())

    run.submitted.opened()
    task = asyncio.get_running_loop().create_task(job(), name=call.call_id)
    run.tasks.add(task)
    task.add_done_callback(done)
    return future


async def attempt(call: Call, scope: CallScope) -> Ended:
    """Run the user's coroutine once, bounded by the timeout."""
    token = current.set(scope)
    limit = asyncio.timeout(call.definition.timeout)
    try:
        async with limit:
            ended = Ended(await call.definition.fn(*call.args, **call.kwargs), None)
    except Exception as error:  # noqa: BLE001  # user code
        ended = Ended(None, error)
    finally:
        current.reset(token)
    return timed_out(call) if limit.expired() else ended  # whatever it still did when it was stopped


async def attempt_isolated(call: Call, scope: CallScope) -> Ended:
    """Run the user's function in a child process; who cancels the task kills it."""
    shared = scope.run.shared
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Ended] = loop.create_future()

    def settle(ended: Ended | None, error: BaseException | None) -> None:
        if outcome.done():
            return
        if ended is not None:
            outcome.set_result(ended)
        elif error is not None:
            outcome.set_exception(error)

    def work() -> None:
        ended, failed = None, None
        try:
            ended = shared.isolation.attempt(call, scope)
        except BaseException as error:  # noqa: BLE001  # a signal: it is raised in the task
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop was closed in between: nobody waits any more
            loop.call_soon_threadsafe(settle, ended, failed)

    shared.pool.submit(work)
    try:
        return await outcome
    except asyncio.CancelledError:
        shared.isolation.abandon(scope)
        raise


async def _carry(run: Run, call: Call, *, seen_at_once: bool) -> Finished:
    try:
        return await _drive(run, call, seen_at_once=seen_at_once)
    except BaseException:
        run.give_back(call)
        raise


async def _drive(run: Run, call: Call, *, seen_at_once: bool) -> Finished:
    procedure = call_procedure(run, call, seen_at_once=seen_at_once)
    answer: object = None
    while True:
        try:
            effect = procedure.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(effect, Attempt):
            carry_out = attempt if effect.call.definition.isolated is None else attempt_isolated
            answer = await carry_out(effect.call, effect.scope)
        elif isinstance(effect, Take):
            answer = await _take(run, effect.call)
        elif isinstance(effect, LookUp):
            answer = run.look_up(effect.key)
        elif isinstance(effect, Write):
            answer = await _write(run, effect.mutations)
        else:
            answer = await _pause(run, effect.until)


async def _take(run: Run, call: Call) -> None:
    """Wait for the call's places; the loop goes on."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed in between: nobody waits any more
            loop.call_soon_threadsafe(woken.set)

    waiting = Waiting(run, call.call_id, call.definition.limits, wake)
    run.shared.line.join(waiting)
    await woken.wait()
    waiting.check()


async def _pause(run: Run, until: Microseconds) -> None:
    left = (until - run.clock.now()) / 1_000_000
    if left >= PARK_SECONDS:
        run.parking.busy(-1)
        try:
            await park(run, Parked(due_at=until))
        finally:
            run.parking.busy(1)
    elif left > 0:
        await run.clock.sleep(left)


async def park(run: Run, parked: Parked) -> Outcome:
    """Park a coroutine until the outcome is there."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed in between: nobody waits any more
            loop.call_soon_threadsafe(there.set)

    parked.wake = wake
    run.parking.add(parked)
    try:
        await there.wait()
    except asyncio.CancelledError:
        run.parking.remove(parked)
        if run.signal is not None and asyncio.current_task() is run.body_task:
            raise run.signal from None
        raise
    assert parked.outcome is not None
    return parked.outcome


async def _write(run: Run, mutations: Sequence[Mutation]) -> None:
    written: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    run.enqueue(mutations, _LoopSink.of(run), written)
    verdict = await written
    if verdict is not None:
        run.stop(run.signal_for(verdict))
        assert run.signal is not None
        raise run.signal


class _LoopSink:
    """Wakes the coroutines of one run that wait for commits: once for a whole group."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @classmethod
    def of(cls, run: Run) -> _LoopSink:
        if run.loop_sink is None:
            run.loop_sink = cls(asyncio.get_running_loop())
        return run.loop_sink

    def settle(self, results: Sequence[tuple[Any, Verdict]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed in between: nobody waits any more
            self._loop.call_soon_threadsafe(self._resolve, results)

    def _resolve(self, results: Sequence[tuple[asyncio.Future[Verdict], Verdict]]) -> None:
        for written, verdict in results:
            if not written.done():
                written.set_result(verdict)


def _cancelled(run: Run, call: Call) -> None:
    """Note an attempt that its own task group cancelled. It runs again when the execution resumes."""
    row = call.row(CallStatus.CANCELLED, call.ended_attempts + 1, run.clock.now())
    run.riding.append(CallRecorded(row))


class _Cancelled(KitaruCancelled, asyncio.CancelledError):
    """Unwinds a body at an ``await``: for the body the signal, for ``gather`` and task groups a cancellation."""


class _Body:
    """Awaits a flow's body, which sees the cancellation of its execution as ``KitaruCancelled`` (S6.8).

    A task can only be cancelled by asyncio's own exception, so that is replaced on its way into the
    body: once, because later ones are timeouts and the like of the body's clean-up.
    """

    def __init__(self, run: Run, body: Coroutine[Any, Any, Any]) -> None:
        self._run = run
        self._body = body
        self._told = False

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = self._body.send
        given: Any = None
        while True:
            try:
                awaited = step(given)
            except StopIteration as end:
                return end.value
            try:
                step, given = self._body.send, (yield awaited)
            except GeneratorExit:
                self._body.close()
                raise
            except BaseException as error:  # noqa: BLE001  # whatever is thrown into the task is the body's
                step, given = self._body.throw, self._as_seen(error)

    def _as_seen(self, error: BaseException) -> BaseException:
        if self._told or not isinstance(error, asyncio.CancelledError) or self._run.signal is None:
            return error
        self._told = True
        return _Cancelled(*self._run.signal.args) if isinstance(self._run.signal, KitaruCancelled) else error


def run_body(run: Run, body: Coroutine[Any, Any, Any]) -> Any:
    """Run an async flow's body on an event loop of its own, on the calling thread."""

    async def main() -> Any:
        own = run.body_task = asyncio.current_task()
        assert own is not None
        loop = asyncio.get_running_loop()

        def unwind() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed in between: the body has ended
                loop.call_soon_threadsafe(own.cancel)

        run.on_signal(unwind)
        try:
            return await _Body(run, body)
        except BaseException:
            run.failed = True
            raise
        finally:
            run.ended = True
            if run.signal is not None:
                for task in run.tasks:
                    task.cancel()
            if run.tasks:
                await asyncio.gather(*run.tasks, return_exceptions=True)

    with asyncio.Runner() as runner:
        return runner.run(main())
