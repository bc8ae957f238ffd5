"""Composes everything, once per process.

Owned here: the one ``Wiring`` of the process. ``configure`` and tests may replace its parts before it
is first used; after ``reset`` the next use makes a new one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

from kitaru.core import redaction
from kitaru.core.clock import Clock, StoreClock, SystemClock
from kitaru.core.ids import Ids, SystemIds
from kitaru.core.ports import Blobs, Store, Values
from kitaru.core.rows import LimitRow
from kitaru.core.stack import LOCAL
from kitaru.engine import capture
from kitaru.engine.admission import Line
from kitaru.engine.code_digest import code_digest
from kitaru.engine.committer import Committer
from kitaru.engine.isolation import Isolation
from kitaru.engine.leases import LEASE_SECONDS, Lease
from kitaru.engine.pool import Pool
from kitaru.engine.shared import Shared
from kitaru.services.launch_deployment import Launcher
from kitaru.services.pickup import KNOWN, NOTHING, Takes
from kitaru.services.runner import Runner, Spawn
from kitaru.services.runners import Runners, environment
from kitaru.services.settings import Settings, read_settings
from kitaru.stacks.spares import Spares
from kitaru.store import open_store
from kitaru.values import ValueCodec, open_blobs


class Wiring:
    """A store, the values codec and this process as a runner, put together."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        lease_seconds: float = LEASE_SECONDS,
        stack: str = LOCAL,
        takes: Takes = KNOWN,
        spawn: Spawn = lambda _: None,
    ) -> None:
        self.settings = settings
        self.machine: Clock = clock or SystemClock()
        self.ids: Ids = ids or SystemIds()
        self.store: Store = store or open_store(settings.store, self.machine)
        self.clock: Clock = StoreClock(self.machine, self.store.now)
        self.blobs: Blobs = open_blobs(settings.artifacts, user=lambda: self.store_id)
        self.values: Values = ValueCodec(self.blobs, allow_pickle=settings.allow_pickle)
        self.committer = Committer(self.store)
        shared = Shared(
            store=self.store,
            values=self.values,
            committer=self.committer,
            pool=Pool(settings.max_threads),
            line=Line(self.store, _declared(settings.limits)),
            clock=self.clock,
            ids=self.ids,
            code_digest=code_digest,
            isolation=Isolation(partial(environment, self)),
        )
        self.shared = shared
        self._lease_seconds = lease_seconds
        self.spares = Spares()
        self.runner = self.new_runner(stack, takes=takes, spawn=spawn)
        self.runners = Runners(self)

    def new_runner(
        self, stack: str, *, max_flows: int | None = None, takes: Takes = KNOWN, spawn: Spawn = lambda _: None
    ) -> Runner:
        """A runner for a stack. Made by this class and by ``Runners``, which keep them."""
        return Runner(
            self.shared,
            project=self.settings.project,
            max_flows=max_flows or self.settings.max_flows,
            lease=Lease(self.store, self.clock, self.ids, stack=stack, seconds=self._lease_seconds),
            takes=takes,
            spawn=Launcher(self, spawn),
            snapshot=self.settings.snapshot,
        )

    @cached_property
    def store_id(self) -> str | None:
        """What tells the store from others; None for one in memory."""
        return self.store.retention.store_id(self.ids.uuid4().hex)

    def configured(self) -> Mapping[str, Any]:
        """What ``kitaru.configure`` has set."""
        return overrides

    def close(self) -> None:
        """Stop running flows and close the store."""
        for runner in self.runners.all():
            runner.end()
        self.spares.close()
        self.shared.line.end()
        self.shared.isolation.close()
        capture.uninstall()
        self.store.close()


def _declared(limits: Mapping[str, Mapping[str, int]]) -> tuple[LimitRow, ...]:
    return tuple(
        LimitRow(name, bounds.get("at_once"), bounds.get("per_minute"), declared=True)
        for name, bounds in limits.items()
    )


_lock = threading.Lock()
_wiring: Wiring | None = None
overrides: dict[str, Any] = {}
"""What ``kitaru.configure`` has set; the owner of this dict is this module."""


_takes = KNOWN


def take_nothing() -> None:
    """This process works for another one: the flows that it starts itself are all that it will run."""
    global _takes
    _takes = NOTHING


def wiring() -> Wiring:
    """The wiring of this process, made at its first use."""
    global _wiring
    if _wiring is None:
        with _lock:
            if _wiring is None:
                _wiring = Wiring(read_settings(overrides), takes=_takes)
    return _wiring


def in_use() -> bool:
    """True where this process has opened its store."""
    return _wiring is not None


def install(new: Wiring) -> None:
    """Use this wiring from now on: for tests that bring a store or a clock of their own."""
    global _wiring
    _close()
    _wiring = new
    new.shared.line.also_declare(_declared(overrides.get("limits", {})))  # its settings may have been read before


def configure(values: Mapping[str, Any]) -> None:
    """Change what ``kitaru.configure`` has set; settings of the store take effect for a new wiring, limits at once."""
    overrides.update(values)
    if _wiring is not None and values.get("limits"):
        _wiring.shared.line.also_declare(_declared(values["limits"]))


def reset() -> None:
    """Forget everything, ``configure`` included: the next use begins anew."""
    _close()
    overrides.clear()
    redaction.forget()


def _close() -> None:
    global _wiring
    with _lock:
        old, _wiring = _wiring, None
    if old is not None:
        old.close()


def _forget() -> None:
    """A forked child has none of its parent's threads, and must not touch its connections."""
    global _wiring, _lock
    _wiring = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
