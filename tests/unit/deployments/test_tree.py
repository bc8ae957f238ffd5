"""Which files a snapshot holds, and what it refuses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kitaru.deployments import tree
from kitaru.deployments.snapshot import Facts, pack, unpack
from kitaru.deployments.tree import revision, source_files
from kitaru.errors import KitaruUsageError

FACTS = Facts(python="3.11", paths=("src", "."))


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def git(root: Path, *command: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *identity, *command], cwd=root, check=True, capture_output=True)


def files(root: Path) -> list[str]:
    return source_files(root, apart_from=root / "home")


def test_without_git_every_gitignore_counts_below_its_folder(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a.py",
        "b.log",
        "build/x",
        "sub/only",
        "sub/keep",
        "other/only",
        "home/kitaru.db",
        "__pycache__/a.pyc",
    )
    write(tmp_path, "venv/pyvenv.cfg", "venv/lib/x.py")
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n")
    (tmp_path / "sub" / ".gitignore").write_text("/only\n")
    (tmp_path / ".kitaruignore").write_text("other/\n")
    assert files(tmp_path) == [".gitignore", ".kitaruignore", "a.py", "sub/.gitignore", "sub/keep"]
    assert revision(tmp_path) == (None, True)


def test_with_git_what_is_tracked_or_would_be_is_listed_and_what_is_deleted_is_not(tmp_path: Path) -> None:
    write(tmp_path, "kept.py", "deleted.py", "ignored.txt", "inner/tracked.py")
    (tmp_path / ".gitignore").write_text("ignored.txt\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    (tmp_path / "deleted.py").unlink()
    write(tmp_path, "new.py")
    assert files(tmp_path) == [".gitignore", "inner/tracked.py", "kept.py", "new.py"]
    assert files(tmp_path / "inner") == ["tracked.py"]
    assert revision(tmp_path).dirty


def test_a_repository_inside_of_the_repository_belongs_to_the_tree(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "library/b.py")
    for folder in (tmp_path / "library", tmp_path):
        git(folder, "init", "-q")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "one")
    assert files(tmp_path) == ["a.py", "library/b.py"]


@pytest.mark.parametrize("target", ["/etc/hosts", "../outside"])
def test_a_link_that_leaves_the_tree_is_refused(tmp_path: Path, target: str) -> None:
    write(tmp_path, "a.py")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(KitaruUsageError, match=f"link to {target}, out of the source tree"):
        files(tmp_path)
    (tmp_path / ".kitaruignore").write_text("link\n")
    assert "link" not in files(tmp_path)


def test_a_tree_over_the_limit_is_refused_with_its_largest_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.py")
    (tmp_path / "data.bin").write_bytes(b"x" * 3_000_000)
    monkeypatch.setattr(tree, "LIMIT_BYTES", 1_048_576)
    with pytest.raises(
        KitaruUsageError, match=r"at most 1 MiB are deployed. The largest are data.bin \(2.9 MiB\), a.py"
    ):
        files(tmp_path)


def test_the_same_tree_is_the_same_archive_whoever_owns_it_and_whenever_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "one", "a.py", "run.sh")
    write(tmp_path / "two", "a.py", "run.sh")
    os.utime(tmp_path / "two" / "a.py", (1, 1))
    first, second = (pack(tmp_path / name, ["a.py", "run.sh"], FACTS) for name in ("one", "two"))
    assert first == second
    (tmp_path / "two" / "run.sh").chmod(0o755)
    assert pack(tmp_path / "two", ["a.py", "run.sh"], FACTS).digest != first.digest
    assert pack(tmp_path / "one", ["a.py", "run.sh"], Facts(python="3.12", paths=("src", "."))).digest != first.digest


def test_a_snapshot_is_laid_out_once_and_read_only(tmp_path: Path) -> None:
    write(tmp_path / "source", "inner/a.py", "run.sh")
    (tmp_path / "source" / "run.sh").chmod(0o755)
    (tmp_path / "source" / "link.py").symlink_to("inner/a.py")
    archive = pack(tmp_path / "source", ["inner/a.py", "link.py", "run.sh"], FACTS)
    asked: list[str] = []

    def get(digest: str) -> bytes:
        asked.append(digest)
        return archive.data

    for _ in range(2):
        snapshot = unpack(tmp_path / "snapshots", archive.digest, get, user="store")
    assert asked == [archive.digest]
    assert snapshot.facts == FACTS
    assert (snapshot.tree / "link.py").read_text() == "inner/a.py"
    modes = {name: (snapshot.tree / name).stat().st_mode & 0o777 for name in ("inner/a.py", "run.sh")}
    assert modes == {"inner/a.py": 0o444, "run.sh": 0o555}
    assert {path.name for path in (tmp_path / "snapshots").iterdir()} == {archive.digest, f"{archive.digest}.lock"}
