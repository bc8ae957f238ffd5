"""Blobs as files of one local folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from kitaru.core.clock import Microseconds
from kitaru.core.ports import StoredBlob
from kitaru.errors import KitaruStoreError
from kitaru.values.blob_content import PAGE, USERS, User, absent, checked, is_digest

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PART = ".part"


class FolderBlobs:
    """Blobs as files of one local folder.

    Our own few lines and not obstore's local store, because that does not sync: after a power cut the row
    would name a blob that is not there. Here the content is synced before the file gets its name, and the
    name before ``put`` returns. So a file under its name is complete, and one that is there is not written
    again; a crash leaves at most a temporary file. No sub-folders: each one costs a sync of its own when it is
    new, a third of a blob's time, and today's file systems find a name among a million as fast as among ten.

    When a blob was put is told by its file's time. Whoever sets it holds the folder's lock shared, and whoever
    removes a file looks at its time and removes it under the exclusive lock: so none is removed that has just
    been put again. On Windows, which has no such lock, a moment between the two is left.
    """

    def __init__(self, folder: Path, user: User | None = None) -> None:
        self._folder = folder
        self._user = user

    def put(self, digest: str, data: bytes) -> None:
        target = self._folder / digest
        try:
            if not self._is_kept(target, len(data)):
                self._write(target, data)
            self._note_user()
            _sync_folder(self._folder)
        except OSError as error:
            raise KitaruStoreError(
                f"Cannot write {target}: {error.strerror or error}. Free space or grant write access there, "
                "or choose another artifact store."
            ) from error

    def get(self, digest: str) -> bytes:
        path = self._folder / digest
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise absent(digest, str(self._folder)) from None
        except OSError as error:
            raise KitaruStoreError(f"Cannot read {path}: {error.strerror or error}. Grant read access.") from error
        return checked(digest, data, str(path))

    def keep(self, digests: Iterable[str]) -> set[str]:
        try:
            return {digest for digest in digests if not self._is_kept(self._folder / digest, None)}
        except OSError as error:
            raise self._failed(error) from error

    def put_before(self, at: Microseconds) -> Iterator[list[StoredBlob]]:
        page: list[StoredBlob] = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if not is_digest(entry.name) and not entry.name.endswith(_PART):
                        continue
                    with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                        found = entry.stat()
                        if _put_at(found) < at:
                            page.append(StoredBlob(entry.name, found.st_size))
                    if len(page) == PAGE:
                        yield page
                        page = []
        except FileNotFoundError:  # nothing has been put yet
            return
        except OSError as error:
            raise self._failed(error) from error
        if page:
            yield page

    def remove(self, name: str, *, put_before: Microseconds) -> bool:
        path = self._folder / name
        try:
            with _locked(self._folder, exclusive=True):
                if _put_at(path.stat()) >= put_before:
                    return False
                path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed(error) from error
        return True

    def users(self) -> set[str]:
        try:
            return {note.name for note in (self._folder / USERS).iterdir()}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise self._failed(error) from error

    def _note_user(self) -> None:
        ask = self._user  # read once: another thread may have noted it meanwhile
        user = None if ask is None else ask()
        if user is None:
            return
        note = self._folder / USERS / user
        if not note.exists():
            note.parent.mkdir(exist_ok=True)
            note.touch()
            _sync_folder(note.parent)
        self._user = None  # once is enough

    def _is_kept(self, path: Path, size: int | None) -> bool:
        """Count a blob as put now; False where it is absent, or of another size."""
        try:
            with _locked(self._folder, exclusive=False):
                if size is not None and path.stat().st_size != size:
                    return False
                try:
                    os.utime(path)
                except PermissionError:  # another user's file, in a folder that both may write to
                    self._write(path, path.read_bytes())
        except FileNotFoundError:
            return False
        return True

    def _write(self, target: Path, data: bytes) -> None:
        if not self._folder.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder.parent)
        # Whoever writes the same blob at once has a file of its own. Not named by its process and thread: those of
        # another machine or container, which shares the folder, may have the same numbers.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}{_PART}")
        try:
            with temporary.open("wb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
            with _locked(self._folder, exclusive=False):  # a damaged one of the same name may be about to go
                temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
            raise

    def _failed(self, error: OSError) -> KitaruStoreError:
        return KitaruStoreError(
            f"The artifact store {self._folder} cannot be used: {error.strerror or error}. Grant access there."
        )


def _put_at(found: os.stat_result) -> Microseconds:
    return found.st_mtime_ns // 1000


@contextlib.contextmanager
def _locked(folder: Path, *, exclusive: bool) -> Generator[None]:
    """Hold the folder's lock. Raises ``FileNotFoundError`` where there is no folder."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; NTFS journals names by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
