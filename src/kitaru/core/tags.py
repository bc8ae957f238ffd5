"""The words that executions are found by."""

from __future__ import annotations

from collections.abc import Iterable

from kitaru.errors import KitaruUsageError


def check_tags(tags: object, owner: str) -> tuple[str, ...]:
    """Return words without those that come twice, else raise ``KitaruUsageError``."""
    given: list[object] = list(tags) if isinstance(tags, Iterable) and not isinstance(tags, str) else [None]  # pyright: ignore[reportUnknownArgumentType]  # checked below
    words = [tag for tag in given if isinstance(tag, str) and tag]
    if len(words) != len(given):
        raise KitaruUsageError(f"{owner}: tags={tags!r}: a list of words is expected.")
    return tuple(dict.fromkeys(words))
