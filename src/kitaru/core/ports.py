"""Every interface between the layers, on one page. Whoever writes a backend reads this file.

All calls are synchronous and may be made from any thread, unless it says otherwise.
A store that cannot be read or written raises ``KitaruStoreError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from kitaru.core.clock import Microseconds
from kitaru.core.failure import Failure
from kitaru.core.mutations import Commit, Refusal
from kitaru.core.rows import (
    ArtifactRow,
    AttemptRow,
    CachedOutput,
    CallRow,
    DeploymentRow,
    DriftRow,
    Encoded,
    EventRow,
    ExecutionRow,
    LimitRow,
    LogRow,
    MetadataRow,
    RecordedCall,
    RunnerRow,
    SecretRow,
    SlotRow,
    StackRow,
    TagRow,
    WaitRow,
)
from kitaru.core.stack import Stack
from kitaru.core.states import Status
from kitaru.core.statistics import Figures, Group, Measured
from kitaru.errors import KitaruStoreError


class StoreUnavailable(KitaruStoreError):
    """The store is out of reach, or was lost before it answered: what was to be written is there as a whole
    or not at all, and which of the two is not known. It may be back in a moment, so nothing ends because of it.
    """


# ── durable state ────────────────────────────────────────────────────────────────────────────────


class ExecutionFilter(NamedTuple):
    """Which executions to list; None does not restrict."""

    flow: str | None = None
    statuses: tuple[Status, ...] | None = None
    stack: str | None = None
    tag: str | None = None
    parent_id: str | None = None
    original_id: str | None = None
    project: str | None = None
    created_after: Microseconds | None = None
    created_before: Microseconds | None = None


class Deleted(NamedTuple):
    """Executions that were deleted, and how many rows that was."""

    execution_ids: tuple[str, ...]
    rows: int


class Executions(Protocol):
    """Reads executions."""

    def get(self, execution_id: str) -> ExecutionRow | None: ...

    def status(self, execution_id: str) -> Status | None:
        """The status alone: what a waiting handle asks, often."""
        ...

    def statuses(self, execution_ids: Sequence[str]) -> Mapping[str, Status]:
        """The statuses of those that exist."""
        ...

    def list(self, where: ExecutionFilter, *, limit: int, after: str | None) -> list[ExecutionRow]:
        """Newest first. ``after`` is the id of the last row of the page before."""
        ...

    def find(self, prefix: str, *, limit: int) -> list[str]:
        """Ids that begin with ``prefix``."""
        ...

    def orphans(
        self, *, project: str, stack: str, flow_refs: Sequence[str] | None, limit: int, unowned: bool = True
    ) -> list[ExecutionRow]:
        """Running or pending executions without a living runner: unknown, dead, or its lease has run out; or none.

        Oldest first; of these flows, or with None of all. Without ``unowned`` those that are nobody's yet are left
        out: a long line of them would hide one that has lost its runner.
        """
        ...

    def is_orphan(self, execution_id: str) -> bool:
        """True where ``orphans`` would list it, or it waits for a timer that is due and its runner does not live."""
        ...

    def pending(self, *, runner_id: str, limit: int) -> list[ExecutionRow]:
        """Pending executions that were recorded for this runner, oldest first."""
        ...

    def unowned(self, *, project: str, stack: str, flow_refs: Sequence[str], limit: int) -> list[ExecutionRow]:
        """Pending executions of these flows that are nobody's yet, oldest first."""
        ...

    def frozen(self, *, stack: str, limit: int) -> list[ExecutionRow]:
        """Executions of snapshots for which nobody lives that are running, pending or due, whatever their project."""
        ...

    def due(self, *, runner_id: str, project: str, stack: str, limit: int) -> list[ExecutionRow]:
        """Waiting executions whose timer is due: this runner's own, and those of the project without a living one."""
        ...

    def next_due(self, *, project: str, stack: str) -> Microseconds | None:
        """When the first timer of a waiting execution is due, whoever's it is; None where there is none."""
        ...

    def delete(self, execution_id: str, *, dry_run: bool = False) -> Deleted:
        """Delete a finished execution with its children and all their rows. Blobs stay until they are cleaned.

        It need not outlive a power cut at once. With ``dry_run`` nothing is deleted, and it is told what would be.

        Raises ``Conflict`` where it is not finished, ``InUse`` where another execution may need it: a child
        that runs, a parent that may go on, or a replay of it (or of that) that may.
        """
        ...


