"""Finds the blobs that encoded values name, without decoding them.

A text names a blob by its address (``walk.blob_tree``). One whose codec is ``json`` is a text itself and may
name others. In a failure or in what was asked of a replay the text is a string of other JSON, so its quotes
may be escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kitaru.core.ports import Blobs, NamedBlobs
from kitaru.errors import KitaruNotFoundError

_ADDRESS = re.compile(r'\$blob\\*":\{\\*"codec\\*":\\*"(\w+)\\*",\\*"digest\\*":\\*"([0-9a-f]{64})\\*"')


def blobs_named_in(texts: Iterable[str], blobs: Blobs) -> NamedBlobs:
    """The blobs that are named in texts, and in the blobs that these name."""
    digests: set[str] = set()
    unread: set[str] = set()
    left = list(texts)
    while left:
        for codec, digest in _ADDRESS.findall(left.pop()):
            if digest not in digests and codec == "json":
                try:
                    left.append(blobs.get(digest).decode())
                except KitaruNotFoundError:
                    unread.add(digest)
            digests.add(digest)
    return NamedBlobs(digests, unread)
