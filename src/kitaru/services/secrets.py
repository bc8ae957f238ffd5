"""Set, read, list and delete secrets. A value leaves here for user code and child processes alone."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from kitaru.core import redaction
from kitaru.core.clock import to_datetime
from kitaru.core.image import ImageSettings
from kitaru.core.rows import SecretRow
from kitaru.core.secret import Secret, check_name, check_value
from kitaru.errors import KitaruNotFoundError, KitaruUsageError

if TYPE_CHECKING:
    from kitaru.services.secret_key import SecretKey
    from kitaru.services.wiring import Wiring


def set_secret(wiring: Wiring, name: str, value: str) -> None:
    """Keep a secret of this project, encrypted; one of the same name is replaced.

    Raises:
        KitaruUsageError: The name or the value cannot be one, or the secrets that are there already were encrypted
            with another key, which would leave a project with two of them.
    """
    check_name(name)
    check_value(name, value)
    store, project = wiring.store.secrets, wiring.settings.project
    others = [row for row in store.list(project) if row.name != name]
    if others:
        _decrypted(wiring, others[0])
    key = _key(wiring, make=True)
    redaction.know(name, value)
    store.set(project, name, key.encrypt(value), at=wiring.clock.now())


def read_secret(wiring: Wiring, name: str, *, project: str | None = None) -> str:
    """The value of a secret, of this project or of that of an execution. From now on this process redacts it.

    Raises:
        KitaruNotFoundError: There is none of this name; the nearest one is named.
        KitaruUsageError: The key is missing or another one.
    """
    project = project or wiring.settings.project
    row = wiring.store.secrets.get(project, check_name(name))
    if row is None:
        raise _not_found(wiring, project, name)
    return _decrypted(wiring, row)


def list_secrets(wiring: Wiring) -> list[Secret]:
    """The secrets of this project, by name, without their values. Needs no key."""
    rows = wiring.store.secrets.list(wiring.settings.project)
    return [Secret(name=row.name, changed_at=to_datetime(row.changed_at)) for row in rows]


def delete_secret(wiring: Wiring, name: str) -> None:
    """Delete a secret of this project. Needs no key. Raises ``KitaruNotFoundError``."""
    project = wiring.settings.project
    if not wiring.store.secrets.delete(project, check_name(name)):
        raise _not_found(wiring, project, name)


def secret_environment(wiring: Wiring, image: ImageSettings | None, *, project: str | None = None) -> dict[str, str]:
    """The environment variables that ``image.secret_environment_from`` asks for, for a child process.

    Raises:
        KitaruNotFoundError: One of the secrets is not there.
        KitaruUsageError: The key is missing or another one.
    """
    names = () if image is None else image.secret_environment_from or ()
    return {name: read_secret(wiring, name, project=project) for name in names}


def check_image(wiring: Wiring, image: ImageSettings | None) -> None:
    """Refuse an image that holds a secret of this project: it would be recorded as it is.

    Raises:
        KitaruUsageError: A variable, or another field, holds the value of a secret.
    """
    if image is None:
        return
    for row in wiring.store.secrets.list(wiring.settings.project):
        try:
            _decrypted(wiring, row)
        except KitaruUsageError:  # no key here: then this process cannot have had the value from us
            break
    for variable, value in (image.environment or {}).items():
        try:
            redaction.refuse(value, f"image.environment[{variable!r}]")
        except KitaruUsageError as error:
            raise KitaruUsageError(f"{error} Name the secret in image.secret_environment_from instead.") from None
    redaction.refuse(image.to_json(), "image")


def _decrypted(wiring: Wiring, row: SecretRow) -> str:
    value = _key(wiring, make=False).decrypt(row.name, row.ciphertext)
    redaction.know(row.name, value)
    return value


def _key(wiring: Wiring, *, make: bool) -> SecretKey:
    try:
        # Loads cryptography, which is an extra.
        from kitaru.services.secret_key import find_key, make_key  # noqa: PLC0415
    except ImportError as error:
        raise KitaruUsageError(
            "Secrets need the package cryptography, which cannot be loaded here. Install it: pip install cryptography"
        ) from error
    return make_key(wiring.settings.home) if make else find_key(wiring.settings.home)


def _not_found(wiring: Wiring, project: str, name: str) -> KitaruNotFoundError:
    names = [row.name for row in wiring.store.secrets.list(project)]
    near = get_close_matches(name, names, 1)
    there = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names)}." if names else "There are none."
    return KitaruNotFoundError(
        f"there is no secret {name} in project {project}. {there} Set it with: kitaru secrets set {name}"
    )
