"""What the decorators make of a function, as the engine needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from kitaru.core.image import ImageSettings
from kitaru.core.isolated import Isolated
from kitaru.core.retry import Retry
from kitaru.engine.binding import Binder


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDefinition:
    """A checkpoint: its function and its options (S2.1).

    ``reference`` tells two checkpoints of one name apart. ``key`` replaces the digest of the inputs
    (S3.1). ``cache`` None leaves it to the flow. ``timeout`` bounds one attempt, in seconds. Each attempt
    takes a place under every one of ``limits``. ``isolated``: it runs in a child process (S2.8).
    """

    name: str
    fn: Callable[..., Any]
    reference: str
    binder: Binder
    is_async: bool
    retry: Retry
    label: str | None = None
    cache: bool | None = None
    timeout: float | None = None
    on_drift: Literal["rerun", "fail"] = "rerun"
    key: str | None = None
    limits: tuple[str, ...] = ()
    isolated: Isolated | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowDefinition:
    """A flow: its function and its defaults (S1.1). None leaves an option to the next layer (S1.8)."""

    name: str
    fn: Callable[..., Any]
    reference: str
    binder: Binder
    is_async: bool
    retries: int | None = None
    cache: bool | None = None
    stack: str | None = None
    image: ImageSettings | None = None


@dataclass(slots=True)
class FlowRegistry:
    """The flows that this process has decorated, by reference; the latest definition counts.

    Owned by this module: decorators add, whoever resumes an execution looks up. It also finds flows
    that no import could, such as one defined inside a function.
    """

    flows: dict[str, FlowDefinition] = field(default_factory=dict[str, FlowDefinition])

    def add(self, definition: FlowDefinition) -> None:
        """Make a flow known."""
        self.flows[definition.reference] = definition

    def get(self, reference: str) -> FlowDefinition | None:
        """The flow of this reference, if this process has decorated it."""
        return self.flows.get(reference)


registry = FlowRegistry()
