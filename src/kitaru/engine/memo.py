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
    """The records of an execution by identity. Loaded once, read by the thread that runs the body.

    Args:
        records: All of them, in the order in which the body made its calls.
        original_id: The execution that this one replays. Copies of its calls are ``offered``, by call id,
            as long as no call of this run has asked for them.
    """

    def __init__(self, records: Iterable[RecordedCall] = (), original_id: str | None = None) -> None:
        # Keyed by a plain tuple: it equals and hashes like an Identity, and is made in a third of the time.
        self._records = {(record.name, record.input_digest, record.occurrence): record for record in records}
        self._left = dict(self._records)
        self.offered: dict[str, RecordedCall] = {}
        if original_id is not None:
            copies = (record for record in self._left.values() if record.source_execution_id == original_id)
            self.offered = {record.call_id: record for record in copies}
        self._renamed: dict[tuple[str, str, int], str] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, identity: object) -> bool:
        return identity in self._records

    def call_ids(self) -> Iterable[str]:
        """The ids that are taken."""
        return (record.call_id for record in self._records.values())

    def take(self, identity: Identity | tuple[str, str, int]) -> RecordedCall | None:
        """The record of this identity; from now on it is not left over."""
        record = self._left.pop(identity, None)
        if record is not None and self.offered:
            call_id = self._renamed.get(identity, record.call_id)
            self.offered.pop(call_id, None)
            if call_id != record.call_id:
                return record._replace(call_id=call_id)
        return record

    def rename(self, call_id: str, other: str) -> None:
        """An offered record goes by another id from now on."""
        record = self.offered[other] = self.offered.pop(call_id)
        self._renamed[record.name, record.input_digest, record.occurrence] = other

    def all_left(self) -> list[RecordedCall]:
        """Every record that no call of this run has asked for."""
        return list(self._left.values())

    def left_over(self, name: str) -> list[RecordedCall]:
        """Records of a checkpoint that no call of this run has asked for."""
        return [record for record in self._left.values() if record.name == name]
