"""What a surface shows of an execution (S7.2). Values are decoded when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from kitaru.core.failure import Failure
from kitaru.core.states import CallKind, CallStatus, Status
from kitaru.core.wait import Wait
from kitaru.errors import FailureOrigin


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a call, or one run of a flow's body.

    Attributes:
        number: From 1.
        status: ``completed``, ``failed``, ``timed_out``, ``cancelled``, or ``running``.
        ended_at: None while it runs.
        failure: Why it did not succeed.
    """

    number: int
    status: CallStatus
    started_at: datetime
    ended_at: datetime | None
    failure: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """An input in which a resumed call differs from a left-over record of its checkpoint (S3.3).

    Attributes:
        call_id: The call that ran again.
        recorded_call_id: The record that was left over.
        input: The parameter's name.
        recorded: Its recorded value, as it is stored (JSON); None where it was absent.
        given: Its new value, likewise.
    """

    call_id: str
    recorded_call_id: str
    input: str
    recorded: str | None
    given: str | None


@dataclass(frozen=True, kw_only=True)
class CheckpointCall:
    """One call of an execution.

    Attributes:
        call_id: ``name``, ``name_2`` ... (S3.6).
        name: The checkpoint's name.
        kind: ``checkpoint``, ``flow`` for a child flow, ``value`` for a recorded value.
        type: The checkpoint's ``type=`` label.
        attempts: Every attempt, the last one included; empty for a call that the cache answered.
        cached_from: The execution whose result was reused (S3.5), and the call in it.
        child_exec_id: The child execution of a flow call.
        metadata: What ``kitaru.log`` kept for it.
    """

    call_id: str
    name: str
    kind: CallKind
    type: str | None
    status: CallStatus
    started_at: datetime
    ended_at: datetime | None
    attempts: tuple[Attempt, ...]
    failure: Failure | None
    cached_from: str | None
    cached_from_call: str | None
    child_exec_id: str | None
    metadata: Mapping[str, Any]
    load_inputs: Callable[[], Mapping[str, Any]] = field(repr=False, compare=False)
    load_output: Callable[[], Any] = field(repr=False, compare=False)
    plain_inputs: Callable[[], Mapping[str, Any]] = field(repr=False, compare=False)
    """The arguments as plain JSON data, without loading any of their types."""
    plain_output: Callable[[], Any] = field(repr=False, compare=False)
    """What it returned, likewise."""

    @property
    def duration(self) -> timedelta | None:
        """Time of the last attempt; None while it runs."""
        return None if self.ended_at is None else self.ended_at - self.started_at

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        """The arguments by parameter name. Raises ``KitaruSerializationError`` where a type is gone."""
        return self.load_inputs()

    @cached_property
    def output(self) -> Any:
        """What it returned; None where it has not. Raises ``KitaruSerializationError`` likewise."""
        return self.load_output()


@dataclass(frozen=True, kw_only=True)
class Details:
    """What is read of an execution only when it is asked for."""

    checkpoints: tuple[CheckpointCall, ...]
    attempts: tuple[Attempt, ...]
    metadata: Mapping[str, Any]
    drift: tuple[Drift, ...]
    waits: tuple[Wait, ...]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One execution, as it was when it was read.

    Attributes:
        exec_id: Its id.
        flow: The flow's name.
        status: See ``kitaru.core.states``.
        stack: Where it runs.
        failure: Why it failed.
        retries: How often its body may run again (S1.7).
        cache: Whether it reuses results of other executions.
        image: The recorded image settings as JSON.
        tags: The tags it was started with.
        parent_id: The execution that started it, for a child flow.
        original_exec_id: The execution that it replays.
        deployment_version: The version of the flow that it stays on; None for one that runs the source at hand.
    """

    exec_id: str
    flow: str
    status: Status
    stack: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    failure: Failure | None
    retries: int
    cache: bool
    image: str | None
    tags: tuple[str, ...]
    parent_id: str | None
    original_exec_id: str | None
    deployment_version: int | None
    load_inputs: Callable[[], Mapping[str, Any]] = field(repr=False, compare=False)
    load_result: Callable[[], Any] = field(repr=False, compare=False)
    plain_inputs: Callable[[], Mapping[str, Any]] = field(repr=False, compare=False)
    """The flow's arguments as plain JSON data, without loading any of their types."""
    plain_result: Callable[[], Any] = field(repr=False, compare=False)
    """What the flow returned, likewise."""
    load_details: Callable[[], Details] = field(repr=False, compare=False)

    @property
    def failure_origin(self) -> FailureOrigin | None:
        """Where it failed (S9)."""
        return None if self.failure is None else self.failure.origin

    @cached_property
    def inputs(self) -> Mapping[str, Any]:
        """The flow's arguments by parameter name."""
        return self.load_inputs()

    @cached_property
    def result(self) -> Any:
        """What the flow returned; None where it has not."""
        return self.load_result()

    @property
    def checkpoints(self) -> tuple[CheckpointCall, ...]:
        """Its calls, in the order in which the body made them."""
        return self._details.checkpoints

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The runs of the body that failed."""
        return self._details.attempts

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the flow's body kept with ``kitaru.log``."""
        return self._details.metadata

    @property
    def drift(self) -> tuple[Drift, ...]:
        """How its last run differed from what was recorded (S3.3)."""
        return self._details.drift

    @property
    def waits(self) -> tuple[Wait, ...]:
        """The questions that it has asked, oldest first."""
        return self._details.waits

    @cached_property
    def _details(self) -> Details:
        return self.load_details()
