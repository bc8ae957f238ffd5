"""A replay: what is asked for, and what will become of each recorded call (S6.5)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Literal

from kitaru.core.rows import Encoded, RecordedCall
from kitaru.core.states import CallKind
from kitaru.core.table import table

Reuse = Literal["before", "unchanged"]
"""Which calls a replay with ``from_`` may reuse: those before it, or later ones too while their inputs are the same."""


class Action(StrEnum):
    """What a replay does with a recorded call."""

    REUSE = "reuse"
    RERUN = "rerun"
    OVERRIDE = "override"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """One recorded call of the source.

    Attributes:
        call_id: Its id in the source.
        name: What was called.
        action: ``reuse`` is an offer: it is taken where the new body makes the same call.
        reason: Why, in plain words.
    """

    call_id: str
    name: str
    action: Action
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """What a replay would do; ``print`` shows it as a table.

    Attributes:
        original_exec_id: The execution that would be replayed.
        flow: Its flow.
        calls: Its recorded calls, in the order in which its body made them.
    """

    original_exec_id: str
    flow: str
    calls: tuple[PlannedCall, ...]

    def __str__(self) -> str:
        head = f"replay of {self.original_exec_id}, flow {self.flow}"
        rows = [(call.call_id, call.action.value, call.reason) for call in self.calls]
        return f"{head}\n{table([('call', 'action', 'reason'), *rows])}" if rows else f"{head}\nno call is recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What a replay changes in a call, as it is kept with the execution.

    It fits every call of its name; with a ``call_id`` only the one that stands for this call of the
    source: the call with its identity, else the one that comes as the ``ordinal``-th of its name (from
    1). Not simply the call that is given this id: a call whose inputs have changed finds no record and
    takes the next id that is free, which may be another one's.

    ``code`` is a reference (``kitaru.core.references``).
    """

    name: str
    kind: CallKind
    call_id: str | None = None
    input_digest: str | None = None
    occurrence: int | None = None
    ordinal: int | None = None
    output: Encoded | None = None
    inputs: Mapping[str, Encoded] | None = None
    code: str | None = None

    def fits(self, call: RecordedCall) -> bool:
        """True where it changes this call of the source."""
        if self.call_id is not None:
            return call.call_id == self.call_id
        return (call.name, call.kind) == (self.name, self.kind)


def to_json(from_: str | None, reuse: Reuse, overrides: Iterable[Override]) -> str:
    """What was asked for, as the execution keeps it, so that it resumes with it wherever that is."""
    kept = [{key: value for key, value in asdict(one).items() if value is not None} for one in overrides]
    return json.dumps({"from": from_, "reuse": reuse, "overrides": kept})


PART_OF_A_REPLAY = to_json(None, "before", ())
"""What the child flows of a replay keep: they really run, as it does, and nothing in them is changed."""


def overrides_in(text: str | None) -> tuple[Override, ...]:
    """The overrides that ``to_json`` has kept; none for an execution that is no replay."""
    if text is None:
        return ()
    return tuple(_override(**fields) for fields in json.loads(text)["overrides"])


def _override(*, kind: str, **fields: Any) -> Override:
    return Override(kind=CallKind(kind), **fields)
