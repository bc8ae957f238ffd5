"""What a store keeps, as it keeps it: values encoded to text, times as microseconds.

Surfaces show the records (``Execution``, ``CheckpointCall`` ...) that are made from these.
``NamedTuple`` and not dataclass: thousands of call rows are made and loaded in the time of one
disk sync, and a frozen dataclass takes three times as long to make.
"""

from __future__ import annotations

from typing import NamedTuple

from kitaru.core.clock import Microseconds
from kitaru.core.event import EventKind
from kitaru.core.failure import Failure
from kitaru.core.states import CallKind, CallStatus, Status, WaitStatus

Encoded = str
"""A value as text: JSON with tags, larger parts replaced by references to blobs (``kitaru.values``)."""


class ExecutionRow(NamedTuple):
    """One execution.

    ``flow`` is the flow's name and ``flow_ref`` where its function is found; ``image`` is the merged
    image settings as JSON. ``attempt`` counts the runs of the body (S1.7), from 1. ``replay`` is what was
    asked for of a replay (``kitaru.core.replay``), and set for its child flows too. ``snapshot`` is the
    digest of the code that it runs from, its child flows too, and None where it runs from the source at
    hand; ``deployment_version`` is the version of the flow that was invoked (S8.4). The higher
    ``first_attempt`` is the attempt at which its present try began: the first, or that of the last ``retry``.
    ``takeovers`` counts how often in a row it was taken over from a dead process with nothing recorded since.
    ``priority`` goes first where executions or their calls wait for a place.
    """

    execution_id: str
    project: str
    flow: str
    flow_ref: str
    status: Status
    stack: str
    inputs: Encoded
    input_digest: str
    created_at: Microseconds
    epoch: int = 0
    runner_id: str | None = None
    parent_id: str | None = None
    parent_call_id: str | None = None
    original_id: str | None = None
    retries: int = 0
    cache: bool = True
    image: str | None = None
    code_digest: str | None = None
    attempt: int = 1
    started_at: Microseconds | None = None
    ended_at: Microseconds | None = None
    result: Encoded | None = None
    failure: Failure | None = None
    tags: tuple[str, ...] = ()
    replay: str | None = None
    deployment_version: int | None = None
    snapshot: str | None = None
    priority: int = 0
    takeovers: int = 0
    first_attempt: int = 1


class CallRow(NamedTuple):
    """One call of an execution: its identity (S3.1), its present outcome, and where it came from.

    ``position`` is its place in the order in which the body made its calls. ``attempt`` is the number
    of the last attempt that has ended; the failed ones are ``AttemptRow``s. ``handled`` is True for a
    failure that the body has seen, so that it is raised again and not run again (S3.2).
    ``label`` is the checkpoint's ``type=``. ``due_at`` is when the timer, or the next attempt, of a call
    under way is due. ``cache_key`` is None where no later execution may reuse it.
    """

    call_id: str
    name: str
    kind: CallKind
    position: int
    input_digest: str
    occurrence: int
    inputs: Encoded
    status: CallStatus
    attempt: int
    started_at: Microseconds
    ended_at: Microseconds | None = None
    output: Encoded | None = None
    failure: Failure | None = None
    handled: bool = False
    label: str | None = None
    code_digest: str | None = None
    cache_key: str | None = None
    source_execution_id: str | None = None
    source_call_id: str | None = None
    child_id: str | None = None
    due_at: Microseconds | None = None


class RecordedCall(NamedTuple):
    """What the memo needs of a call; thousands of these are loaded when an execution resumes."""

    call_id: str
    name: str
    kind: CallKind
    input_digest: str
    occurrence: int
    status: CallStatus
    attempt: int
    handled: bool
    output: Encoded | None
    failure: Failure | None
    inputs: Encoded
    due_at: Microseconds | None = None
    position: int = 0
    child_id: str | None = None
    source_execution_id: str | None = None


