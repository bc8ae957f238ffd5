"""Which files belong to a snapshot: what git tracks or would, less ``.kitaruignore`` (S8.2)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from kitaru.errors import KitaruUsageError

LIMIT_BYTES = 64 * 1024 * 1024
"""The largest source tree that is deployed. It is code: data belongs elsewhere."""

_NEVER = GitIgnoreSpec.from_lines([".git", ".kitaru/", "__pycache__/", "*.pyc"])
_NAMED = 5


class Revision(NamedTuple):
    """The commit that is checked out, and whether the tree differs from it."""

    commit: str | None
    dirty: bool


def source_files(root: Path, *, apart_from: Path) -> list[str]:
    """The files of a source tree, relative to ``root``, in a fixed order.

    Args:
        root: The tree.
        apart_from: A folder that is left out wherever it is: that of the store.

    Raises:
        KitaruUsageError: A link leads out of the tree, or the tree is too large; the largest files are named.
    """
    ignored = _ignore_file(root / ".kitaruignore")
    found = _tracked(root) or _walked(root)
    files = sorted(
        path
        for path in found
        if not _NEVER.match_file(path) and not ignored.match_file(path) and apart_from not in (root / path).parents
    )
    for path in files:
        _check_link(root, path)
    _check_size(root, files)
    return files


def revision(root: Path) -> Revision:
    """What git says of the tree; no commit and dirty where it is no repository."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return Revision(None, dirty=True)
    return Revision(commit.strip(), dirty=bool(_git(root, "status", "--porcelain", "--", ".")))


def _tracked(root: Path) -> list[str]:
    listed = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    found: list[str] = []
    for path in (listed or "").split("\0"):
        place = root / path
        if path and place.is_dir() and not place.is_symlink():  # a repository in the repository
            found += [f"{path.rstrip('/')}/{inner}" for inner in _tracked(place)]
        elif path and os.path.lexists(place):  # what is deleted is listed until that is committed
            found.append(path)
    return found


def _git(root: Path, *command: str) -> str | None:
    """What git prints; None where there is no git, or the folder is in no repository."""
    try:
        # The command is ours, and git is what the user's own shell finds.
        done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, check=False)  # noqa: S603, S607
    except OSError:
        return None
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None


def _walked(root: Path) -> Iterator[str]:
    """The same without git: each ``.gitignore`` counts for its folder and those below."""
    specs: dict[str, list[tuple[str, GitIgnoreSpec]]] = {}
    for folder, folders, names in os.walk(root):
        inner = Path(folder).relative_to(root).as_posix()
        above = specs.get(str(PurePosixPath(inner).parent), []) if inner != "." else []
        present = specs[inner] = [*above, (inner, _ignore_file(Path(folder, ".gitignore")))]

        def is_ignored(name: str, inner: str = inner, specs: Sequence[tuple[str, GitIgnoreSpec]] = present) -> bool:
            path, slash = PurePosixPath(inner, name), "/" if name.endswith("/") else ""
            return any(spec.match_file(f"{path.relative_to(base)}{slash}") for base, spec in specs)

        folders[:] = [
            name
            for name in folders
            if not is_ignored(f"{name}/")
            and not _NEVER.match_file(f"{name}/")
            and not Path(folder, name, "pyvenv.cfg").exists()
        ]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (PurePosixPath(inner, name).as_posix() for name in [*names, *links] if not is_ignored(name))


def _ignore_file(path: Path) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(path.read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return GitIgnoreSpec.from_lines([])


def _check_link(root: Path, path: str) -> None:
    place = root / path
    if not place.is_symlink():
        return
    target = place.readlink()
    # Of the text alone: what the link leads to is not looked up.
    inner = Path(os.path.normpath(Path(path).parent / target))
    if target.is_absolute() or inner.parts[:1] == (os.pardir,):
        raise KitaruUsageError(
            f"{place} is a link to {target}, out of the source tree {root}: what it leads to would not be frozen. "
            "Replace it by a copy, or name it in .kitaruignore."
        )


def _check_size(root: Path, files: Sequence[str]) -> None:
    sizes = {path: (root / path).lstat().st_size for path in files}
    total = sum(sizes.values())
    if total > LIMIT_BYTES:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:_NAMED]
        told = ", ".join(f"{path} ({sizes[path] / 1_048_576:.1f} MiB)" for path in largest)
        raise KitaruUsageError(
            f"the source tree {root} has {total / 1_048_576:.0f} MiB in {len(files)} files; at most "
            f"{LIMIT_BYTES // 1_048_576} MiB are deployed. The largest are {told}. "
            "Name what the flow does not need in .gitignore or .kitaruignore."
        )
