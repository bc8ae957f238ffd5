"""S4.1, S3.1: any nested value comes back, and digests are equal for equal values and no others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitaru.values import ValueCodec, open_blobs

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**2047, max_value=2**2049)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from(["$tuple", "$dict", "", "1", "true"])
    | st.binary(max_size=8)
    | st.integers(16380, 16390).map(lambda size: "x" * size)
    | st.integers(16380, 16390).map(bytes)
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones())
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.uuids()
)
HASHABLE = st.recursive(
    LEAVES, lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    """Equal in type and value, all the way down. Python's own ``==`` takes 1 for True and 0.0 for -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(one, other) for one, other in zip(a, b, strict=True))
    if isinstance(a, set | frozenset):
        return len(a) == len(b) and all(any(same(one, other) for other in b) for one in a)
    if isinstance(a, dict):
        return len(a) == len(b) and all(any(same(key, other) and same(a[key], b[other]) for other in b) for key in a)
    if isinstance(a, float):
        return a.hex() == b.hex()
    if hasattr(a, "tzinfo"):
        return a.isoformat() == b.isoformat() and (a.fold, a.tzinfo) == (b.fold, b.tzinfo)
    return bool(a == b) and str(a) == str(b) if hasattr(a, "as_tuple") else bool(a == b)


def shuffled(value: Any) -> Any:
    """The same value, its dicts and sets made in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    if isinstance(value, list | tuple):
        return type(value)(shuffled(item) for item in value)
    if isinstance(value, set | frozenset):
        return type(value)(reversed(list(value)))
    return value


@pytest.fixture(scope="module")
def values() -> Iterator[ValueCodec]:
    with tempfile.TemporaryDirectory() as folder:
        yield ValueCodec(open_blobs(folder))


def digest(values: ValueCodec, value: object) -> str:
    return values.encode_inputs({"v": value}, allow_opaque=False).digest


@settings(max_examples=300)
@given(value=VALUES)
def test_s4_1_any_value_comes_back(values: ValueCodec, value: object) -> None:
    text = values.encode(value, "result")
    text.encode()  # a database takes it
    again = values.decode(text)
    assert same(value, again)
    inputs = values.encode_inputs({"v": value, "w": [value]}, allow_opaque=False)
    assert values.split_inputs(inputs.text)["v"] == text
    assert same(values.decode_inputs(inputs.text), {"v": value, "w": [value]})
    assert digest(values, again) == digest(values, value)


@settings(max_examples=300)
@given(value=VALUES)
def test_s3_1_order_does_not_count(values: ValueCodec, value: object) -> None:
    assert digest(values, shuffled(value)) == digest(values, value)


@settings(max_examples=300)
@given(one=VALUES, other=VALUES)
def test_s3_3_equal_digests_mean_equal_values(values: ValueCodec, one: object, other: object) -> None:
    assert (digest(values, one) == digest(values, other)) == same(one, other)


SMALL = st.recursive(
    st.sampled_from([0, 1, 1.0, True, "1", "", None, b"1", "$x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "$a", 1, True, (1,)]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=500)
@given(one=SMALL, other=SMALL)
def test_s3_3_the_same_among_values_that_are_nearly_equal(values: ValueCodec, one: object, other: object) -> None:
    assert (digest(values, one) == digest(values, other)) == same(one, other)
