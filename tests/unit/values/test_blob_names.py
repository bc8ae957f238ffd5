"""S4.4: every blob that a record names is found in its text, so that cleaning leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kitaru.errors import KitaruStoreError
from kitaru.values import ValueCodec
from kitaru.values.blob_content import is_digest

LONG = "x" * 20000
DATA = bytes(range(256)) * 100


def _put(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if is_digest(path.name)} if folder.exists() else set()


@pytest.mark.parametrize(
    "value",
    [
        DATA,
        LONG,
        [DATA, LONG],
        list(range(9000)),
        [*range(9000), DATA, {"deep": [LONG + "y", "$blob"]}],
        {"a": [[*range(9000), DATA]], "$blob": {"digest": "0" * 64}},
        ("digest", {LONG: {DATA}}),
        ValueError(LONG, [*range(9000), DATA]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_s4_4_every_blob_that_was_put_is_named(values: ValueCodec, folder: Path, value: object) -> None:
    text = values.encode(value, "result")
    assert values.blobs_in([text]) == (_put(folder), set())
    assert _put(folder)
    inputs = values.encode_inputs({"a": value, "b": 1}, allow_opaque=False).text
    assert values.blobs_in([inputs]) == (_put(folder), set())


def test_s4_4_texts_inside_other_json_name_their_blobs_too(values: ValueCodec, folder: Path) -> None:
    text = values.encode([*range(9000), DATA], "result")
    within = json.dumps({"exception": text})
    assert values.blobs_in([json.dumps({"detail": within})]) == (_put(folder), set())


def test_data_that_looks_like_an_address_names_nothing(values: ValueCodec) -> None:
    look_alike = {"codec": "json", "digest": "0" * 64, "size": 1}
    for value in ("0" * 64, look_alike, {"$blob": look_alike}):
        assert values.blobs_in([values.encode(value, "result")]) == (set(), set())


def test_a_lost_text_is_told_because_it_may_name_more(values: ValueCodec, folder: Path) -> None:
    text = values.encode([*range(9000), DATA], "result")
    outer = json.loads(text)["$blob"]["digest"]
    (folder / outer).unlink()
    assert values.blobs_in([text]) == ({outer}, {outer})
    assert not values.keep([text])


def test_a_damaged_text_is_an_error(values: ValueCodec, folder: Path) -> None:
    text = values.encode(list(range(9000)), "result")
    next(folder.iterdir()).write_text("[]")
    with pytest.raises(KitaruStoreError, match="damaged"):
        values.blobs_in([text])


def test_a_lost_part_is_not_kept(values: ValueCodec, folder: Path) -> None:
    text = values.encode([*range(9000), DATA], "result")
    assert values.keep([text])
    outer = json.loads(text)["$blob"]["digest"]
    (inner,) = _put(folder) - {outer}
    (folder / inner).unlink()
    assert not values.keep([text])
