"""``KitaruClient().secrets``."""

from __future__ import annotations

from kitaru.core.secret import Secret
from kitaru.services.secrets import delete_secret, list_secrets, read_secret, set_secret
from kitaru.services.wiring import Wiring


class Secrets:
    """The secrets of this project, encrypted in the store."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def set(self, name: str, value: str) -> None:
        """Keep a secret; one of the same name is replaced.

        Args:
            name: Letters, digits and ``_``: it can be an environment variable.
            value: At least 4 characters.

        Raises:
            KitaruUsageError: The name or the value cannot be one, or the key is not that of the other secrets.
        """
        set_secret(self._wiring, name, value)

    def get(self, name: str) -> str:
        """The value of a secret.

        Raises:
            KitaruNotFoundError: There is none of this name; the nearest one is named.
            KitaruUsageError: The key is missing, or another one.
        """
        return read_secret(self._wiring, name)

    def list(self) -> tuple[Secret, ...]:
        """The secrets by name, without their values."""
        return tuple(list_secrets(self._wiring))

    def delete(self, name: str) -> None:
        """Delete a secret. Raises ``KitaruNotFoundError`` that names the nearest one."""
        delete_secret(self._wiring, name)
