"""S4.3: users register codecs. S4.2: pickle is opt-in."""

from __future__ import annotations

import importlib.metadata
import threading
from typing import Any

import pytest

from kitaru.errors import KitaruSerializationError, KitaruUsageError
from kitaru.values import ValueCodec, codecs, open_blobs, register_codec


class Money:
    def __init__(self, amount: int, currency: str) -> None:
        self.amount = amount
        self.currency = currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]


class Other(Money):
    pass


def _register(cls: type = Money, name: str = "money") -> None:
    register_codec(cls, name=name, encode=lambda m: (m.amount, m.currency), decode=lambda parts: cls(*parts))


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_encoders", dict(codecs._encoders))
    monkeypatch.setattr(codecs, "_registered", {})
    monkeypatch.setattr(codecs, "_entry_points_loaded", True)


def test_s4_3_a_registered_type_is_carried(values: ValueCodec) -> None:
    _register()
    text = values.encode([Money(3, "EUR")], "result")
    assert text == '[{"$codec":["money",{"$tuple":[3,"EUR"]}]}]'
    assert values.decode(text) == [Money(3, "EUR")]


def test_s4_3_bytes_of_a_codec_may_be_large(values: ValueCodec) -> None:
    register_codec(Money, name="money", encode=lambda m: b"x" * m.amount, decode=lambda data: Money(len(data), "b"))
    assert values.decode(values.encode(Money(99_999, "b"), "result")) == Money(99_999, "b")


def test_s4_3_exactly_this_type(values: ValueCodec) -> None:
    _register()
    with pytest.raises(KitaruSerializationError, match="Other"):
        values.encode(Other(1, "a"), "result")


def test_s4_3_again_replaces(values: ValueCodec) -> None:
    _register()
    _register()
    assert values.decode(values.encode(Money(3, "EUR"), "result")) == Money(3, "EUR")


def test_s4_3_a_type_refused_before_is_carried_after(values: ValueCodec) -> None:
    with pytest.raises(KitaruSerializationError, match="register_codec"):
        values.encode(Money(3, "EUR"), "result")
    _register()
    assert values.encode(Money(3, "EUR"), "result")


def test_s4_3_a_taken_name_or_type() -> None:
    _register()
    with pytest.raises(KitaruUsageError, match="the name belongs to .*Money"):
        _register(Other)
    with pytest.raises(KitaruUsageError, match="the codec 'money' already"):
        _register(Money, "other")
    with pytest.raises(KitaruUsageError, match="a codec of its own"):
        _register(dict, "mine")


def test_s4_3_a_codec_that_raises_is_named_with_the_path(values: ValueCodec) -> None:
    register_codec(Money, name="money", encode=lambda m: 1 / 0, decode=lambda parts: Money(1, "a"))
    with pytest.raises(KitaruSerializationError, match=r"result\[1\].*'money' raised ZeroDivisionError") as refused:
        values.encode([0, Money(1, "a")], "result")
    assert isinstance(refused.value.__cause__, ZeroDivisionError)


def test_s4_3_what_a_codec_gives_must_be_carried_too(values: ValueCodec) -> None:
    register_codec(Money, name="money", encode=lambda m: threading.Lock(), decode=lambda parts: Money(1, "a"))
    with pytest.raises(KitaruSerializationError, match="lock"):
        values.encode(Money(1, "a"), "result")


def test_s4_3_reading_without_the_codec_says_what_to_do(values: ValueCodec) -> None:
    with pytest.raises(KitaruSerializationError, match="'money', which is not registered"):
        values.decode('{"$codec":["money",1]}')


class _EntryPoint:
    def load(self) -> Any:
        return _register


@pytest.mark.parametrize("first", ["encode", "decode"])
def test_s4_3_entry_points_are_loaded_when_nothing_else_knows(
    values: ValueCodec, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    asked: list[str] = []

    def entry_points(group: str) -> list[_EntryPoint]:
        asked.append(group)
        return [_EntryPoint()]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.setattr(codecs, "_entry_points_loaded", False)
    values.encode([1, (2,), {3}], "result")
    assert not asked
    if first == "encode":
        assert values.encode(Money(3, "EUR"), "result")
    assert values.decode('{"$codec":["money",{"$tuple":[3,"EUR"]}]}') == Money(3, "EUR")
    assert asked == ["kitaru.codecs"]


class TestPickle:
    @pytest.fixture
    def pickling(self, folder: Any) -> ValueCodec:
        return ValueCodec(open_blobs(folder), allow_pickle=True)

    def test_s4_2_only_where_allowed(self, values: ValueCodec, pickling: ValueCodec) -> None:
        text = pickling.encode({"m": Money(3, "EUR"), "n": (1,)}, "result")
        assert '{"$tuple":[1]}' in text  # only what nothing else carries is pickled
        assert pickling.decode(text) == {"m": Money(3, "EUR"), "n": (1,)}
        with pytest.raises(KitaruSerializationError, match="allow_pickle"):
            values.decode(text)

    def test_s4_2_large_pickles_too(self, values: ValueCodec, pickling: ValueCodec) -> None:
        text = pickling.encode(Money(3, "E" * 20000), "result")
        assert "$blob" in text
        assert pickling.decode(text) == Money(3, "E" * 20000)
        with pytest.raises(KitaruSerializationError, match="allow_pickle"):
            values.decode(text)

    def test_s4_2_what_pickle_cannot_carry_is_refused_with_both_reasons(self, pickling: ValueCodec) -> None:
        with pytest.raises(KitaruSerializationError, match=r"result\[0\] .*Pickle cannot carry it either"):
            pickling.encode([threading.Lock()], "result")
        assert pickling.encode_inputs({"x": threading.Lock()}, allow_opaque=True).opaque
