"""Tags of deployments (S8.3)."""

from __future__ import annotations

import re

from kitaru.errors import KitaruUsageError

DEFAULT_TAG = "default"
"""The tag that is invoked where none is named. Exclusive; the first version of a flow gets it."""

_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check_tag(tag: object) -> str:
    """Return a word that can be a tag, else raise ``KitaruUsageError``."""
    if not isinstance(tag, str) or not _TAG.fullmatch(tag):
        raise KitaruUsageError(
            f"tag={tag!r}: letters, digits, '.', '_' and '-' are expected, 63 at most, the first one a letter or digit."
        )
    return tag