class Calls(Protocol):
    """Reads the calls of executions, and what belongs to them."""

    def memo(self, execution_id: str) -> list[RecordedCall]:
        """Every call, those under way included, in one query."""
        ...

    def cached(self, cache_key: str, *, apart_from: str) -> CachedOutput | None:
        """The newest success under this key in any execution but ``apart_from``."""
        ...

    def of(self, execution_id: str) -> list[CallRow]:
        """All calls, in the order in which the body made them."""
        ...

    def like(self, name: str, *, flow: str, before: Microseconds, limit: int) -> list[tuple[str, CallRow]]:
        """Calls of this name in recent executions of a flow, created before a time, with the executions' ids.

        Those of the newest execution first.
        """
        ...

    def attempts(self, execution_id: str) -> list[AttemptRow]: ...

    def metadata(self, execution_id: str) -> list[MetadataRow]: ...

    def drift(self, execution_id: str) -> list[DriftRow]: ...


class Artifacts(Protocol):
    """Reads artifacts."""

    def get(self, execution_id: str, name: str) -> ArtifactRow | None: ...

    def list(self, execution_id: str) -> list[ArtifactRow]: ...


class Waits(Protocol):
    """Reads waits."""

    def of(self, execution_id: str) -> list[WaitRow]:
        """All waits of an execution, oldest first."""
        ...

    def open(self, *, flow: str | None, since: Microseconds, limit: int) -> list[tuple[str, WaitRow]]:
        """Open waits that were asked at ``since`` or later, with the ids of their executions, oldest first."""
        ...


class Events(Protocol):
    """Reads events (S7.1)."""

    def after(self, execution_id: str, event_id: int, *, limit: int) -> list[EventRow]:
        """The events behind ``event_id``, oldest first.

        Whoever reads on from the last id of each answer misses none and sees none twice, whatever is
        written meanwhile.
        """
        ...


class Logs(Protocol):
    """Reads what user code printed and logged (S7.3)."""

    def after(self, execution_id: str, log_id: int, *, call_id: str | None, limit: int) -> list[LogRow]:
        """The lines behind ``log_id``, of one call or, with None, of all; the promise of ``Events.after``."""
        ...


class GroupFigures(NamedTuple):
    """One group: its values, its number of executions, and its figures, in the order of what was asked for.

    ``group`` holds a bucket's beginning in microseconds, a metadata value as it is encoded, else text.
    """

    group: tuple[str | int | None, ...]
    executions: int
    figures: tuple[Figures, ...]


class Statistics(Protocol):
    """Figures over executions (S7.1), computed in the database."""

    def of(self, where: ExecutionFilter, group_by: Sequence[Group], measures: Sequence[Measured]) -> list[GroupFigures]:
        """One answer per group that has an execution, ordered by group. All figures are of one moment."""
        ...


class Unread(NamedTuple):
    """An execution whose blobs are not noted: under this epoch, with the texts that may name some.

    ``snapshot`` is the digest of the code that it runs from, a blob too.
    """

    execution_id: str
    created_at: Microseconds
    epoch: int
    status: Status
    snapshot: str | None
    texts: tuple[Encoded, ...]


class Retention(Protocol):
    """What cleaning asks: which executions are old, and which blobs anybody names.

    Places in an order of executions are their time of creation and their id.
    """

    def old(
        self, *, age: int, statuses: Sequence[Status], flow: str | None, after: tuple[Microseconds, str], limit: int
    ) -> list[tuple[Microseconds, str]]:
        """Executions that are part of no other and ended more than ``age`` microseconds ago, by the database's clock.

        Answers their places, in the order in which they were made, from behind ``after``.
        """
        ...

    def oldest_run(self) -> Microseconds | None:
        """When the first of all executions that run now began to run."""
        ...

    def unread(self, *, after: tuple[Microseconds, str], limit: int) -> list[Unread]:
        """Executions whose blobs are not noted as they stand, in the order in which they were made.

        Always those that are not finished: they may name others at any moment.
        """
        ...

    def note(self, noted: Sequence[tuple[Unread, set[str]]]) -> None:
        """Note the digests that finished executions name."""
        ...

    def owners(self, digests: Sequence[str]) -> list[tuple[str, str]]:
        """The noted ones of these digests, each with an execution that names it."""
        ...

    def deployed(self) -> list[tuple[str, Encoded | None]]:
        """What deployments name: the digests of their snapshots, and their default inputs."""
        ...

    def unfinished_snapshots(self) -> set[str]:
        """The digests of the snapshots that unfinished executions run from."""
        ...

    def store_id(self, new: str) -> str | None:
        """What tells this store from others, ``new`` where it has none yet; None for a store in memory."""
        ...

    def settle(self, at: Microseconds) -> None:
        """Note the time of a cleaning. What was deleted before outlives a power cut from here on."""
        ...


