"""Blob stores: bytes under the hex SHA-256 of their content (S4.4)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru.core.ports import Blobs
from kitaru.errors import KitaruNotFoundError, KitaruStoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_EXACT_SCHEMES = ("s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "memory")


def open_blobs(place: str | os.PathLike[str]) -> Blobs:
    """The blob store at a folder or URL: ``s3://``, ``gs://``, ``az://``, ``memory://``, ``file://``.

    A folder is made with the first blob. Credentials for clouds come from where their own tools look for
    them: environment variables, configuration files, the machine's role.

    Raises:
        KitaruStoreError: The URL cannot be used.
    """
    url = os.fspath(place)
    scheme, separator, rest = url.partition("://")
    if not separator:
        return FolderBlobs(Path(url))
    if scheme == "file":
        return FolderBlobs(Path(rest))
    if scheme not in _EXACT_SCHEMES:
        raise KitaruStoreError(
            f"{url} is no artifact store: give a folder, or a URL that begins with s3://, gs:// or az://."
        )
    return ObjectBlobs(url)


def _checked(digest: str, data: bytes, place: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != digest:
        raise KitaruStoreError(
            f"{place} is damaged: its content is not what was recorded. Restore it from a copy, or delete it "
            "and run the checkpoint again."
        )
    return data


def _absent(digest: str, place: str) -> KitaruNotFoundError:
    return KitaruNotFoundError(
        f"blob {digest} is not in {place}. Check that this is the artifact store that the value was recorded with."
    )


class FolderBlobs:
    """Blobs as files of one local folder.

    Our own few lines and not obstore's local store, because that does not sync: after a power cut the row
    would name a blob that is not there. Here the content is synced before the file gets its name, and the
    name before ``put`` returns. So a file under its name is complete, and one that is there is not written
    again; a crash leaves at most a temporary file. No sub-folders: each one costs a sync of its own when it is
    new, a third of a blob's time, and today's file systems find a name among a million as fast as among ten.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, digest: str, data: bytes) -> None:
        target = self._path(digest)
        try:
            if not _has_size(target, len(data)):
                self._write(target, data)
            _sync_folder(self._folder)
        except OSError as error:
            raise KitaruStoreError(
                f"Cannot write {target}: {error.strerror or error}. Free space or grant write access there, "
                "or choose another artifact store."
            ) from error

    def get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise _absent(digest, str(self._folder)) from None
        except OSError as error:
            raise KitaruStoreError(f"Cannot read {path}: {error.strerror or error}. Grant read access.") from error
        return _checked(digest, data, str(path))

    def _path(self, digest: str) -> Path:
        return self._folder / digest

    def _write(self, target: Path, data: bytes) -> None:
        if not self._folder.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder.parent)
        # Threads and processes that write the same blob at once each have a file of their own.
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with temporary.open("wb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
            raise


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; NTFS journals names by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ObjectBlobs:
    """Blobs in S3, GCS, Azure or memory, through obstore. A put is durable once the service has answered."""

    def __init__(self, url: str) -> None:
        # Only here: with a local folder nobody should pay for what is not used.
        from obstore import exceptions  # noqa: PLC0415
        from obstore.store import from_url  # noqa: PLC0415

        self._url = url
        # The object store reports a missing or forbidden object as Python's own OSErrors.
        self._errors = (exceptions.BaseError, OSError)
        try:
            self._store: ObjectStore = from_url("memory:///" if url.startswith("memory:") else url)
        except (*self._errors, ValueError) as error:
            raise KitaruStoreError(f"Cannot open the artifact store {url}: {_first_line(error)}.") from error

    def put(self, digest: str, data: bytes) -> None:
        try:
            self._store.put(_key(digest), data)
        except self._errors as error:
            raise KitaruStoreError(
                f"Cannot write blob {digest} to {self._url}: {_first_line(error)}. "
                "Check the credentials and the network."
            ) from error

    def get(self, digest: str) -> bytes:
        try:
            data = bytes(self._store.get(_key(digest)).bytes())
        except FileNotFoundError:
            raise _absent(digest, self._url) from None
        except self._errors as error:
            raise KitaruStoreError(
                f"Cannot read blob {digest} from {self._url}: {_first_line(error)}. "
                "Check the credentials and the network."
            ) from error
        return _checked(digest, data, f"blob {digest} in {self._url}")


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
