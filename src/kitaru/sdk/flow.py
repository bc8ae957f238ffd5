"""``@flow`` (S1)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from difflib import get_close_matches
from functools import update_wrapper
from typing import Any, Generic, NoReturn, ParamSpec, Protocol, TypeVar, overload

from kitaru.client.deployment import Deployment, deployment_record
from kitaru.client.deployments import Deployments
from kitaru.client.handle import FlowHandle
from kitaru.core.image import Image, ImageSettings
from kitaru.core.references import reference_of
from kitaru.core.retry import check_retries
from kitaru.engine.binding import Binder
from kitaru.engine.definitions import FlowDefinition, registry
from kitaru.errors import KitaruUsageError
from kitaru.sdk.config import check_cache, resolve_options
from kitaru.services.start import start
from kitaru.services.wiring import wiring

P = ParamSpec("P")
R = TypeVar("R")

RESERVED = ("stack", "retries", "cache", "image", "execution_id", "tags", "priority", "version", "tag", "exclusive")
"""Options of ``run``, ``deploy`` and ``invoke``: no parameter of a flow may have one of these names (S1.3)."""


class Flow(Generic[P, R]):
    """A durable flow: what is invoked. Made by ``@flow``; started with ``run``.

    Attributes:
        name: The flow's name: its function's.
        fn: The bare function, for unit tests.
    """

    def __init__(self, definition: FlowDefinition) -> None:
        self.definition = definition
        self.name = definition.name
        self.fn = definition.fn
        update_wrapper(self, definition.fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> NoReturn:  # noqa: ARG002
        """Refused: a flow is started with ``run``, or with ``invoke`` once it is deployed."""
        raise KitaruUsageError(
            f"{self.name}(...) would run without a record. Start it with {self.name}.run(...), or invoke a "
            f"deployed version with {self.name}.invoke(...). For a unit test, call {self.name}.fn(...)."
        )

    # With an option, the flow's own arguments are not checked by type checkers: Python's typing has no
    # way to add keyword arguments to a ParamSpec. Each overload requires one option, so a call without
    # any has to fit the first.
    @overload
    def run(self, *args: P.args, **kwargs: P.kwargs) -> FlowHandle[R]: ...
    @overload
    def run(
        self, *args: Any, stack: str | None, retries: int | None = ..., cache: bool | None = ...,
        image: Image | None = ..., execution_id: str | None = ..., tags: Iterable[str] = ...,
        priority: int | None = ..., **kwargs: Any,
    ) -> FlowHandle[R]: ...  # fmt: skip
    @overload
    def run(
        self, *args: Any, retries: int | None, cache: bool | None = ...,
        image: Image | None = ..., execution_id: str | None = ..., tags: Iterable[str] = ...,
        priority: int | None = ..., **kwargs: Any,
    ) -> FlowHandle[R]: ...  # fmt: skip
    @overload
    def run(
        self, *args: Any, cache: bool | None,
        image: Image | None = ..., execution_id: str | None = ..., tags: Iterable[str] = ...,
        priority: int | None = ..., **kwargs: Any,
    ) -> FlowHandle[R]: ...  # fmt: skip
    @overload
    def run(
        self, *args: Any, image: Image | None,
        execution_id: str | None = ..., tags: Iterable[str] = ...,
        priority: int | None = ..., **kwargs: Any,
    ) -> FlowHandle[R]: ...  # fmt: skip
    @overload
    def run(
        self, *args: Any, execution_id: str | None, tags: Iterable[str] = ..., priority: int | None = ..., **kwargs: Any
    ) -> FlowHandle[R]: ...
    @overload
    def run(self, *args: Any, tags: Iterable[str], priority: int | None = ..., **kwargs: Any) -> FlowHandle[R]: ...
    @overload
    def run(self, *args: Any, priority: int | None, **kwargs: Any) -> FlowHandle[R]: ...
    def run(
        self,
        *args: Any,
        stack: str | None = None,
        retries: int | None = None,
        cache: bool | None = None,
        image: Image | None = None,
        execution_id: str | None = None,
        tags: Iterable[str] = (),
        priority: int | None = None,
        **kwargs: Any,
    ) -> FlowHandle[R]:
        """Record an execution, start it in the background, and return its handle (S1.2).

        In the body of another flow this starts a child execution (S1.10).

        Args:
            *args: The flow's own arguments.
            stack: Where it runs.
            retries: How often the body may run again in this execution, 0 or more.
            cache: Whether checkpoints may reuse results of earlier executions.
            image: Environment, recorded with the execution.
            execution_id: An id of your own. A second run with the same id and inputs returns the first
                one's handle, and goes on with it where its process has died.
            tags: Words to find the execution by.
            priority: The higher goes first where executions, or their calls, wait for a place. Default 0, for a
                child flow that of its parent.
            **kwargs: The flow's own arguments.

        Raises:
            KitaruUsageError: Arguments or options are wrong. Nothing has been recorded.
            KitaruSerializationError: An argument cannot be recorded; its path is in the message.
        """
        self._check_names(kwargs, "run")
        options = resolve_options(
            self.definition,
            stack=stack,
            retries=retries,
            cache=cache,
            image=image,
            execution_id=execution_id,
            tags=tags,
            priority=priority,
        )
        process = wiring()
        started = start(process, self.definition, args, kwargs, options)
        return FlowHandle(process, started.execution_id, started.active, started.child)

    def deploy(
        self,
        *args: Any,
        tag: str | None = None,
        exclusive: bool | None = None,
        stack: str | None = None,
        retries: int | None = None,
        cache: bool | None = None,
        image: Image | None = None,
        **kwargs: Any,
    ) -> Deployment:
        """Freeze the flow as a new version that is invoked by name, from anywhere (S8.2).

        Frozen are the source tree of the project, the environment, and what the flow takes. The first version
        gets the tag ``default``.

        Args:
            *args: Representative inputs: the defaults of an invocation. None needs to be given.
            tag: A tag for the new version.
            exclusive: Whether the tag is at one version only; see ``Deployments.tag``.
            stack: Where its executions run.
            retries: How often the body may run again in one execution, 0 or more.
            cache: Whether checkpoints may reuse results of earlier executions.
            image: Environment: ``requirements`` are built into one of its own, ``environment`` are variables.
            **kwargs: Representative inputs.

        Raises:
            KitaruUsageError: The source, an input, an option or the environment cannot be used. Nothing has
                been registered.
            KitaruSerializationError: An input cannot be recorded; its path is in the message.
        """
        from kitaru.services.deploy import deploy  # noqa: PLC0415  # 30 ms, and few processes deploy

        self._check_names(kwargs, "deploy")
        options = resolve_options(
            self.definition, stack=stack, retries=retries, cache=cache, image=image, execution_id=None, tags=()
        )
        process = wiring()
        row = deploy(process, self.definition, args, kwargs, options, tag=tag, exclusive=exclusive)
        return deployment_record(process, row)

    def invoke(
        self,
        *,
        version: int | None = None,
        tag: str | None = None,
        execution_id: str | None = None,
        tags: Iterable[str] = (),
        priority: int | None = None,
        **inputs: Any,
    ) -> FlowHandle[R]:
        """Start an execution of a deployed version: see ``KitaruClient().deployments.invoke``."""
        self._check_names(inputs, "invoke")
        return Deployments(wiring()).invoke(
            self.name, inputs, version=version, tag=tag, execution_id=execution_id, tags=tags, priority=priority
        )

    def deployments(self) -> tuple[Deployment, ...]:
        """The newest versions of this flow; ``KitaruClient().deployments.list`` pages through all."""
        return Deployments(wiring()).list(self.name)

    def deployment(self, *, version: int | None = None, tag: str | None = None) -> Deployment:
        """One version of this flow: see ``KitaruClient().deployments.get``."""
        return Deployments(wiring()).get(self.name, version=version, tag=tag)

    def _check_names(self, kwargs: Iterable[str], method: str) -> None:
        """Refuse a misspelt option with its right name; what else does not fit is told when it is bound."""
        parameters = self.definition.binder.parameters
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            return
        for name in kwargs:
            near = [] if name in parameters else get_close_matches(name, (*parameters, *RESERVED), 1)
            if near and near[0] in RESERVED:
                raise KitaruUsageError(
                    f"{self.name}.{method}() has no option {name!r}, nor has the flow such a parameter; "
                    f"did you mean {near[0]}=?"
                )

    def __repr__(self) -> str:
        return f"<Flow {self.definition.reference}>"


class FlowDecorator(Protocol):
    """What ``@flow(...)`` returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Flow[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Flow[P, R]: ...


@overload
def flow(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Flow[P, R]: ...
@overload
def flow(fn: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(
    *, retries: int | None = None, cache: bool | None = None, stack: str | None = None, image: Image | None = None
) -> FlowDecorator: ...
def flow(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    retries: int | None = None,
    cache: bool | None = None,
    stack: str | None = None,
    image: Image | None = None,
) -> Any:
    """Make a function, sync or ``async def``, a durable flow (S1.1).

    Its body composes checkpoints; what is not in a checkpoint runs again whenever the body does.

    Args:
        fn: The function.
        retries: How often the body may run again after a failure, 0 or more. Default 0.
        cache: Whether checkpoints may reuse results of earlier executions. Default True.
        stack: Where it runs. Default: the next layer of configuration.
        image: Environment of its executions: a base image, a mapping, or ``ImageSettings``.

    Raises:
        KitaruUsageError: A wrong option, a parameter with a reserved name, or not a plain function.
    """

    def decorate(fn: Callable[..., Any]) -> Flow[..., Any]:
        check_cache(cache, f"@flow {getattr(fn, '__name__', fn)}")
        definition = FlowDefinition(
            name=check_function(fn, "flow"),
            fn=fn,
            reference=reference_of(fn.__module__, fn.__qualname__),
            binder=Binder(fn, fn.__name__),
            is_async=inspect.iscoroutinefunction(fn),
            retries=None if retries is None else check_retries(retries, f"@flow {fn.__name__}"),
            cache=cache,
            stack=stack,
            image=None if image is None else ImageSettings.parse(image, f"@flow {fn.__name__}"),
        )
        taken = [name for name in RESERVED if name in definition.binder.parameters]
        if taken:
            raise KitaruUsageError(
                f"flow {fn.__name__} has a parameter {taken[0]!r}, which is an option of .run(), .deploy() or "
                f".invoke(). Rename it; reserved are {', '.join(RESERVED)}."
            )
        registry.add(definition)
        return Flow(definition)

    return decorate if fn is None else decorate(fn)


def check_function(fn: object, decorator: str) -> str:
    """The name of a function that can be decorated.

    Raises:
        KitaruUsageError: It is no plain function, or a generator.
    """
    if not inspect.isfunction(fn):
        raise KitaruUsageError(f"@{decorator} takes a function; {fn!r} is none.")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise KitaruUsageError(
            f"@{decorator} {fn.__name__} is a generator, whose values could not be recorded as one result. "
            "Return a list instead."
        )
    return fn.__name__