class Runners(Protocol):
    """The processes that run executions, and their leases. Times are the database's own (S6.2)."""

    def register(self, row: RunnerRow, *, lease_seconds: float) -> None:
        """Make a runner known, with a lease from now on (``row.lease_until`` is not read)."""
        ...

    def heartbeat(self, runner_id: str, *, lease_seconds: float) -> bool:
        """Renew the lease. False where it had run out already: the runner has lost its executions."""
        ...

    def retire(self, runner_id: str) -> None:
        """Forget a runner that ends in good order, or that is known to have died.

        What was pending for it is anybody's of its stack.
        """
        ...

    def serves(self, stack: str) -> bool:
        """True where a living runner serves a stack."""
        ...

    def take(
        self, runner_id: str, *, project: str, stack: str, apart_from: Sequence[str], limit: int
    ) -> Sequence[ExecutionRow]:
        """Give a runner pending executions that are nobody's yet, those of the highest priority and oldest first.

        But for the flows ``apart_from``.

        One statement, and no two runners get the same (S6.1). They stay pending, so nothing has begun: a
        runner that dies now leaves orphans. Answers them, the first to begin first.
        """
        ...

    def untake(self, runner_id: str, execution_id: str) -> None:
        """Give a pending execution back that this runner cannot run."""
        ...

    def list(self) -> list[RunnerRow]: ...

    def clear(self) -> int:
        """Forget those that are dead or whose lease has run out; how many."""
        ...


class Stacks(Protocol):
    """The registered stacks beside ``local``, and which one is active. Each write is one compare-and-set."""

    def get(self, name: str) -> StackRow | None: ...

    def list(self) -> list[StackRow]:
        """All of them, by name."""
        ...

    def active(self) -> str | None:
        """The active stack; None means ``local``."""
        ...

    def create(self, row: StackRow) -> bool:
        """Register a stack. False where its name is taken."""
        ...

    def delete(self, name: str) -> bool:
        """Forget a stack. False where there is none, it is active, or an unfinished execution is on it."""
        ...

    def use(self, name: str | None) -> bool:
        """Make a stack the active one; None for ``local``. False where there is no such stack."""
        ...


class Ask(NamedTuple):
    """A call that asks for a place under each of some limits. ``priority`` is its execution's."""

    execution_id: str
    call_id: str
    epoch: int
    priority: int
    limits: tuple[str, ...]


class Admission(NamedTuple):
    """Who got its places.

    ``taken`` are those that did. ``unknown`` are limits that are not defined. ``next_at`` is when a limit
    that is used up for the minute has room again, by the database's clock as ``now``.
    """

    taken: tuple[Ask, ...]
    unknown: tuple[str, ...]
    next_at: Microseconds | None
    now: Microseconds


class Limits(Protocol):
    """Named limits, and who holds or waits for a place under them.

    A place counts only while its execution is running, under the epoch that asked, by a living runner.
    """

    def set(self, row: LimitRow) -> None:
        """Define a limit. A declared one replaces only a declared one."""
        ...

    def delete(self, name: str) -> bool:
        """False where there is none of that name."""
        ...

    def list(self) -> list[LimitRow]:
        """All limits by name."""
        ...

    def used(self, name: str) -> int:
        """The places that were taken in the last 60 seconds, where the limit has a rate."""
        ...

    def slots(self, *, limit: str | None = None, execution_id: str | None = None) -> list[SlotRow]:
        """The places that count, of one limit or of one execution: held ones first, then in order of their turn."""
        ...

    def take(self, asks: Sequence[Ask], *, joining: Sequence[Ask]) -> Admission:
        """Give places to those of ``asks`` and ``joining`` whose turn it is; ``joining`` come into the line first.

        A call gets all its places or none. The line of a limit goes by priority, then by who came first.
        What is written outlives the process, and need not survive a power cut.
        """
        ...

    def leave(self, asks: Sequence[Ask]) -> None:
        """Take these out of the line, or give their places back."""
        ...

    def sweep(self) -> None:
        """Remove what no longer counts. For tidiness: nothing depends on it."""
        ...


class DeploymentKey(NamedTuple):
    """What a version is found by."""

    project: str
    flow: str
    version: int


