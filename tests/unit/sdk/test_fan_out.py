"""Which calls ``.map`` and ``.product`` make (S2.2). Pure; what becomes of the calls is tested elsewhere."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kitaru import KitaruUsageError, unmapped
from kitaru.sdk.fan_out import Inputs, product_inputs, zip_inputs

Pair = namedtuple("Pair", "a b")


def numbers() -> Iterator[int]:
    yield from (1, 2)


def calls(make: Callable[..., list[Inputs]], *args: Any, **kwargs: Any) -> list[Inputs]:
    return make("step.map()", args, kwargs)


@pytest.mark.parametrize(
    "spread", [[1, 2], (1, 2), range(1, 3), numbers()], ids=["list", "tuple", "range", "generator"]
)
@pytest.mark.parametrize("make", [zip_inputs, product_inputs])
def test_s2_2_lists_tuples_ranges_and_generators_are_spread(make: Callable[..., list[Inputs]], spread: Any) -> None:
    spread = numbers() if isinstance(spread, Iterator) else spread
    assert calls(make, spread) == [((1,), {}), ((2,), {})]


CONSTANTS: list[Any] = ["ab", b"ab", bytearray(b"ab"), {"a": 1}, {1, 2}, frozenset({1}), Pair(1, 2), 5, None, object()]


@pytest.mark.parametrize("constant", CONSTANTS, ids=lambda constant: type(constant).__name__)
@pytest.mark.parametrize("make", [zip_inputs, product_inputs])
def test_s2_2_everything_else_goes_to_every_call_as_it_is(make: Callable[..., list[Inputs]], constant: Any) -> None:
    found = calls(make, [1, 2], constant, key=constant)
    assert found == [((1, constant), {"key": constant}), ((2, constant), {"key": constant})]
    assert all(args[1] is constant for args, _ in found)


@pytest.mark.parametrize("make", [zip_inputs, product_inputs])
def test_s2_2_unmapped_hands_on_what_would_be_spread(make: Callable[..., list[Inputs]]) -> None:
    assert calls(make, [1, 2], unmapped([8, 9]), key=unmapped((7,))) == [
        ((1, [8, 9]), {"key": (7,)}),
        ((2, [8, 9]), {"key": (7,)}),
    ]


def test_s2_2_map_zips_positional_and_keyword_inputs() -> None:
    assert calls(zip_inputs, [1, 2], ("a", "b"), z=range(2)) == [((1, "a"), {"z": 0}), ((2, "b"), {"z": 1})]


def test_s2_2_map_refuses_unequal_lengths_and_says_which() -> None:
    with pytest.raises(KitaruUsageError, match=r"step\.map\(\).*input 1 has 2, z has 3.*unmapped"):
        calls(zip_inputs, [1, 2], z=[1, 2, 3])
    with pytest.raises(KitaruUsageError, match="input 1 has 0, input 2 has 1"):
        calls(zip_inputs, [], [1])


def test_s2_2_product_takes_every_combination_the_last_input_varying_fastest() -> None:
    assert calls(product_inputs, ["a", "b"], 5, z=(1, 2)) == [
        (("a", 5), {"z": 1}),
        (("a", 5), {"z": 2}),
        (("b", 5), {"z": 1}),
        (("b", 5), {"z": 2}),
    ]


@pytest.mark.parametrize("make", [zip_inputs, product_inputs])
def test_s2_2_no_element_is_no_call_and_no_iterable_is_an_error(make: Callable[..., list[Inputs]]) -> None:
    assert calls(make, []) == []
    for args in ((), (5,), ("abc",), (unmapped([1]),)):
        with pytest.raises(KitaruUsageError, match=r"step\.map\(\).*submit\(\)"):
            calls(make, *args)
