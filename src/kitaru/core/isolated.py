"""How an isolated checkpoint runs."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from kitaru.errors import KitaruUsageError

_UNITS = {"": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SIZE = re.compile(r"(\d+)\s*([KMG]B)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolated:
    """``runtime=`` of a checkpoint that runs in a child process (S2.8), with bounds.

    Attributes:
        memory: How much memory one attempt may take beyond what the idle child has: bytes, or text such as
            ``"512MB"`` (KB, MB, GB; powers of 1024). What asks for more gets a ``MemoryError``, or crashes. Linux only.

    Raises:
        KitaruUsageError: No such size, or another system than Linux.
    """

    memory: int | str | None = None

    def __post_init__(self) -> None:
        if self.memory is None:
            return
        found = _SIZE.fullmatch(self.memory.strip()) if isinstance(self.memory, str) else None
        size = int(found[1]) * _UNITS[(found[2] or "").upper()] if found else self.memory
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise KitaruUsageError(f"Isolated(memory={self.memory!r}): bytes, or text such as '512MB', are expected.")
        if sys.platform != "linux":
            raise KitaruUsageError("Isolated(memory=...) needs Linux; other systems do not bound a process's memory.")
        object.__setattr__(self, "memory", size)