class Deployments(Protocol):
    """Versions of flows, and their tags (S8.2, S8.3). Each write is one transaction."""

    def create(self, row: DeploymentRow, *, tag: str | None, exclusive: bool) -> int:
        """Record the next version of a flow, and answer its number; ``row.version`` and ``row.tags`` are not read.

        The first version gets the tag ``default``. ``tag`` and ``exclusive``: see ``tag``.
        """
        ...

    def get(self, key: DeploymentKey) -> DeploymentRow | None: ...

    def list(
        self, *, project: str | None, flow: str | None, limit: int, after: DeploymentKey | None
    ) -> list[DeploymentRow]:
        """By flow and project, the newest version first: all of them, or those of one flow of one project."""
        ...

    def flows(self) -> Sequence[tuple[str, str]]:
        """The projects and names of the flows that have a version, by name."""
        ...

    def tags(self, project: str, flow: str) -> list[TagRow]:
        """All tags of a flow, by name and version."""
        ...

    def tag(self, key: DeploymentKey, tag: str, *, exclusive: bool) -> bool:
        """Set a tag. An exclusive one leaves the version it was at; one that is exclusive already stays so.

        False where there is no such version.
        """
        ...

    def untag(self, key: DeploymentKey, tag: str) -> bool:
        """Remove a tag from a version. False where it is not there."""
        ...

    def unfinished(self, key: DeploymentKey, *, limit: int) -> list[str]:
        """Executions that stay on a version and are not finished."""
        ...

    def delete(self, key: DeploymentKey) -> bool:
        """Delete a version; its number is not given again.

        False where it is not there, an exclusive tag points to it, or an unfinished execution stays on it.
        """
        ...


class Secrets(Protocol):
    """The secrets of a project, encrypted: no store sees a value."""

    def set(self, project: str, name: str, ciphertext: bytes, *, at: Microseconds) -> None:
        """Keep a secret; one of the same name is replaced."""
        ...

    def get(self, project: str, name: str) -> SecretRow | None: ...

    def list(self, project: str) -> list[SecretRow]:
        """By name."""
        ...

    def delete(self, project: str, name: str) -> bool:
        """False where there was none."""
        ...


