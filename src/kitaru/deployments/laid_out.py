"""What is laid out on this machine for versions, and goes once nobody needs it: snapshots, environments, wheels.

Each is a folder that can be made again. Whoever is about to use one notes who needs it (``note``) under the folder's
lock (``locked``), and a process that runs in one holds it (``hold``). A cleaning takes back notes of its own store
alone, never one of the last hour; a folder goes under its lock, once it has no note and nobody holds it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Generator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: two that build at once both build, and only the hour protects what is used
    fcntl = None

PART = ".part"
"""The end of the name of what is not whole: it begins with a dot."""

_NOTES = "users"

# Owner: this module. Open until the process ends, and with them their locks.
_held: list[int] = []


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = True) -> Generator[bool]:
    """Hold the lock of a folder that is there or is to be made; False where somebody has it and ``wait`` is False."""
    path = folder.with_name(f"{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("ab") as file:
            if not _lock(file, wait=wait):
                yield False
                return
            if not _is_still(file, path):
                continue  # whoever had it has removed it meanwhile
            try:
                yield True
            finally:
                if fcntl is not None and not folder.exists():
                    path.unlink(missing_ok=True)
            return


def note(folder: Path, user: str) -> None:
    """Note that somebody needs a folder, as of now. To be called under its lock."""
    (folder / _NOTES).mkdir(exist_ok=True)
    (folder / _NOTES / user).touch()


def hold(folder: Path) -> None:
    """Have a folder stay until this process ends."""
    if fcntl is not None:
        descriptor = os.open(folder, os.O_RDONLY)
        _held.append(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def remove_unneeded(root: Path, *, mine: str, needed: Collection[str], before: float, dry_run: bool) -> int:
    """Remove the folders of ``root`` that nobody needs and nobody holds; how many.

    Args:
        root: Where they are. There may be none.
        mine: How the notes begin that this caller answers for.
        needed: Those of them that stay.
        before: What was noted or made since, in seconds since 1970, stays.
        dry_run: Only count.
    """
    removed = 0
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        if folder.name.startswith("."):
            if folder.name.endswith(PART) and not dry_run:
                _remove_part(folder, before)
            continue
        with locked(folder, wait=False) as is_ours:
            if is_ours and _goes(folder, mine, needed, before, dry_run=dry_run):
                removed += 1
                if not dry_run:
                    _remove(folder)
    return removed


def _goes(folder: Path, mine: str, needed: Collection[str], before: float, *, dry_run: bool) -> bool:
    if not folder.exists():  # another cleaning was faster
        return False
    notes = list((folder / _NOTES).glob("*"))
    old = [one for one in notes if one.name.startswith(mine) and one.name not in needed and _changed(one) < before]
    if not dry_run:
        for one in old:
            one.unlink()
    is_made = bool(notes) or _changed(folder) < before  # else whoever makes it is about to note it
    return len(old) == len(notes) and is_made and not _is_held(folder)


def _remove(folder: Path) -> None:
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=PART, dir=folder.parent))
    folder.rename(part / folder.name)  # a half-removed one is not found under its name
    _remove_part(part, None)


def _remove_part(part: Path, before: float | None) -> None:
    with contextlib.suppress(FileNotFoundError):  # another cleaning is at it too
        if before is None or _changed(part) < before:
            shutil.rmtree(part)


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _lock(file: IO[bytes], *, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_still(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_held(folder: Path) -> bool:
    if fcntl is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
