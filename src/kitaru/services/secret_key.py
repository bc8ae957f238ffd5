"""The key that secrets are encrypted with: ``KITARU_SECRET_KEY``, or a file in the home that only its owner reads.

Loads ``cryptography``, which is an extra: import this module only where a secret is used.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from kitaru.errors import KitaruStoreError, KitaruUsageError

VARIABLE = "KITARU_SECRET_KEY"
FILE_NAME = "secret.key"

_OTHERS = 0o077


class SecretKey:
    """Encrypts, and decrypts what one of its keys has encrypted.

    Args:
        text: Keys, separated by commas or white space. The first one encrypts; the others only decrypt, so that a
            key can be changed.
        source: Where they come from, for messages.

    Raises:
        KitaruUsageError: The text is no such list.
    """

    def __init__(self, text: str, source: str) -> None:
        self._source = source
        try:
            self._fernet = MultiFernet([Fernet(key) for key in text.replace(",", " ").split()])
        except ValueError:  # none at all, too. The error is not chained: it may quote the key
            raise KitaruUsageError(
                f"{source} holds no key for secrets: 32 bytes in URL-safe base64 are expected. Make one with: "
                "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
            ) from None

    def encrypt(self, value: str) -> bytes:
        """The value, encrypted and signed."""
        return self._fernet.encrypt(value.encode())

    def decrypt(self, name: str, ciphertext: bytes) -> str:
        """The value of a secret. Raises ``KitaruUsageError`` where another key has encrypted it."""
        try:
            return self._fernet.decrypt(ciphertext).decode()
        except InvalidToken:
            raise KitaruUsageError(
                f"secret {name} cannot be read: it was encrypted with another key than that of {self._source}. Give "
                f"the right one in {VARIABLE}, or delete the secret and set it again."
            ) from None


def find_key(home: Path) -> SecretKey:
    """The key of this process.

    Raises:
        KitaruUsageError: There is none, it is no key, or others may read its file.
    """
    key = _present_key(home)
    if key is None:
        raise KitaruUsageError(
            f"The secrets cannot be read: there is no key, neither in {VARIABLE} nor in {home / FILE_NAME}. Give the "
            "one that they were set with."
        )
    return key


def make_key(home: Path) -> SecretKey:
    """The key of this process; made where there is none. Of several processes that do so at once, one counts.

    Raises:
        KitaruUsageError: What is there is no key, or others may read its file.
        KitaruStoreError: The file cannot be written.
    """
    key = _present_key(home)
    if key is None:
        path = home / FILE_NAME
        try:
            _write_new(path)
        except OSError as error:
            raise KitaruStoreError(
                f"The key for secrets cannot be written to {path}: {error.strerror}. Make the folder writable, or "
                f"give a key in {VARIABLE}."
            ) from error
        key = find_key(home)
    return key


def _present_key(home: Path) -> SecretKey | None:
    given = os.environ.get(VARIABLE)
    if given:
        return SecretKey(given, VARIABLE)
    path = home / FILE_NAME
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KitaruUsageError(f"The key for secrets, {path}, cannot be read: {error.strerror}.") from error
    if os.name == "posix" and mode & _OTHERS:
        raise KitaruUsageError(
            f"The key for secrets, {path}, is open to others (mode {mode & 0o777:04o}). Close it: chmod 600 {path}"
        )
    return SecretKey(text.decode("ascii", "replace"), str(path))


def _write_new(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # A link and not a rename, which would replace the key that another process has just made and used.
        path.hardlink_to(temporary)
    except FileExistsError:
        pass  # it counts
    finally:
        temporary.unlink()
