"""Apart from the rest, and light: the processes that are measured import it."""

from __future__ import annotations

from pathlib import Path


def peak_memory_mb() -> float:
    """The most memory that this process has held. From /proc, because getrusage also counts the parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM: benchmarks run on Linux")
