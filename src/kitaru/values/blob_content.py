"""What holds for a blob wherever it lies: its name tells its content, and its users are noted beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from kitaru.errors import KitaruNotFoundError, KitaruStoreError

User = Callable[[], str | None]
"""Tells the id of the store whose rows name the blobs that are put, None for one that is not noted. Asked at the
first put."""

USERS = "users"
"""Where the users of a blob store are noted: an empty file or object each."""

PAGE = 500
"""Blobs that are listed at once."""


def is_digest(name: str) -> bool:
    """True for the name of a blob."""
    return len(name) == 64 and set(name) <= set("0123456789abcdef")


def checked(digest: str, data: bytes, place: str) -> bytes:
    """The content of a blob, where it is what was recorded."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise KitaruStoreError(
            f"{place} is damaged: its content is not what was recorded. Restore it from a copy, or delete it "
            "and run the checkpoint again."
        )
    return data


def absent(digest: str, place: str) -> KitaruNotFoundError:
    """What to raise for a blob that is not there."""
    return KitaruNotFoundError(
        f"blob {digest} is not in {place}. Check that this is the artifact store that the value was recorded with."
    )
