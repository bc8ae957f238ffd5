"""Which call is which (S3.1, S3.6). Pure.

A call is identified by what it is, not by when it came: its checkpoint's name, the digest of its
inputs, and the count of equal calls before it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

from kitaru.core.ids import derived_id


class Identity(NamedTuple):
    """What makes two calls of one execution the same call. ``occurrence`` counts equal ones from 1."""

    name: str
    digest: str
    occurrence: int


def keyed_digest(key: str) -> str:
    """The digest of a call that was given an explicit key; no digest of inputs looks like it."""
    return f"key:{key}"


def changed_digest(digest: str, changed: str) -> str:
    """The digest of a call that a replay runs with other inputs, from its own and that of the other inputs.

    It is the digest of no other call: the record must stand neither for the call that the body made
    (S3.3) nor for one that the body makes with the other inputs itself.
    """
    return f"changed:{digest}:{changed}"


class Numbering:
    """Hands out occurrences and call ids, in the order in which the body makes its calls.

    Owned by the thread that runs the body.

    Args:
        recorded_ids: The ids that an earlier run has given.
        offered: Of these, the ids of a replay's source whose calls the body has not made. A call that it
            makes takes one as if it were free, so that its ids count its own calls.
        rename: Is told of an offered id that is taken, and which id its call has instead.
    """

    def __init__(
        self,
        recorded_ids: Iterable[str] = (),
        offered: Container[str] = (),
        rename: Callable[[str, str], None] | None = None,
    ) -> None:
        self._taken = set(recorded_ids)
        self._offered = offered
        self._rename = rename
        self._spares = len(self._taken)
        self._occurrences: dict[tuple[str, str], int] = {}
        self._calls_of: dict[str, int] = {}
        self._position = 0

    def occurrence(self, name: str, digest: str) -> int:
        """The occurrence of the next call with this name and digest."""
        pair = (name, digest)
        occurrence = self._occurrences.get(pair, 0) + 1
        self._occurrences[pair] = occurrence
        return occurrence

    def position(self) -> int:
        """The place of the next call among all calls of this run, from 0."""
        self._position += 1
        return self._position - 1

    def call_id(self, name: str) -> str:
        """An id for a call that has none yet: ``name``, ``name_2``, ``name_3`` ...

        An id that an earlier run recorded stays with its call, so it is passed over here.
        """
        number = self._calls_of.get(name, 0)
        while True:
            number += 1
            call_id = name if number == 1 else f"{name}_{number}"
            if call_id not in self._taken or call_id in self._offered:
                self._calls_of[name] = number
                self._taken.add(call_id)
                if self._rename is not None and call_id in self._offered:
                    self._rename(call_id, self._spare(name))
                return call_id

    def _spare(self, name: str) -> str:
        while True:
            self._spares += 1
            call_id = f"{name}_{self._spares}"
            if call_id not in self._taken:
                self._taken.add(call_id)
                return call_id


def cache_key(identity: Identity, input_digest: str, code_digest: str) -> str:
    """The key under which later executions find this call's success (S3.5).

    It counts the inputs even where an explicit key replaces their digest: a result is never handed to
    another execution for other inputs.
    """
    return derived_id(identity.name, identity.digest, identity.occurrence, input_digest, code_digest)


def idempotency_key(execution_id: str, identity: Identity) -> str:
    """The same for all attempts of one call, in whichever process (S6.7)."""
    return derived_id("idempotency", execution_id, *identity)


def child_execution_id(execution_id: str, scope: str, identity: Identity) -> str:
    """The id of a child flow: the same whenever its parent makes the same call, so it starts once (S1.10)."""
    return derived_id("child", execution_id, scope, *identity)
