"""The flows of the recordings. They must stay as they are: an execution recorded by an earlier version resumes them.

A later version records with these as well; what a new version can do more goes into flows of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import kitaru
from kitaru import checkpoint, flow

executed: list[str] = []
"""The checkpoints whose functions were executed in this process, in order."""


@dataclass(frozen=True)
class Page:
    """A value with types that JSON does not have."""

    url: str
    price: Decimal
    seen_at: datetime
    links: tuple[str, ...]


class Refused(Exception):
    """A failure with more to it than a message."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code


@checkpoint(type="tool_call")
def fetch(url: str) -> Page:
    executed.append("fetch")
    kitaru.log(length=len(url))
    return Page(url, Decimal("9.90"), datetime(2024, 2, 29, 12, tzinfo=UTC), ("a", "b"))


@checkpoint
def body_of(page: Page) -> str:
    """Large: it goes to the artifact store."""
    executed.append("body_of")
    return page.url * 2_000


@checkpoint
def size(text: str, weights: Mapping[tuple[int, int], float]) -> float:
    executed.append("size")
    return len(text) * sum(weights.values())


@checkpoint
def refuse(x: int) -> int:
    executed.append("refuse")
    raise Refused(f"no {x}", x)


@checkpoint(retries=1)
def call_service(x: int) -> int:
    """Fails while the service is down: it is when the recording is made."""
    executed.append("call_service")
    if "GOLDEN_SERVICE_DOWN" in os.environ:
        raise ConnectionError("the service is down")
    return x * 10


@flow
def child(x: int) -> int:
    return call_count(x) + 1


@checkpoint
def call_count(x: int) -> int:
    executed.append("call_count")
    return x


@flow
def audit(url: str, ask_service: bool) -> dict[str, Any]:
    """One of everything, then the service, then one call more."""
    name = kitaru.uuid4()
    at = kitaru.now()
    page = fetch(url)
    text = body_of(page)
    sizes = size.map([text, text], {(1, 2): 0.5, (3, 4): 1.5}).result()
    try:
        refuse(7)
    except Refused as error:
        code = error.code
    of_child = child.run(5).wait()
    kitaru.save("page", page)
    answer = call_service(4) if ask_service else 0
    last = size("the end", {(0, 0): 1.0})
    return {
        "name": name, "at": at, "page": page, "sizes": sizes, "code": code, "child": of_child, "answer": answer,
        "last": last,
    }  # fmt: skip
