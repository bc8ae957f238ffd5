"""The process that W1 measures: what somebody's first script looks like. Prints its figures as JSON."""

from __future__ import annotations

import json
import time

before = time.perf_counter()
from kitaru import checkpoint, flow  # noqa: E402  # the import is what is measured

imported = time.perf_counter() - before


@checkpoint
def step(number: int) -> dict[str, object]:
    return {"number": number, "ok": True}


@flow(cache=False)
def three_steps(number: int) -> int:
    for index in range(3):
        step(number + index)
    return number


if __name__ == "__main__":
    three_steps.run(1).wait()
    ended = time.time()
    from benchmarks.memory import peak_memory_mb

    print(json.dumps({"imported": imported, "ended": ended, "memory": peak_memory_mb()}))
