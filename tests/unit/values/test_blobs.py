"""S4.4: large values go to the artifact store, by content, before the row that names them."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kitaru.core.ports import Blobs
from kitaru.errors import KitaruNotFoundError, KitaruSerializationError, KitaruStoreError
from kitaru.values import ValueCodec, open_blobs


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _address(text: str) -> dict[str, Any]:
    return json.loads(text)["$blob"]


DATA = bytes(range(256)) * 128
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (DATA, DATA),
        ("é" * 20000, ("é" * 20000).encode()),
        (list(range(9000)), json.dumps(list(range(9000)), separators=(",", ":")).encode()),
    ],
    ids=["bytes", "str", "json"],
)
def test_s4_4_a_large_value_is_stored_as_its_own_bytes(
    values: ValueCodec, folder: Path, value: object, content: bytes
) -> None:
    address = _address(values.encode(value, "result"))
    digest = hashlib.sha256(content).hexdigest()
    assert (address["digest"], address["size"]) == (digest, len(content))
    assert [path.read_bytes() for path in _files(folder)] == [content]
    assert (folder / digest).exists()


def test_s4_4_up_to_16_kib_stays_in_the_row(values: ValueCodec, folder: Path) -> None:
    for value in (b"x" * 12200, "x" * 16000, ["x"] * 4000):
        values.encode(value, "result")
    assert not folder.exists()


def test_s4_4_a_large_leaf_does_not_take_the_rest_along(values: ValueCodec) -> None:
    for data, digest in ((DATA, DIGEST), ("x" * 20000, hashlib.sha256(b"x" * 20000).hexdigest())):
        text = values.encode({"name": "a", "data": data}, "result")
        assert json.loads(text)["name"] == "a"
        assert digest in text


def test_s4_4_argument_and_output_share_a_blob(values: ValueCodec, folder: Path) -> None:
    for value in (DATA, "x" * 20000, {"b": list(range(9000)), "a": (1,)}):
        output = values.encode(value, "result")
        inputs = values.encode_inputs({"value": value, "n": 1}, allow_opaque=False)
        assert values.split_inputs(inputs.text)["value"] == output
    assert len(_files(folder)) == 3


def test_what_is_there_is_not_written_again_and_counts_as_put_now(values: ValueCodec, folder: Path) -> None:
    values.encode(DATA, "result")
    (file,) = _files(folder)
    before = file.stat()
    os.utime(file, (1, 1))
    values.encode(DATA, "result")
    after = file.stat()
    assert after.st_ino == before.st_ino
    assert after.st_mtime >= before.st_mtime


def test_s4_4_what_a_crash_left_is_no_blob(values: ValueCodec, folder: Path) -> None:
    """A crash before the rename leaves a temporary file; one of a wrong size is replaced."""
    half = folder / f".{DIGEST}.1.1.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(DATA[:100])
    with pytest.raises(KitaruNotFoundError):
        open_blobs(folder).get(DIGEST)
    half.with_name(DIGEST).write_bytes(DATA[:100])  # as a file system without order could leave it
    assert values.decode(values.encode(DATA, "result")) == DATA


def test_s4_4_content_and_name_are_synced_in_order(
    values: ValueCodec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def traced_sync(descriptor: int) -> None:
        at = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("sync folder" if at.is_dir() else "sync file")
        sync(descriptor)

    def traced_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", traced_sync)
    monkeypatch.setattr(Path, "replace", traced_replace)
    values.encode(DATA, "result")
    assert steps == ["sync folder", "sync file", "rename", "sync folder"]  # the first for the name of the new folder


def test_a_damaged_blob_is_found(values: ValueCodec, folder: Path) -> None:
    text = values.encode(DATA, "result")
    path = _files(folder)[0]
    path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(KitaruStoreError, match="damaged"):
        values.decode(text)


def test_a_blob_of_another_size_is_found(values: ValueCodec) -> None:
    text = values.encode(DATA, "result")
    with pytest.raises(KitaruSerializationError, match="bytes instead of"):
        values.decode(text.replace(f'"size":{len(DATA)}', '"size":5'))


def test_a_lost_blob_is_named(values: ValueCodec, folder: Path) -> None:
    text = values.encode(DATA, "result")
    _files(folder)[0].unlink()
    with pytest.raises(KitaruSerializationError, match=DIGEST):
        values.decode(text)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KitaruStoreError, match="Cannot write .*file"):
        open_blobs(tmp_path / "file").put(DIGEST, DATA)
    with pytest.raises(KitaruStoreError, match="Cannot read .*file"):
        open_blobs(tmp_path / "file").get(DIGEST)


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    folder.mkdir()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KitaruStoreError, match="No space left on device"):
        open_blobs(folder).put(DIGEST, DATA)
    assert not _files(folder)


@pytest.mark.parametrize("place", ["folder", "file", "memory"])
def test_the_same_port_everywhere(tmp_path: Path, place: str) -> None:
    blobs = open_blobs({"folder": str(tmp_path), "file": f"file://{tmp_path}", "memory": "memory://"}[place])
    with pytest.raises(KitaruNotFoundError, match=DIGEST):
        blobs.get(DIGEST)
    blobs.put(DIGEST, DATA)
    blobs.put(DIGEST, DATA)
    assert blobs.get(DIGEST) == DATA
    blobs.put("0" * 64, DATA)
    with pytest.raises(KitaruStoreError, match="damaged"):
        blobs.get("0" * 64)
    values = ValueCodec(blobs)
    assert values.decode(values.encode([DATA, "x" * 20000], "result")) == [DATA, "x" * 20000]


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "https://host/x"])
def test_a_url_that_is_no_store(url: str) -> None:
    with pytest.raises(KitaruStoreError, match=url):
        open_blobs(url)


NOW = 4_000_000_000_000_000  # later than any blob of a test
USER = "0" * 32


def _places(tmp_path: Path) -> dict[str, Blobs]:
    return {
        "folder": open_blobs(tmp_path / "blobs", user=lambda: USER),
        "memory": open_blobs("memory://", user=lambda: USER),
    }


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return _places(tmp_path)[request.param]


def _listed(blobs: Blobs, at: int) -> list[tuple[str, int]]:
    return [(found.name, found.size) for page in blobs.put_before(at) for found in page]


def test_an_empty_store_has_nothing(blobs: Blobs) -> None:
    assert _listed(blobs, NOW) == []
    assert blobs.users() == set()
    assert blobs.keep([]) == set()
    assert blobs.keep([DIGEST]) == {DIGEST}
    assert not blobs.remove(DIGEST, put_before=NOW)


def test_what_was_put_before_a_time_is_listed_and_removed(blobs: Blobs) -> None:
    blobs.put(DIGEST, DATA)
    assert blobs.users() == {USER}
    assert _listed(blobs, 0) == []
    assert not blobs.remove(DIGEST, put_before=0)
    assert _listed(blobs, NOW) == [(DIGEST, len(DATA))]
    assert blobs.remove(DIGEST, put_before=NOW)
    assert _listed(blobs, NOW) == []
    with pytest.raises(KitaruNotFoundError):
        blobs.get(DIGEST)


def test_pages_hold_everything(blobs: Blobs) -> None:
    names = {hashlib.sha256(str(n).encode()).hexdigest() for n in range(520)}
    for name in names:
        blobs.put(name, b"")
    pages = list(blobs.put_before(NOW))
    assert len(pages) > 1
    assert sorted(found.name for page in pages for found in page) == sorted(names)


def _put_long_ago(folder: Path, user: Any = None) -> Blobs:
    blobs = open_blobs(folder, user=user)
    blobs.put(DIGEST, DATA)
    os.utime(folder / DIGEST, (1, 1))
    return blobs


AN_HOUR_AFTER = 3_600_000_000


@pytest.mark.parametrize("again", ["put", "keep"])
def test_what_is_put_again_or_kept_is_not_removed(folder: Path, again: str) -> None:
    blobs = _put_long_ago(folder)
    assert _listed(blobs, AN_HOUR_AFTER) == [(DIGEST, len(DATA))]
    if again == "put":
        blobs.put(DIGEST, DATA)
    else:
        assert blobs.keep([DIGEST]) == set()
    assert not blobs.remove(DIGEST, put_before=AN_HOUR_AFTER)
    assert blobs.get(DIGEST) == DATA


def test_what_is_kept_in_memory_is_put_anew() -> None:
    blobs = open_blobs("memory://")
    blobs.put(DIGEST, DATA)
    ((before,),) = blobs._store.list()  # type: ignore[attr-defined]
    assert blobs.keep([DIGEST, "0" * 64]) == {"0" * 64}
    ((after,),) = blobs._store.list()  # type: ignore[attr-defined]
    assert after["last_modified"] > before["last_modified"]


def test_a_put_and_a_removal_of_the_same_blob_are_never_both_done(folder: Path) -> None:
    """However they meet, a blob that was put is there: it was counted as put again, or written again."""
    blobs = _put_long_ago(folder)
    for _ in range(300):
        os.utime(folder / DIGEST, (1, 1))
        remover = threading.Thread(target=blobs.remove, args=(DIGEST,), kwargs={"put_before": AN_HOUR_AFTER})
        remover.start()
        blobs.put(DIGEST, DATA)
        remover.join()
        assert (folder / DIGEST).exists()


def test_a_removal_waits_for_a_put_that_has_looked_already(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = _put_long_ago(folder)
    removers: list[threading.Thread] = []
    touch = os.utime

    def remove_meanwhile(path: Path) -> None:
        remover = threading.Thread(target=blobs.remove, args=(DIGEST,), kwargs={"put_before": AN_HOUR_AFTER})
        remover.start()
        remover.join(0.2)
        removers.append(remover)
        touch(path)

    monkeypatch.setattr(os, "utime", remove_meanwhile)
    blobs.put(DIGEST, DATA)
    removers[0].join()
    assert blobs.get(DIGEST) == DATA


def test_what_an_interrupted_put_left_is_listed_and_removed(folder: Path) -> None:
    blobs = _put_long_ago(folder, user=lambda: USER)
    part = folder / f".{DIGEST}.1.1.part"
    part.write_bytes(b"half")
    (folder / "notes.txt").write_text("somebody's own")
    os.utime(part, (1, 1))
    os.utime(folder / "notes.txt", (1, 1))
    assert sorted(_listed(blobs, AN_HOUR_AFTER)) == sorted([(DIGEST, len(DATA)), (part.name, 4)])
    assert blobs.remove(part.name, put_before=AN_HOUR_AFTER)
    assert not part.exists()


def test_another_users_file_is_written_again_where_its_time_cannot_be_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = _put_long_ago(folder)

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "utime", refused)
    assert blobs.keep([DIGEST]) == set()
    assert not blobs.remove(DIGEST, put_before=AN_HOUR_AFTER)
    assert blobs.get(DIGEST) == DATA
