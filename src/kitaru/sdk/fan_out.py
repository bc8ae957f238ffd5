"""Which calls ``.map`` and ``.product`` make (S2.2)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from types import GeneratorType
from typing import Any, Generic, TypeVar, cast

from kitaru.errors import KitaruUsageError

T = TypeVar("T")

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of one call."""


class unmapped(Generic[T]):  # noqa: N801  # reads as a word inside a call: fetch.map(urls, unmapped(headers))
    """Hands an iterable to every call of ``.map`` or ``.product`` as it is.

    Args:
        value: The value.
    """

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


def zip_inputs(what: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Inputs]:
    """One call for each position of the spread inputs.

    Raises:
        KitaruUsageError: They have different lengths, or no input can be spread.
    """
    spread = _spread(what, args, kwargs)
    lengths = {name: len(values) for name, values in spread.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{_label(name)} has {length}" for name, length in lengths.items())
        raise KitaruUsageError(f"{what}: the inputs have different lengths: {listed}. Wrap a constant in unmapped().")
    rows = zip(*spread.values(), strict=True)
    return [_call(dict(zip(spread, row, strict=True)), args, kwargs) for row in rows]


def product_inputs(what: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Inputs]:
    """One call for each combination of the spread inputs, the last varying fastest.

    Raises:
        KitaruUsageError: No input can be spread.
    """
    spread = _spread(what, args, kwargs)
    rows = itertools.product(*spread.values())
    return [_call(dict(zip(spread, row, strict=True)), args, kwargs) for row in rows]


def _spread(what: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[int | str, list[Any]]:
    given: Iterator[tuple[int | str, Any]] = itertools.chain(enumerate(args), kwargs.items())
    spread = {name: _elements(value) for name, value in given if _is_spread(value)}
    if not spread:
        raise KitaruUsageError(f"{what}: no input is a list, tuple, range or generator; for one call use submit().")
    return spread


def _is_spread(value: object) -> bool:
    if isinstance(value, tuple):
        return not hasattr(cast("object", value), "_fields")  # a named tuple is one value
    return isinstance(value, (list, range, GeneratorType))


def _elements(value: object) -> list[Any]:
    return list(cast("Sequence[Any]", value))


def _call(chosen: Mapping[int | str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Inputs:
    def pick(name: int | str, value: Any) -> Any:
        if name in chosen:
            return chosen[name]
        return cast("unmapped[Any]", value).value if isinstance(value, unmapped) else value

    return (
        tuple(pick(index, value) for index, value in enumerate(args)),
        {name: pick(name, value) for name, value in kwargs.items()},
    )


def _label(name: int | str) -> str:
    return f"input {name + 1}" if isinstance(name, int) else name