class Store(Protocol):
    """Durable state, split by aggregate. All writes to executions go through ``commit``."""

    executions: Executions
    calls: Calls
    artifacts: Artifacts
    waits: Waits
    events: Events
    logs: Logs
    statistics: Statistics
    retention: Retention
    runners: Runners
    stacks: Stacks
    limits: Limits
    deployments: Deployments
    secrets: Secrets

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        """Write every commit in one transaction: one disk sync, however many.

        Answers one entry per commit, in order: None where it is written, a ``Refusal`` where it was
        not and the others were. Raises ``KitaruStoreError`` where nothing at all was written.
        """
        ...

    def changes(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` soon after anything may have changed, by whichever process.

        A hint only: it may come late, twice or, rarely, not at all, so callers re-poll. It is called
        on a thread of the store and must not block. The answer ends the subscription.
        """
        ...

    def now(self) -> Microseconds:
        """The time by the database's clock, as well as this process knows it. Nothing is asked."""
        ...

    def close(self) -> None: ...


# ── values ───────────────────────────────────────────────────────────────────────────────────────


class EncodedInputs(NamedTuple):
    """The arguments of a call, encoded.

    ``digest`` is equal for equal inputs, whatever the order of dict keys and sets. ``opaque`` is True
    where an argument could not be digested and counts as a token of its type (S3.4), or where it holds a
    secret, which counts by its name.
    """

    text: Encoded
    digest: str
    opaque: bool


class NamedBlobs(NamedTuple):
    """The digests that texts name. ``unread`` are those that are absent and may name more."""

    digests: set[str]
    unread: set[str]


class Redacted(NamedTuple):
    """A value as it is recorded, and the names of the secrets that were taken out of it."""

    text: Encoded
    secrets: frozenset[str]


class Values(Protocol):
    """Python values <-> text, exactly (S4). Large parts go to the blob store before this returns.

    A value that holds a secret which this process has read cannot be carried exactly: it is refused, or
    redacted where that is asked for.
    """

    def encode(self, value: object, where: str) -> Encoded:
        """Encode a value. ``where`` names it in messages: ``result``, ``artifact 'report'``.

        Raises ``KitaruSerializationError`` with the path of the part that cannot be carried exactly.
        """
        ...

    def encode_redacted(self, value: object, where: str) -> Redacted:
        """As ``encode``, with the names of secrets in place of their values (``kitaru.core.redaction``)."""
        ...

    def decode(self, text: Encoded) -> object:
        """The value again. Raises ``KitaruSerializationError`` where its type or blob is gone."""
        ...

    def encode_inputs(
        self, arguments: Mapping[str, object], *, allow_opaque: bool, redact: bool = False
    ) -> EncodedInputs:
        """Encode named arguments. Without ``allow_opaque`` one that cannot be carried is refused; without
        ``redact`` so is one that holds a secret.
        """
        ...

    def plain(self, text: Encoded) -> Any:
        """The value as plain JSON data, for eyes: no class of the user is loaded, so nothing of theirs runs."""
        ...

    def decode_inputs(self, text: Encoded) -> dict[str, object]:
        """The arguments again; opaque ones as ``Opaque`` tokens."""
        ...

    def split_inputs(self, text: Encoded) -> dict[str, Encoded]:
        """Each argument's own encoded text, without decoding: for drift reports and comparisons."""
        ...

    def encode_exception(self, error: BaseException) -> Encoded | None:
        """Encode an exception as well as can be (S2.5): attributes that cannot be carried are left out
        and named in a note. None where its class cannot be found again by name.
        """
        ...

    def decode_exception(self, failure: Failure) -> BaseException | None:
        """The exception of a failure, to be raised again; None where it cannot be made."""
        ...

    def blobs_in(self, texts: Iterable[Encoded]) -> NamedBlobs:
        """The blobs that encoded values name, and those that these name."""
        ...

    def keep(self, texts: Iterable[Encoded]) -> bool:
        """Count the blobs that texts name as put now (``Blobs.keep``); False where one is absent.

        To be called before a text that is recorded already is written into another execution.
        """
        ...


class StoredBlob(NamedTuple):
    """What an artifact store holds: a blob's digest, or the name of what an interrupted ``put`` left; bytes."""

    name: str
    size: int


class Blobs(Protocol):
    """Bytes under the hex SHA-256 of their content. What was put is on disk when ``put`` returns.

    Whoever writes a row that names a blob has put it just before, or counted it as put by ``keep``, even
    where it is there already: cleaning removes what was put a while ago and is named by no row.
    Times are those of the artifact store's own clock.
    """

    def put(self, digest: str, data: bytes) -> None: ...

    def get(self, digest: str) -> bytes:
        """Raises ``KitaruNotFoundError`` where it is absent, ``KitaruStoreError`` where it is damaged."""
        ...

    def keep(self, digests: Iterable[str]) -> set[str]:
        """Count blobs as put now; the answer is those that are absent."""
        ...

    def put_before(self, at: Microseconds) -> Iterator[Sequence[StoredBlob]]:
        """What was put before ``at``, page by page."""
        ...

    def remove(self, name: str, *, put_before: Microseconds) -> bool:
        """Remove it, unless it has been put since; False where it was, or is gone."""
        ...

    def users(self) -> set[str]:
        """The ids of the stores whose rows name blobs of this artifact store."""
        ...


# ── stacks ───────────────────────────────────────────────────────────────────────────────────────


class Child(Protocol):
    """What was started for one execution: a process of its own that claims it (``kitaru.worker.child``).

    Two that were started for the same execution are one start and one refusal.
    """

    @property
    def pid(self) -> int | None:
        """Its process id on this machine; None where it runs elsewhere."""
        ...

    def wait(self) -> int:
        """Block until it has ended; its exit code, or the signal that ended it, negative. Called once.

        What has become of its execution is in the store.
        """
        ...

    def stop(self) -> None:
        """Have it hand its execution back and end (SIGTERM), once the calls under way have ended."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class StackHost(Protocol):
    """What a kind of stack may ask of the process that it works for."""

    def environment(self, row: ExecutionRow) -> Mapping[str, str]:
        """The variables of a process that runs it: for the same store, settings and modules, and those of its image.

        Raises ``KitaruNotFoundError`` where a secret is gone that the image names.
        """
        ...


class StackKind(Protocol):
    """What an entry point of the group ``kitaru.stacks`` names. Called without arguments, once per process.

    ``place`` is where executions run: ``thread``, in the process that starts them; ``process``, in processes
    that this one starts; ``worker``, wherever workers take them.
    """

    @property
    def place(self) -> Literal["thread", "process", "worker"]: ...

    def check(self, stack: Stack) -> None:
        """Raise ``KitaruUsageError`` where a stack of this kind cannot have these options."""
        ...

    def places(self, stack: Stack) -> int | None:
        """How many executions one process runs there at once; None leaves it to ``max_flows``."""
        ...

    def start(self, stack: Stack, row: ExecutionRow, host: StackHost) -> Child | None:
        """Start a process for an execution; None where it runs in a thread of this one."""
        ...
