"""Blob stores: bytes under the hex SHA-256 of their content (S4.4)."""

from __future__ import annotations

import os
from pathlib import Path

from kitaru.core.ports import Blobs
from kitaru.errors import KitaruStoreError
from kitaru.values.blob_content import User
from kitaru.values.folder_blobs import FolderBlobs
from kitaru.values.object_blobs import ObjectBlobs

_EXACT_SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "memory")


def open_blobs(place: str | os.PathLike[str], *, user: User | None = None) -> Blobs:
    """The blob store at a folder or URL: ``s3://``, ``gs://``, ``az://``, ``memory://``, ``file://``.

    A folder is made with the first blob. Credentials for clouds come from where their own tools look for
    them: environment variables, configuration files, the machine's role.

    Args:
        place: The folder or URL.
        user: Tells the id of the store whose rows name these blobs. It is noted with the first put, so
            that no other store's cleaning removes what it knows nothing of. None notes nothing.

    Raises:
        KitaruStoreError: The URL cannot be used.
    """
    url = os.fspath(place)
    scheme, separator, rest = url.partition("://")
    if not separator:
        return FolderBlobs(Path(url), user)
    if scheme == "file":
        return FolderBlobs(Path(rest), user)
    if scheme not in _EXACT_SCHEMES:
        raise KitaruStoreError(
            f"{url} is no artifact store: give a folder, or a URL that begins with s3://, gs:// or az://."
        )
    return ObjectBlobs(url, user)