class WaitRow(NamedTuple):
    """A question that an execution is, or was, parked at (S5).

    ``wait_id`` is the id of its call. ``schema`` is a JSON schema; None for a gate that is continued or
    aborted. ``by`` and ``via`` tell who answered and through what. ``answer_type`` is the reference of the Python
    type that the schema was made of, where it has one.
    """

    wait_id: str
    name: str
    status: WaitStatus
    opened_at: Microseconds
    question: str | None = None
    schema: str | None = None
    metadata: Encoded | None = None
    expires_at: Microseconds | None = None
    default: Encoded | None = None
    answer: Encoded | None = None
    answered_at: Microseconds | None = None
    by: str | None = None
    via: str | None = None
    answer_type: str | None = None


class CachedOutput(NamedTuple):
    """The newest success that the cross-run cache holds for a key (S3.5)."""

    execution_id: str
    call_id: str
    output: Encoded


class AttemptRow(NamedTuple):
    """One ended attempt. ``call_id`` is ``""`` for a run of the flow's own body."""

    call_id: str
    number: int
    status: CallStatus
    started_at: Microseconds
    ended_at: Microseconds
    failure: Failure | None


class ArtifactRow(NamedTuple):
    """A value that was saved under a name. ``call_id`` is ``""`` where the flow body saved it."""

    name: str
    call_id: str
    value: Encoded
    created_at: Microseconds


class MetadataRow(NamedTuple):
    """One ``kitaru.log`` item. ``number`` repeats a numeric value, so that SQL can sum it."""

    call_id: str
    key: str
    value: Encoded
    number: float | None


class DriftRow(NamedTuple):
    """An input in which a resumed call differs from a record of the same name that was left over (S3.3).

    ``recorded`` and ``given`` are None where the input was absent on that side.
    """

    call_id: str
    recorded_call_id: str
    input: str
    recorded: Encoded | None
    given: Encoded | None


class EventRow(NamedTuple):
    """An event, as it is read. ``call_id`` is ``""`` for the execution itself; ``detail`` is a JSON object."""

    event_id: int
    call_id: str
    at: Microseconds
    kind: EventKind
    detail: str


class LogRow(NamedTuple):
    """A line of output. ``log_id`` is 0 until the store has given it one."""

    call_id: str
    attempt: int
    at: Microseconds
    level: str
    logger: str | None
    message: str
    log_id: int = 0


class DeploymentRow(NamedTuple):
    """An immutable version of a flow (S8.2), with the tags that point to it now.

    ``version`` is 0 until the store has given it one. ``snapshot`` is the digest of a blob, the archive of
    the source tree; ``entrypoint`` is where the flow's function is found in it (``ExecutionRow.flow_ref``).
    ``image`` and ``input_schema`` are JSON; ``default_inputs`` are inputs by name, encoded.
    """

    project: str
    flow: str
    version: int
    created_at: Microseconds
    stack: str
    entrypoint: str
    snapshot: str
    dirty: bool
    input_schema: str
    default_inputs: Encoded
    retries: int = 0
    cache: bool = True
    commit: str | None = None
    image: str | None = None
    tags: tuple[str, ...] = ()


class TagRow(NamedTuple):
    """A tag of a flow at one version. An ``exclusive`` one is at one version only."""

    tag: str
    version: int
    exclusive: bool


class SecretRow(NamedTuple):
    """A secret, encrypted (``kitaru.services.secrets`` has the key)."""

    name: str
    changed_at: Microseconds
    ciphertext: bytes


class RunnerRow(NamedTuple):
    """A process that runs executions."""

    runner_id: str
    stack: str
    host: str
    pid: int
    lease_until: Microseconds


class LimitRow(NamedTuple):
    """A named limit; None bounds nothing. ``declared`` by a configuration, or else set by hand."""

    name: str
    at_once: int | None
    per_minute: int | None
    declared: bool


class SlotRow(NamedTuple):
    """A place under a limit: held since ``taken_at``, or, where that is None, waited for since ``asked_at``.

    ``call_id`` is ``""`` where the execution itself counts. ``host`` is that of its runner.
    """

    limit: str
    execution_id: str
    call_id: str
    priority: int
    asked_at: Microseconds
    taken_at: Microseconds | None
    host: str | None


class StackRow(NamedTuple):
    """A registered stack. ``options`` is a JSON object."""

    name: str
    kind: str
    artifact_store: str | None
    created_at: Microseconds
    options: str
