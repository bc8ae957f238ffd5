"""Binding by hand gives what ``inspect.signature`` gives, for every signature and every call."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitaru.engine.binding import Binder
from kitaru.errors import KitaruUsageError

NAMES = "abcdef"


@st.composite
def signatures(draw: st.DrawFn) -> str:
    """The parameters of a function, as source."""
    only, plain, keyword = (draw(st.integers(0, 2)) for _ in range(3))
    names = iter(NAMES)
    positional = [next(names) for _ in range(only + plain)]
    first_default = draw(st.integers(0, len(positional)))
    parts = [name if n < first_default else f"{name}='{name} default'" for n, name in enumerate(positional)]
    if only:
        parts.insert(only, "/")
    star = draw(st.booleans())
    if star or keyword:
        parts.append("*rest" if star else "*")
    parts += [next(names) + draw(st.sampled_from(["", "='kw default'"])) for _ in range(keyword)]
    if parts and parts[-1] == "*":
        parts.pop()
    if draw(st.booleans()):
        parts.append("**options")
    return ", ".join(parts)


def function(source: str) -> Callable[..., Any]:
    scope: dict[str, Any] = {}
    exec(f"def work({source}): return locals()", scope)
    return scope["work"]


args_of = st.lists(st.integers(0, 9), max_size=5).map(tuple)
kwargs_of = st.dictionaries(st.sampled_from([*NAMES, "z"]), st.integers(10, 19), max_size=4)


@given(signatures(), args_of, kwargs_of)
def test_bind_is_signature_bind_with_defaults(source: str, args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    work = function(source)
    binder = Binder(work, "work")
    try:
        expected = inspect.signature(work).bind(*args, **kwargs)
    except TypeError:
        with pytest.raises(KitaruUsageError, match="work"):
            binder.bind(args, kwargs)
        return
    expected.apply_defaults()
    bound = binder.bind(args, kwargs)
    assert bound == dict(expected.arguments)
    assert list(bound) == list(expected.arguments), "in the order of the parameters, as they are recorded"


@given(signatures(), args_of, kwargs_of)
def test_unbind_calls_the_function_as_it_was_called(source: str, args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    work = function(source)
    binder = Binder(work, "work")
    try:
        inspect.signature(work).bind(*args, **kwargs)
    except TypeError:  # some Pythons refuse legal calls here: `def work(a=1, /, **options)` with a=2
        return
    expected = work(*args, **kwargs)
    again_args, again_kwargs = binder.unbind(binder.bind(args, kwargs))
    assert work(*again_args, **again_kwargs) == expected


def test_s3_1_the_order_of_extra_keywords_does_not_count() -> None:
    binder = Binder(function("a, **options"), "work")
    one, other = binder.bind((1,), {"y": 2, "x": 1}), binder.bind((1,), {"x": 1, "y": 2})
    assert list(one["options"]) == list(other["options"]) == ["x", "y"]  # type: ignore[call-overload]


def test_a_call_that_does_not_fit_is_told_with_the_signature() -> None:
    binder = Binder(function("a, b=2"), "work")
    with pytest.raises(KitaruUsageError, match=r"work: missing a required argument: 'a'\..*work\(a, b=2\)"):
        binder.bind((), {})


def test_a_parameter_that_is_new_takes_its_default_and_one_that_is_gone_is_named() -> None:
    recorded = {"a": 1, "b": 2}
    args, kwargs = Binder(function("a, b, c=3"), "work").unbind(recorded)
    assert function("a, b, c=3")(*args, **kwargs) == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(KitaruUsageError, match=r"no longer takes the recorded inputs: it has no b any more"):
        Binder(function("a"), "work").unbind(recorded)
    with pytest.raises(KitaruUsageError, match=r"c has no recorded value.*Give new parameters a default"):
        Binder(function("a, b, c"), "work").unbind(recorded)


def test_a_default_is_the_very_object() -> None:
    default = object()

    def work(a: int, b: object = default) -> None: ...

    assert Binder(work, "work").bind((1,), {})["b"] is default
