"""What an execution has recorded so far, and what a call may make of it (S3.2). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from kitaru.core.rows import RecordedCall
from kitaru.core.states import CallStatus
from kitaru.engine.identity import Identity


class Decision(Enum):
    """What to do with a call."""

    REUSE = auto()
    """A success is recorded: return it."""
    RAISE = auto()
    """A failure is recorded that the body has handled: raise it again."""
    RUN = auto()
    """Nothing that could stand for it is recorded."""


def decide(recorded: RecordedCall | None) -> Decision:
    """Decide by the record of a call's identity.

    A failure runs again unless the body has handled it: the one that ended the execution was marked
    as unhandled when it did, and one that nobody looked at never was handled.
    """
    if recorded is None:
        return Decision.RUN
    if recorded.status is CallStatus.COMPLETED:
        return Decision.REUSE
    if recorded.handled and recorded.status in (CallStatus.FAILED, CallStatus.TIMED_OUT):
        return Decision.RAISE
    return Decision.RUN


class Memo:
    """The records of an execution by identity. Loaded once, read by the thread that runs the body."""

    def __init__(self, records: Iterable[RecordedCall] = ()) -> None:
        # Keyed by a plain tuple: it equals and hashes like an Identity, and is made in a third of the time.
        self._records = {(record.name, record.input_digest, record.occurrence): record for record in records}
        self._left = dict(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, identity: object) -> bool:
        return identity in self._records

    def call_ids(self) -> Iterable[str]:
        """The ids that are taken."""
        return (record.call_id for record in self._records.values())

    def take(self, identity: Identity | tuple[str, str, int]) -> RecordedCall | None:
        """The record of this identity; from now on it is not left over."""
        return self._left.pop(identity, None)

    def unused(self) -> tuple[str, ...]:
        """The ids of all records that no call of this run has asked for."""
        return tuple(record.call_id for record in self._left.values())

    def left_over(self, name: str) -> list[RecordedCall]:
        """Records of a checkpoint that no call of this run has asked for."""
        return [record for record in self._left.values() if record.name == name]
