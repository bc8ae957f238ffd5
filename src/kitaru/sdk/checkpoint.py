"""``@checkpoint`` (S2)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import update_wrapper
from threading import TIMEOUT_MAX
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, Self, TypeVar, overload

from kitaru.core.isolated import Isolated
from kitaru.core.limit import of_executions
from kitaru.core.references import UNFINDABLE, can_be_found, reference_of
from kitaru.core.retry import Retry, check_retries, is_number
from kitaru.engine.binding import Binder
from kitaru.engine.calling import Known, begin
from kitaru.engine.context import body_run
from kitaru.engine.definitions import CheckpointDefinition
from kitaru.engine.futures import CheckpointFuture, CheckpointFutures
from kitaru.engine.run import Run
from kitaru.engine.threads import call_now, submit
from kitaru.errors import KitaruUsageError
from kitaru.sdk.config import check_cache
from kitaru.sdk.fan_out import product_inputs, zip_inputs
from kitaru.sdk.flow import check_function

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")

OnDrift = Literal["rerun", "fail"]
Runtime = Literal["inline", "isolated"] | Isolated


class BaseCheckpoint(Generic[P, R]):
    """What sync and async checkpoints share.

    Attributes:
        name: The name under which calls are recorded.
        fn: The bare function, for unit tests.
    """

    def __init__(self, definition: CheckpointDefinition, bound: tuple[Any, ...] = ()) -> None:
        self.definition = definition
        self.name = definition.name
        self.fn = definition.fn
        self._bound = bound  # the object, where the checkpoint is a method
        update_wrapper(self, definition.fn)  # pyright: ignore[reportArgumentType]  # typeshed wants a plain function

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> CheckpointFuture[R]:
        """Start a call beside the flow's body (S2.2): on a thread, or as a task in an async flow.

        Raises:
            KitaruContextError: Called anywhere but in the body of a running flow (S2.3).
            KitaruUsageError: The arguments do not fit.
        """
        return self._submit(body_run(f"{self.name}.submit()"), args, kwargs)

    def map(self, *iterables: Any, **constants: Any) -> CheckpointFutures[R]:
        """One call for each element (S2.2).

        Lists, tuples, ranges and generators are zipped; strings, bytes, mappings, other values and
        ``unmapped(x)`` go to every call as they are.

        Raises:
            KitaruUsageError: The iterables have different lengths, or there is none.
            KitaruContextError: See ``submit``.
        """
        run = body_run(f"{self.name}.map()")
        inputs = zip_inputs(f"{self.name}.map()", iterables, constants)
        return CheckpointFutures([self._submit(run, args, kwargs) for args, kwargs in inputs])

    def product(self, *iterables: Any, **constants: Any) -> CheckpointFutures[R]:
        """One call for each combination of the inputs, the last one varying fastest (S2.2).

        Which inputs are spread and which go to every call as they are: see ``map``.

        Raises:
            KitaruUsageError: There is no iterable.
            KitaruContextError: See ``submit``.
        """
        run = body_run(f"{self.name}.product()")
        inputs = product_inputs(f"{self.name}.product()", iterables, constants)
        return CheckpointFutures([self._submit(run, args, kwargs) for args, kwargs in inputs])

    def with_options(
        self,
        *,
        key: str | None = None,
        retries: int | None = None,
        retry: Retry | None = None,
        cache: bool | None = None,
        timeout: float | timedelta | None = None,
        type: str | None = None,
        on_drift: OnDrift | None = None,
        limit: str | Sequence[str] | None = None,
    ) -> Self:
        """This checkpoint with other options, for one call or some.

        Args:
            key: Identifies the call instead of its inputs (S3.1): a record under this key is reused
                whatever the inputs are now.
            retries: See ``checkpoint``; so are the others. What is left out stays as it is.
            retry: The full policy instead of ``retries``.
            cache: False to neither use nor feed the cache of earlier executions.
            timeout: Seconds, or a ``timedelta``, for one attempt.
            type: Label for surfaces.
            on_drift: What to do with a call that misses its record.
            limit: Named limits; an empty list for none.

        Raises:
            KitaruUsageError: A wrong value.
        """
        changes: dict[str, Any] = {"key": key, "cache": cache, "label": type, "on_drift": on_drift}
        if retries is not None or retry is not None:
            changes["retry"] = _retry(retries, retry, self.name)
        if timeout is not None:
            changes["timeout"] = _seconds(timeout, self.name)
        if on_drift is not None:
            _check_on_drift(on_drift, self.name)
        if limit is not None:
            changes["limits"] = _limits(limit, self.name)
        check_cache(cache, self.name)
        _check_text(self.name, key=key, type=type)
        given = {name: value for name, value in changes.items() if value is not None}
        return self.__class__(replace(self.definition, **given), self._bound)

    def _submit(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CheckpointFuture[R]:
        call = begin(run, self.definition, (*self._bound, *args), kwargs)
        if isinstance(call, Known):
            future: CheckpointFuture[R] = CheckpointFuture(run, call.call_id)
            future.settle(call.value, call.error)
            return future
        call.take_copy(run.values)
        if self.definition.is_async and run.is_async:
            from kitaru.engine.loop import submit_on_loop  # noqa: PLC0415  # here, because only async flows need asyncio

            return submit_on_loop(run, call)
        return submit(run, call)

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__} {self.definition.reference}>"


class Checkpoint(BaseCheckpoint[P, R]):
    """A checkpoint made of a sync function. A call returns the plain value."""

    fn: Callable[P, R]

    # On a method, the object is the first input: recorded if it can be, else by its type alone (S3.4).
    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...
    @overload
    def __get__(
        self: Checkpoint[Concatenate[Any, Q], R], instance: object, owner: type | None = None, /
    ) -> Checkpoint[Q, R]: ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        return self if instance is None else self.__class__(self.definition, (instance,))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it in a flow's body (S2.1): its record is returned, or it runs and is recorded.

        Raises:
            KitaruContextError: Called anywhere but in the body of a running flow (S2.3).
        """
        run = body_run(f"{self.name}()")
        call = begin(run, self.definition, (*self._bound, *args), kwargs)
        if isinstance(call, Known):
            if call.error is not None:
                raise call.error
            return call.value
        return call_now(run, call)


