"""What all executions of a process share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kitaru.core.clock import Clock
from kitaru.core.ids import Ids
from kitaru.core.ports import Store, Values
from kitaru.engine.committer import Committer
from kitaru.engine.pool import Pool

if TYPE_CHECKING:
    from kitaru.engine.admission import Line
    from kitaru.engine.isolation import Isolation


class Shared:
    """Handed to every ``Run``; made once by ``services.wiring``."""

    __slots__ = ("clock", "code_digest", "committer", "ids", "isolation", "line", "pool", "store", "values")

    def __init__(
        self,
        *,
        store: Store,
        values: Values,
        committer: Committer,
        pool: Pool,
        line: Line,
        clock: Clock,
        ids: Ids,
        code_digest: Callable[[Callable[..., Any]], str],
        isolation: Isolation,
    ) -> None:
        self.store = store
        self.values = values
        self.committer = committer
        self.pool = pool
        self.line = line
        self.clock = clock
        self.ids = ids
        self.code_digest = code_digest
        self.isolation = isolation
