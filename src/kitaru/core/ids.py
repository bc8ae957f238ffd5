"""The only source of ids and randomness in Kitaru, so that tests can drive it."""

from __future__ import annotations

import hashlib
import random
import re
import secrets
import uuid
from typing import Protocol

from kitaru.errors import KitaruUsageError

# No vowels and no look-alikes: ids are read aloud, typed, and never spell a word.
_ALPHABET = "23456789bcdfghjkmnpqrstvwxyz"
_LENGTH = 16
_COUNT = len(_ALPHABET) ** _LENGTH
_EXECUTION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}")


class Ids(Protocol):
    """Makes ids and random numbers."""

    def execution_id(self) -> str:
        """A new execution id. Random from its first character, so that a short prefix is unique."""
        ...

    def epoch(self) -> int:
        """Where the epochs of a new execution begin.

        Random, so that one whose id was used before, by an execution that is deleted now, has none of its epochs: a
        process that still runs the deleted one is refused (S6.2).
        """
        ...

    def uuid4(self) -> uuid.UUID:
        """A random UUID."""
        ...

    def random(self) -> float:
        """A random number in [0, 1)."""
        ...


class SystemIds:
    """Ids from the operating system's randomness."""

    def execution_id(self) -> str:
        number = secrets.randbelow(_COUNT)  # one number, and its digits: sixteen draws take five times as long
        digits: list[str] = []
        for _ in range(_LENGTH):
            number, digit = divmod(number, len(_ALPHABET))
            digits.append(_ALPHABET[digit])
        return "".join(digits)

    def epoch(self) -> int:
        return secrets.randbits(48)

    def uuid4(self) -> uuid.UUID:
        return uuid.uuid4()

    def random(self) -> float:
        return random.SystemRandom().random()


def derived_id(*parts: object) -> str:
    """An id that is the same whenever its parts are: for child executions and idempotency keys."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
    return digest[:32]


def check_execution_id(execution_id: object) -> str:
    """Return the id where it can be stored and typed, else raise ``KitaruUsageError``."""
    if not isinstance(execution_id, str) or not _EXECUTION_ID.fullmatch(execution_id):
        raise KitaruUsageError(
            f"execution_id={execution_id!r} cannot be used: a string of 1 to 128 letters, digits, '.', '_', ':' or "
            "'-' is expected, the first one a letter or a digit."
        )
    return execution_id