class AsyncCheckpoint(BaseCheckpoint[P, R]):
    """A checkpoint made of an ``async def`` function. Await a call; ``asyncio.gather`` many."""

    fn: Callable[P, Coroutine[Any, Any, R]]

    @overload
    def __get__(self, instance: None, owner: type, /) -> Self: ...
    @overload
    def __get__(
        self: AsyncCheckpoint[Concatenate[Any, Q], R], instance: object, owner: type | None = None, /
    ) -> AsyncCheckpoint[Q, R]: ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        return self if instance is None else self.__class__(self.definition, (instance,))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call it in an async flow's body (S2.2); the order of calls counts, not that of awaiting them.

        Raises:
            KitaruContextError: Called anywhere but in the body of a running flow (S2.3).
            KitaruUsageError: Called in a sync flow, which cannot await it.
        """
        run = body_run(f"{self.name}()")
        if not run.is_async:
            raise KitaruUsageError(
                f"{self.name}() is async and flow {run.row.flow} is not, so nothing can await it. "
                f"Call {self.name}.submit(...).result(), or make the flow an `async def`."
            )
        call = begin(run, self.definition, (*self._bound, *args), kwargs)
        if isinstance(call, Known):
            return _known(call)
        from kitaru.engine.loop import call_on_loop  # noqa: PLC0415  # here, because only async flows need asyncio

        return call_on_loop(run, call)


async def _known(call: Known) -> Any:
    if call.error is not None:
        raise call.error
    return call.value


class CheckpointDecorator(Protocol):
    """What ``@checkpoint(...)`` returns."""

    # Overlapping on purpose: an async function is a function too, and the first overload that fits counts.
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncCheckpoint[P, R]: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Checkpoint[P, R]: ...


@overload
def checkpoint(fn: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncCheckpoint[P, R]: ...  # pyright: ignore[reportOverlappingOverload]  # as above
@overload
def checkpoint(fn: Callable[P, R], /) -> Checkpoint[P, R]: ...
@overload
def checkpoint(
    *,
    retries: int | None = None,
    type: str | None = None,
    cache: bool | None = None,
    runtime: Runtime = "inline",
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    name: str | None = None,
    on_drift: OnDrift = "rerun",
    limit: str | Sequence[str] = (),
) -> CheckpointDecorator: ...
def checkpoint(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    retries: int | None = None,
    type: str | None = None,
    cache: bool | None = None,
    runtime: Runtime = "inline",
    retry: Retry | None = None,
    timeout: float | timedelta | None = None,
    name: str | None = None,
    on_drift: OnDrift = "rerun",
    limit: str | Sequence[str] = (),
) -> Any:
    """Make a function, sync or ``async def``, a checkpoint: work whose outcome is persisted (S2.1).

    Args:
        fn: The function.
        retries: How often a failed attempt is followed by another, at once; 0 or more. Default 0.
        type: A label that surfaces show, such as ``llm_call`` or ``tool_call``.
        cache: False keeps it out of the cross-run cache (S3.5). Default: as the flow says.
        runtime: ``inline`` (default): in this process. ``isolated``, or ``Isolated(memory=...)``: in a child
            process, so that a crash is a failed attempt, and timeouts and cancellation end it at once (S2.8).
        retry: The full retry policy, instead of ``retries``.
        timeout: Seconds, or a ``timedelta``, for one attempt. A thread that overruns it is left behind,
            because Python cannot end it; nothing that it does later is recorded (S2.6).
        name: The name under which calls are recorded. Default: the function's.
        on_drift: ``rerun`` (default) runs a call that misses its record; ``fail`` refuses it with
            ``KitaruDivergenceError`` where a record of the same checkpoint is left over (S3.3).
        limit: Name of a limit, or several: each attempt waits for a place under every one of them, shared
            by all processes of the store. See ``kitaru.configure(limits=...)``.

    Raises:
        KitaruUsageError: A wrong option, or not a plain function.
    """

    def decorate(fn: Callable[..., Any]) -> BaseCheckpoint[..., Any]:
        own_name = check_function(fn, "checkpoint")
        where = f"@checkpoint {own_name}"
        reference = reference_of(fn.__module__, fn.__qualname__)
        isolated = _isolated(runtime, reference, where)
        check_cache(cache, where)
        _check_text(where, name=name, type=type)
        if name is not None and (not name or name.startswith("kitaru.")):
            raise KitaruUsageError(f"{where}: name={name!r} cannot be used: empty, or reserved ('kitaru.').")
        _check_on_drift(on_drift, where)
        definition = CheckpointDefinition(
            name=name or own_name,
            fn=fn,
            reference=reference,
            isolated=isolated,
            binder=Binder(fn, own_name),
            is_async=inspect.iscoroutinefunction(fn),
            retry=_retry(retries, retry, where),
            label=type,
            cache=cache,
            timeout=None if timeout is None else _seconds(timeout, where),
            on_drift=on_drift,
            limits=_limits(limit, where),
        )
        return AsyncCheckpoint(definition) if definition.is_async else Checkpoint(definition)

    return decorate if fn is None else decorate(fn)


def _retry(retries: int | None, retry: Retry | None, where: str) -> Retry:
    if retry is not None and retries is not None:
        raise KitaruUsageError(f"{where}: give retries= or retry=, not both.")
    if retry is not None and not isinstance(retry, Retry):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"{where}: retry={retry!r}: a Retry(...) is expected; a plain number is retries=.")
    return retry or Retry(attempts=1 + check_retries(retries or 0, where))


def _isolated(runtime: Runtime, reference: str, where: str) -> Isolated | None:
    if runtime == "inline":
        return None
    if runtime != "isolated" and not isinstance(runtime, Isolated):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"{where}: runtime={runtime!r}: 'inline', 'isolated' or Isolated(...) is expected.")
    if os.name != "posix":
        raise KitaruUsageError(f"{where}: isolated checkpoints need a POSIX system (Linux, macOS).")
    if not can_be_found(reference):
        raise KitaruUsageError(f"{where}: an isolated checkpoint runs in a child process. {UNFINDABLE}")
    return Isolated() if runtime == "isolated" else runtime


def _seconds(timeout: float | timedelta, where: str) -> float:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not is_number(seconds) or not 0 < seconds <= TIMEOUT_MAX:
        raise KitaruUsageError(f"{where}: timeout={timeout!r}: seconds, more than 0, or a timedelta are expected.")
    return float(seconds)


def _check_text(where: str, **options: object) -> None:
    for name, value in options.items():
        if value is not None and not isinstance(value, str):
            raise KitaruUsageError(f"{where}: {name}={value!r}: a string is expected.")


def _limits(limit: object, where: str) -> tuple[str, ...]:
    given: list[object] = [limit] if isinstance(limit, str) else list(limit) if isinstance(limit, Iterable) else [limit]  # pyright: ignore[reportUnknownArgumentType]  # checked below
    names = [name for name in given if isinstance(name, str) and name and name == name.strip()]
    if len(names) != len(given):
        raise KitaruUsageError(f"{where}: limit={limit!r}: the name of a limit, or a list of names, is expected.")
    executions = [name for name in names if of_executions(name)]
    if executions:
        raise KitaruUsageError(
            f"{where}: limit={executions[0]!r} counts executions, and they come under it by themselves. "
            "Give the call a limit with a name of its own."
        )
    return tuple(dict.fromkeys(names))


def _check_on_drift(on_drift: object, where: str) -> None:
    if on_drift not in ("rerun", "fail"):
        raise KitaruUsageError(f"{where}: on_drift={on_drift!r}: 'rerun' or 'fail' is expected.")
