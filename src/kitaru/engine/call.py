"""One call of a checkpoint on its way through the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kitaru.core.clock import Microseconds
from kitaru.core.failure import Failure
from kitaru.core.ports import EncodedInputs, Values
from kitaru.core.rows import ArtifactRow, CallRow, MetadataRow
from kitaru.core.states import CallKind, CallStatus
from kitaru.engine.definitions import CheckpointDefinition
from kitaru.engine.identity import Identity
from kitaru.errors import KitaruContextError

if TYPE_CHECKING:
    from kitaru.engine.output import Output
    from kitaru.engine.run import Run


class Call:
    """A call that has to run: what is called, with what, and as which call of the execution."""

    __slots__ = (
        "args",
        "cache_key",
        "call_id",
        "code_digest",
        "definition",
        "due_at",
        "ended_attempts",
        "identity",
        "inputs",
        "kwargs",
        "position",
        "started_at",
        "tries",
    )

    def __init__(
        self,
        definition: CheckpointDefinition,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        identity: Identity,
        inputs: EncodedInputs,
        call_id: str,
        position: int,
        ended_attempts: int,
        code_digest: str | None,
        cache_key: str | None,
    ) -> None:
        self.definition = definition
        self.args = args
        self.kwargs = kwargs
        self.identity = identity
        self.inputs = inputs
        self.call_id = call_id
        self.position = position
        self.ended_attempts = ended_attempts
        self.code_digest = code_digest
        self.cache_key = cache_key
        self.tries = 0
        self.due_at: Microseconds | None = None
        self.started_at: Microseconds = 0

    def take_copy(self, values: Values) -> None:
        """Work on the inputs as they were recorded, whatever becomes of the caller's own objects (S3.3).

        For a call beside the body, which may change them meanwhile, and for a further attempt, as the one
        before may have. Opaque inputs cannot be copied; large ones are not, as they would have to be read back.
        """
        text = self.inputs.text
        changeable = "[" in text or "{" in text[1:]
        if changeable and not self.inputs.opaque and '"$blob"' not in text:
            self.args, self.kwargs = self.definition.binder.unbind(values.decode_inputs(text))

    def row(
        self,
        status: CallStatus,
        attempt: int,
        ended_at: Microseconds | None = None,
        *,
        output: str | None = None,
        failure: Failure | None = None,
        handled: bool = False,
        source: tuple[str, str] | tuple[None, None] = (None, None),
    ) -> CallRow:
        """This call as it is recorded. Positional, as keywords take twice the time here."""
        identity = self.identity
        return CallRow(
            self.call_id,
            identity.name,
            CallKind.CHECKPOINT,
            self.position,
            identity.digest,
            identity.occurrence,
            self.inputs.text,
            status,
            attempt,
            self.started_at,
            ended_at,
            output,
            failure,
            handled,
            self.definition.label,
            self.code_digest,
            self.cache_key,
            source[0],
            source[1],
            None,
            self.due_at if status is CallStatus.RUNNING else None,
        )


class CallScope:
    """One attempt of a call, as the code inside the checkpoint sees it.

    Owned by the thread or task that runs the attempt. Once ``closed`` nothing can be added: what a
    thread does that outlived its timeout is not recorded (S2.6).
    """

    __slots__ = ("artifacts", "attempt", "call", "children", "closed", "metadata", "output", "run")

    def __init__(self, run: Run, call: Call, attempt: int) -> None:
        self.run = run
        self.call = call
        self.attempt = attempt
        self.closed = False
        self.metadata: list[MetadataRow] = []
        self.artifacts: list[ArtifactRow] = []
        self.children: dict[tuple[str, str], int] = {}
        self.output: Output | None = None  # made by the first line that it prints

    @property
    def call_id(self) -> str:
        return self.call.call_id

    def check_open(self, what: str) -> None:
        """Raise ``KitaruContextError`` where this attempt has ended without its thread."""
        if self.closed:
            raise KitaruContextError(
                f"{what} is called by an attempt of {self.call_id} that has timed out; nothing of it is recorded."
            )

    def log(self, rows: Sequence[MetadataRow]) -> None:
        """Keep metadata with the outcome of this attempt."""
        self.check_open("kitaru.log()")
        self.metadata.extend(rows)

    def save(self, row: ArtifactRow) -> None:
        """Keep an artifact with the outcome of this attempt."""
        self.check_open("kitaru.save()")
        self.artifacts.append(row)

    def child_occurrence(self, name: str, digest: str) -> int:
        """The count of equal child flows that this attempt has started, this one included."""
        count = self.children.get((name, digest), 0) + 1
        self.children[name, digest] = count
        return count
