"""The secrets that this process has read, and how they are found in what is about to be recorded.

Owned here: ``present``, under ``_lock``; it is replaced as a whole, so that readers need no lock. It is None
until the first secret is read, and whoever records something asks for that first: then it costs nothing.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping

from kitaru.core.secret import SHORTEST
from kitaru.errors import KitaruUsageError

_SHORTEST_PART = 8
"""Characters of a line of a secret, or of a piece of its base64, that are looked for on their own."""

_UNQUOTED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")


class Redaction:
    """Finds some secrets in text and bytes, and puts ``***NAME***`` in their place.

    Found is a value as it is, as JSON, ``repr`` and URLs escape it, in base64 (a password in an ``Authorization``
    header), and, of a value of several lines, each line, since output is kept by the line. Anything else
    that is made from a secret, such as a hash or one half of it, is not found.

    Args:
        names: The name of each value.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self._name_of = {form: name for value, name in names.items() for form in _forms(value)}
        # Longest first, so that of two secrets with the same beginning the whole one is replaced.
        forms = sorted(self._name_of, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, forms)))
        self._bytes = [(form.encode(), self._name_of[form]) for form in forms]

    def names_in(self, text: str) -> frozenset[str]:
        """The names of the secrets that occur in a text."""
        # One search per form and not the pattern: of a long text without a secret that takes a tenth of the time.
        return frozenset(name for form, name in self._name_of.items() if form in text)

    def names_in_bytes(self, data: bytes) -> frozenset[str]:
        """The names of the secrets that occur in bytes."""
        return frozenset(name for form, name in self._bytes if form in data)

    def redact(self, text: str) -> str:
        """The text with the names of secrets in place of their values."""
        if not self.names_in(text):
            return text
        return self._pattern.sub(lambda match: mark(self._name_of[match.group()]), text)

    def redact_bytes(self, data: bytes) -> bytes:
        """The same for bytes."""
        if not self.names_in_bytes(data):
            return data
        return self.redact(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def mark(name: str) -> str:
    """What stands for the value of a secret in a record."""
    return f"***{name}***"


def _forms(value: str) -> Iterator[str]:
    lines = [line.strip() for line in value.splitlines()]
    for text in (value, value.strip(), *(line for line in lines if len(line) >= _SHORTEST_PART)):
        yield text
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        yield repr(text)[1:-1]
        data = text.encode()
        yield "".join(chr(byte) if byte in _UNQUOTED else f"%{byte:02X}" for byte in data)
        for form in _base64_forms(data):
            if len(form) >= _SHORTEST_PART:
                yield form


def _base64_forms(data: bytes) -> Iterator[str]:
    """What base64 makes of bytes behind 0, 1 or 2 others: the characters that come from nothing but them."""
    for before in range(3):
        bits = 8 * (before + len(data))
        text = base64.b64encode(bytes(before) + data).decode()[-(-8 * before // 6) : bits // 6]
        yield text
        yield text.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")

_lock = threading.Lock()
present: Redaction | None = None
"""The secrets that this process has read; None while it has read none."""


def know(name: str, value: str) -> None:
    """From now on this value is redacted. A former value of the same secret still is."""
    global present
    with _lock:
        names = {} if present is None else dict(present.names)
        if names.get(value) != name:
            present = Redaction({**names, value: name})


def know_environment(image: str | None) -> None:
    """The secrets that an image has put into the environment of this process, from its JSON, are read."""
    if image is None:
        return
    for name in json.loads(image).get("secret_environment_from", ()):
        value = os.environ.get(name, "")
        if len(value.strip()) >= SHORTEST:
            know(name, value)


def redact(text: str) -> str:
    """The text as it may be recorded."""
    known = present
    return text if known is None else known.redact(text)


def refuse(name: str, what: str) -> None:
    """Refuse a name that holds a secret: it cannot be redacted and still be found by. Raises ``KitaruUsageError``."""
    known = present
    names = frozenset[str]() if known is None else known.names_in(name)
    if names:
        raise KitaruUsageError(f"{what} holds the value of secret {', '.join(sorted(names))}, and would be recorded.")


def forget() -> None:
    """No secret is known any more: a test ends."""
    global present
    present = None


def _forget_lock() -> None:
    """A fork may have come while another thread held it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
