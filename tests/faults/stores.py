"""A store that fails when a test says so, and a look at what one holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from kitaru.core.mutations import Commit, Refusal
from kitaru.core.ports import ExecutionFilter, Store
from kitaru.core.states import CallStatus
from kitaru.engine.identity import Identity, idempotency_key
from kitaru.errors import KitaruStoreError

MESSAGE = "The store of this test cannot be written. Try again once the test allows it."


class FailingStore:
    """Hands everything to a real store, but for commits whose number, from 1, ``fails`` names.

    Args:
        store: The real one. ``close`` leaves it open, so that the next process of a test finds it.
        fails: Whether the commit of this number fails.
        after_writing: The commit is written all the same, and its answer is lost: as when a connection
            breaks between the two.
        error: How it fails.
    """

    def __init__(
        self,
        store: Store,
        fails: Callable[[int], bool],
        *,
        after_writing: bool = False,
        error: type[KitaruStoreError] = KitaruStoreError,
    ) -> None:
        self.commits = 0
        self._error = error
        self._store = store
        self._fails = fails
        self._after_writing = after_writing
        self._counting = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        with self._counting:
            self.commits += 1
            fails = self._fails(self.commits)
        if not fails:
            return self._store.commit(commits)
        if self._after_writing:
            self._store.commit(commits)
        raise self._error(MESSAGE)

    def heal(self) -> None:
        """Fail no more."""
        self._fails = lambda _: False

    def close(self) -> None:
        pass


def succeeded_keys(store: Store) -> set[str]:
    """The idempotency keys of all calls with a recorded success."""
    return {
        idempotency_key(row.execution_id, Identity(record.name, record.input_digest, record.occurrence))
        for row in store.executions.list(ExecutionFilter(), limit=1000, after=None)
        for record in store.calls.memo(row.execution_id)
        if record.status is CallStatus.COMPLETED
    }
