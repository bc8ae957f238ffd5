"""How the state machine gets at a backend."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from kitaru.core.ports import Store
from tests.contract.stores import BACKENDS, ManualClock


class Stores:
    """A store, and where processes leave a trace of their death, one for each runner beside it."""

    def __init__(self, backend: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kitaru-machine-"))
        self.clock = ManualClock()
        self.shows_death = backend == "sqlite"
        self._open = BACKENDS[backend]
        self.store = self._open(self.folder, self.clock)
        self._own: dict[str, Store] = {}

    def of(self, runner_id: str) -> Store:
        if not self.shows_death:
            return self.store
        if runner_id not in self._own:
            self._own[runner_id] = self._open(self.folder, self.clock)
        return self._own[runner_id]

    def kill(self, runner_id: str) -> None:
        """The operating system lets go of what the process held; the store is told nothing."""
        if self.shows_death:
            self._own.pop(runner_id).close()

    def close(self) -> None:
        for store in (*self._own.values(), self.store):
            store.close()
        shutil.rmtree(self.folder)
