"""Trees of JSON <-> text, and the two questions about them that the hot path asks.

A *tree* is what the JSON encoder takes: None, bool, int, finite float, str, list, and dict with str keys.
A value that is its own tree is *native*; all others become a tree with tags (see ``walk``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A tree. Not spelt out as a recursive type: every encoder would have to cast to it."""

LEAF_LIMIT = 16 * 1024
"""The longest string, bytes or whole text that is kept in the row; longer ones become blobs (S4.4)."""

INT_LIMIT = 1 << 2048
"""Ints from here on are written in hex: Python may be told to parse no more than 640 decimal digits."""

MAX_DEPTH = 100
"""Containers inside containers. A fixed number, so that what was encoded can be decoded further down the stack."""

_INFINITY = float("inf")
_LEAVES = (type(None), bool)


def _unexpected(value: object) -> Json:
    raise AssertionError(f"not a tree: {type(value)}")


def _make_encoder(sort_keys: bool) -> Callable[[Json], str]:
    # The C encoder itself, made once: JSONEncoder.encode makes one per call, which takes longer than its work.
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # a Python without the C accelerator
        return json.JSONEncoder(
            ensure_ascii=False, check_circular=False, sort_keys=sort_keys, separators=(",", ":")
        ).encode
    encode: Any = make(None, _unexpected, encode_basestring, None, ":", ",", sort_keys, False, False)
    join = "".join
    return lambda tree: join(encode(tree, 0))


to_text: Callable[[Json], str] = _make_encoder(sort_keys=False)
"""The compact JSON text of a tree, dicts in their own order."""

_to_sorted_text = _make_encoder(sort_keys=True)
_scan: Callable[[str, int], tuple[Json, int]] = vars(json.JSONDecoder())["scan_once"]


def from_text(text: str) -> Json:
    """The tree of a text that ``to_text`` made. Raises ``ValueError`` for anything else."""
    try:
        tree, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("it is empty or not JSON") from None
    if end != len(text):
        raise ValueError(f"it goes on after its end, at character {end}")
    return tree


def canonical_text(tree: Json) -> str:
    """The text of a tree that is the same for every order of its dicts: what digests are made of (S3.1).

    Sets need no care: their elements are written in canonical order.
    """
    text = _to_sorted_text(tree)
    return _to_sorted_text(_sort_pairs(tree)) if '"$dict"' in text else text


def _sort_pairs(tree: Json) -> Json:
    cls = type(tree)  # pyright: ignore[reportUnknownVariableType]  # of Any
    if cls is list:
        return [_sort_pairs(item) for item in tree]
    if cls is not dict:
        return tree
    if len(tree) == 1 and "$dict" in tree:
        return {"$dict": sorted((_sort_pairs(pair) for pair in tree["$dict"]), key=_to_sorted_text)}
    return {key: _sort_pairs(item) for key, item in tree.items()}


def is_unicode(text: str) -> bool:
    """True where a str can be written as UTF-8, so without lone surrogates (``os.fsdecode`` makes them)."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fits_row(text: str) -> bool:
    """True where a text can be written as UTF-8 and needs no blob."""
    if len(text) > LEAF_LIMIT or not is_unicode(text):
        return False
    return text.isascii() or len(text.encode()) <= LEAF_LIMIT


def is_native(value: Any, depth: int = MAX_DEPTH) -> bool:
    """True where a value is its own tree, and none of its strings is long enough for a blob.

    This is the hot path: most values that agents pass are native, and then nothing is copied. Only
    exact types count, since the C encoder would flatten a subclass. Lone surrogates are not looked
    for here: they show when the text is turned into UTF-8.
    """
    cls = type(value)  # pyright: ignore[reportUnknownVariableType]  # of Any
    if cls is dict:
        for key in value:
            if type(key) is not str or key[:1] == "$":
                return False
        return depth > 0 and _are_native(value.values(), depth - 1)
    if cls is str:
        return len(value) <= LEAF_LIMIT
    if cls is int:
        return -INT_LIMIT < value < INT_LIMIT
    if cls is list:
        return depth > 0 and _are_native(value, depth - 1)
    if cls is float:
        return -_INFINITY < value < _INFINITY  # False for nan as well
    return cls in _LEAVES


def _are_native(values: Iterable[Any], depth: int) -> bool:
    for value in values:  # a loop, with the commonest case written out: all() takes twice as long
        if type(value) is str:
            if len(value) > LEAF_LIMIT:
                return False
        elif not is_native(value, depth):
            return False
    return True
