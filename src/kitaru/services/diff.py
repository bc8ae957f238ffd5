"""Which calls of two executions belong together, and in what they differ (S6.6). Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kitaru.core.diff import Change, ValueDiff
from kitaru.core.rows import CallRow


class Pair(NamedTuple):
    """A call in the first execution and in the second; one of them may be absent."""

    before: CallRow | None
    after: CallRow | None


def pair(before: Sequence[CallRow], after: Sequence[CallRow]) -> list[Pair]:
    """The calls of two executions, in the order of the second.

    Calls of the same identity belong together (S3.1); of the others those of one name, in their order.
    A call of the first that is left over stands behind those that it came after.
    """
    partners = _partners(before, after)
    taken = set(partners.values())
    pairs: list[Pair] = []
    emitted = 0

    def left_over(until: int) -> None:
        nonlocal emitted
        pairs.extend(Pair(before[index], None) for index in range(emitted, until) if index not in taken)
        emitted = max(emitted, until)

    for index, call in enumerate(after):
        partner = partners.get(index)
        if partner is not None:
            left_over(partner)
        pairs.append(Pair(None if partner is None else before[partner], call))
    left_over(len(before))
    return pairs


def _partners(before: Sequence[CallRow], after: Sequence[CallRow]) -> dict[int, int]:
    """For calls of the second, by index, their partner's index in the first."""
    identical = {_identity(call): index for index, call in enumerate(before)}
    partners = {index: identical[_identity(call)] for index, call in enumerate(after) if _identity(call) in identical}
    taken = set(partners.values())
    free: defaultdict[tuple[str, str], deque[int]] = defaultdict(deque)
    for index, call in enumerate(before):
        if index not in taken:
            free[call.kind, call.name].append(index)
    for index, call in enumerate(after):
        if index not in partners and free[call.kind, call.name]:
            partners[index] = free[call.kind, call.name].popleft()
    return partners


def _identity(call: CallRow) -> tuple[str, str, str, int]:
    return call.kind, call.name, call.input_digest, call.occurrence


def change(both: Pair, differs: Sequence[str]) -> Change:
    """What became of a call."""
    before, after = both
    if before is None:
        return Change.ADDED
    if after is None:
        return Change.REMOVED
    if differs:
        return Change.CHANGED
    return Change.SAME if after.source_execution_id is None else Change.REUSED


def value_diffs(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ValueDiff, ...]:
    """The named values that differ or are absent on one side, as they are stored."""
    return tuple(
        ValueDiff(name=name, before=before.get(name), after=after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )


def value_diff(name: str, before: str | None, after: str | None) -> ValueDiff | None:
    """The same of a single value."""
    return None if before == after else ValueDiff(name=name, before=before, after=after)
