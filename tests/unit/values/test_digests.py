"""S3.1, S3.3: the digest of inputs is the same for equal inputs, and for no others."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations

import pytest

from kitaru.values import ValueCodec
from tests.unit.values.samples import VALUES, Color, Level, Model, Note, Point, Word


def _digest(values: ValueCodec, *arguments: object, **named: object) -> str:
    return values.encode_inputs({**{f"p{n}": a for n, a in enumerate(arguments)}, **named}, allow_opaque=False).digest


LARGE = {str(n): [n, {"b": 1, "a": n}] for n in range(3000)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([{"x": {"a": 1, "b": 2}}], [{"x": {"b": 2, "a": 1}}]),
        ({1: "x", (2,): {"b": 1, "a": 2}}, {(2,): {"a": 2, "b": 1}, 1: "x"}),
        ({"a", "b", "c", "d"}, {"d", "c", "b", "a"}),
        (frozenset(range(50)), frozenset(reversed(range(50)))),
        (Note("a", {"x": 1, "y": 2}), Note("a", {"y": 2, "x": 1})),
        (LARGE, dict(reversed(LARGE.items()))),
        ({n: n for n in range(4000)}, {n: n for n in reversed(range(4000))}),
        ([(LARGE,)], [(dict(reversed(LARGE.items())),)]),
    ],
    ids=[
        "dict",
        "nested dict",
        "any keys",
        "set",
        "frozenset",
        "in an object",
        "large",
        "large, any keys",
        "in a large one",
    ],
)
def test_s3_1_order_does_not_count(values: ValueCodec, one: object, other: object) -> None:
    assert _digest(values, one) == _digest(values, other)


def test_s3_1_the_order_of_arguments_does_not_count(values: ValueCodec) -> None:
    for large in (1, LARGE):
        assert _digest(values, a=large, b=2) == _digest(values, b=2, a=large)


def test_s3_1_order_counts_where_it_is_part_of_the_value(values: ValueCodec) -> None:
    ordered = [v for v in VALUES if type(v).__name__ == "OrderedDict" and len(v) > 1]  # type: ignore[arg-type]
    assert _digest(values, ordered[0]) != _digest(values, type(ordered[0])(reversed(ordered[0].items())))  # type: ignore[attr-defined]
    assert _digest(values, [1, 2]) != _digest(values, [2, 1])


def test_s3_3_everything_else_counts(values: ValueCodec) -> None:
    different = [
        *VALUES,
        1,
        1.0,
        "1",
        b"1",
        Decimal(1),
        Decimal("1.0"),
        [1],
        (1,),
        {1},
        frozenset([1]),
        {"a": 1},
        [["a", 1]],
        {1: 1},
        {"1": 1},
        {True: 1},
        "RED",
        Level.LOW,
        Word.A,
        "a",
        Color.RED,
        Point(1),
        {"x": 1, "label": ()},
        Model(a=0),
        "x" * 16386,
        b"x" * 16386,
        ["x" * 16386],
        datetime(2024, 1, 2, tzinfo=UTC),
        "$tuple",
        {"$tuple": []},
        {"$set": [1]},
        {"$bytes": "YQ=="},
        b"a",
        dict.fromkeys(LARGE),
        LARGE,
        list(LARGE.items()),
    ]
    unique: dict[str, str] = {}
    for value in different:
        unique.setdefault(values.encode(value, "v"), _digest(values, value))
    for (text, digest), (other_text, other_digest) in combinations(unique.items(), 2):
        assert digest != other_digest, (text[:80], other_text[:80])


def test_s3_3_names_and_places_count(values: ValueCodec) -> None:
    assert len({_digest(values, a=1), _digest(values, b=1), _digest(values, a=1, b=1), _digest(values)}) == 4
    assert _digest(values, a=[1], b=[]) != _digest(values, a=[], b=[1])


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_s3_1_what_was_read_back_has_the_digest_of_what_was_recorded(values: ValueCodec, value: object) -> None:
    again = values.decode(values.encode([value], "result"))
    assert _digest(values, [value]) == _digest(values, again)


def test_s3_1_around_the_threshold_the_same_value_has_one_form(values: ValueCodec) -> None:
    for size in range(16370, 16400):
        for value in ("x" * size, ["x" * size], {"a": "é" * (size // 2)}):
            inputs = values.encode_inputs({"v": value}, allow_opaque=False)
            assert values.split_inputs(inputs.text)["v"] == values.encode(value, "v")
            beside = values.encode_inputs({"v": value, "w": "y" * 9000}, allow_opaque=False)
            assert values.split_inputs(beside.text)["v"] == values.encode(value, "v")
