"""A source tree as one archive: the same tree gives the same bytes, so it is addressed by its content."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from kitaru.deployments.laid_out import PART, locked, note
from kitaru.errors import KitaruStoreError

_FACTS = "snapshot.json"
_TREE = "tree"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is frozen beside the files.

    Attributes:
        python: The Python version that the flow was deployed with: ``3.11``.
        paths: Folders of the tree in which modules are found, relative to it.
    """

    python: str
    paths: tuple[str, ...]


class Archive(NamedTuple):
    """An archive and the hex SHA-256 of its bytes."""

    digest: str
    data: bytes


class Snapshot(NamedTuple):
    """A snapshot on this machine: its files are read-only."""

    tree: Path
    facts: Facts


def pack(root: Path, files: Sequence[str], facts: Facts) -> Archive:
    """Make the archive of a tree. Owners and times do not count, of the modes only whether a file is executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        text = json.dumps(asdict(facts), sort_keys=True).encode()
        _add(archive, _FACTS, text)
        for path in files:
            place = root / path
            status = place.lstat()
            if stat.S_ISLNK(status.st_mode):
                link = tarfile.TarInfo(f"{_TREE}/{path}")
                link.type, link.linkname = tarfile.SYMTYPE, str(place.readlink())
                archive.addfile(link)
            elif stat.S_ISREG(status.st_mode):
                mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
                _add(archive, f"{_TREE}/{path}", place.read_bytes(), mode)
    data = buffer.getvalue()
    return Archive(hashlib.sha256(data).hexdigest(), data)


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def unpack(folder: Path, digest: str, get: Callable[[str], bytes], *, user: str) -> Snapshot:
    """The snapshot of a digest, laid out below ``folder`` unless it is there already.

    It gets its name only once it is complete, so whoever finds it can use it, whatever was killed meanwhile.

    Args:
        folder: Where the snapshots of this machine are.
        digest: Of the archive.
        get: Reads a blob by its digest.
        user: Who needs it (``laid_out.note``).

    Raises:
        KitaruNotFoundError, KitaruStoreError: See ``Blobs.get``; or it cannot be written.
    """
    target = folder / digest
    try:
        with locked(target):
            if not target.exists():
                _lay_out(target, get(digest))
            note(target, user)
        facts = json.loads((target / _FACTS).read_text(encoding="utf-8"))
    except (OSError, tarfile.TarError) as error:
        raise KitaruStoreError(f"the snapshot {target} cannot be laid out: {error}.") from error
    return Snapshot(target / _TREE, Facts(python=facts["python"], paths=tuple(facts["paths"])))


def _lay_out(target: Path, data: bytes) -> None:
    # It is put in place whole. On Windows, without a lock, several may lay it out at once; the first one counts.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=PART, dir=target.parent) as own:
        part = Path(own) / target.name
        part.mkdir()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(part, filter="data")
        (part / _TREE).mkdir(exist_ok=True)
        for place in part.rglob("*"):
            # Folders stay writable: compiled modules are kept beside their sources.
            if place.is_file() and not place.is_symlink():
                place.chmod(place.stat().st_mode & ~0o222)
        try:
            part.rename(target)
        except OSError:
            if not target.exists():  # else somebody else was faster, and it is the same
                raise
