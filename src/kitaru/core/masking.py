"""Keeps secrets out of what is shown and recorded."""

from __future__ import annotations

import re

MASK = "***"

# By the words of a name, so that MONKEY is no key.
_SECRET_WORDS = frozenset(
    (
        *("apikey", "auth", "credential", "credentials", "key", "passphrase"),
        *("passwd", "password", "pwd", "secret", "secrets", "token"),
    )
)
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):([^/]*)@")
_OPTION = re.compile(r"([?&](?:ssl)?password=)[^&]*")


def looks_secret(name: str) -> bool:
    """True where the value of a variable of this name is likely a secret: ``OPENAI_API_KEY``, ``DB_PASSWORD``."""
    return not _SECRET_WORDS.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def masked_url(url: str) -> str:
    """A URL without the passwords in it: before the host, or among its options."""
    return _OPTION.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", url))
