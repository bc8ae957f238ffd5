"""S4.2: what cannot be carried exactly is refused, with the path inside the value."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any

import pytest

from kitaru.errors import KitaruSerializationError
from kitaru.values import Opaque, ValueCodec
from tests.unit.values.samples import Color, Holder, Key, Model, Moody, Note, Open, Pair, Point


class SubInt(int):
    pass


class SubDict(dict[str, int]):
    pass


class Bare:
    pass


@dataclasses.dataclass
class DictWithField(dict[str, int]):
    field: int = 1


class OwnZone(tzinfo):
    pass


def _extra() -> Note:
    note = Note("a")
    note.undeclared = 1  # type: ignore[attr-defined]
    return note


def _local() -> object:
    @dataclasses.dataclass
    class Local:
        a: int = 1

    return Local()


def _cycle() -> list[object]:
    cycle: list[object] = []
    cycle.append({"again": cycle})
    return cycle


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (LOCK, "result", "the type _thread.lock has no exact form"),
        ({"items": [0, 1, 2, LOCK]}, 'result["items"][3]', "lock"),
        ({"items": [Holder(LOCK)]}, 'result["items"][0].held', "lock"),
        ((1, {2: LOCK}), "result[1][2]", "lock"),
        ({(1, Bare): {"a": (LOCK,)}}, "result[(1, <class", "lock"),
        ({Key("k"): 1, Bare(): 2}, "result key <", "Bare"),
        ({SubInt(7)}, "result element 7", "SubInt"),
        (Model.model_construct(a=LOCK), "result.a", "lock"),
        (Open(extra=[LOCK]), 'result.model_extra["extra"][0]', "lock"),
        (Pair(LOCK), "result.left", "lock"),  # type: ignore[arg-type]
        ([ValueError(LOCK)], "result[0].args[0]", "lock"),
        (datetime(2024, 1, 1, tzinfo=OwnZone()), "result.tzinfo", "OwnZone"),
        (SubInt(1), "result", "SubInt"),
        (SubDict(a=1), "result", "SubDict"),
        (Bare(), "result", "Bare"),
        (DictWithField(), "result", "derives from dict"),
        (_extra(), "result", "'undeclared' is no declared field of Note"),
        (_local(), "result", "not defined at the top of a module"),
        (lambda: 1, "result", "not defined at the top of a module"),
        ((n for n in ()), "result", "generator"),
        ([].append, "result", "not defined"),
        (Opaque("a:B"), "result", "a:B that was not recorded"),
        (_cycle(), 'result[0]["again"]', "it contains itself"),
        ({"x": [_cycle()]}, 'result["x"][0][0]["again"]', "it contains itself"),
        ([Moody()], "result[0]", "its own code raised LookupError while it was read: not today."),
        (_nested(1000), "result", "nested more than 100 levels"),
    ],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_s4_2_refused_with_its_path(values: ValueCodec, value: object, path: str, reason: str) -> None:
    with pytest.raises(KitaruSerializationError) as refused:
        values.encode(value, "result")
    message = str(refused.value)
    assert message.startswith(path)
    assert reason in message


def test_s4_2_a_socket_is_refused(values: ValueCodec) -> None:
    with socket.socket() as open_socket, pytest.raises(KitaruSerializationError, match=r"artifact 'a'\[0\] cannot"):
        values.encode([open_socket], "artifact 'a'")


def test_s4_2_an_argument_is_named(values: ValueCodec) -> None:
    with pytest.raises(KitaruSerializationError, match=r"argument client\[0\] cannot be recorded exactly"):
        values.encode_inputs({"n": 1, "client": [LOCK]}, allow_opaque=False)


def test_s4_2_a_class_whose_name_means_another_is_refused(values: ValueCodec) -> None:
    impostor = dataclasses.make_dataclass("Point", ["x"], namespace={"__module__": Point.__module__})
    impostor.__module__ = Point.__module__
    with pytest.raises(KitaruSerializationError, match="names something else"):
        values.encode(impostor(1), "result")


def test_s4_2_a_full_stack_is_a_clear_message(values: ValueCodec) -> None:
    def deep(depth: int, then: Callable[[], object]) -> object:
        return then() if depth == 0 else deep(depth - 1, then)

    with pytest.raises(KitaruSerializationError, match="too deeply for this call stack"):
        deep(850, lambda: values.encode([*_nested(95), (1,)], "result"))


def test_s4_2_nothing_of_a_refused_enum_is_guessed(values: ValueCodec) -> None:
    stranger = object.__new__(Color)
    stranger._name_, stranger._value_ = "GREEN", 9  # type: ignore[assignment]
    with pytest.raises(KitaruSerializationError, match="no member"):
        values.encode(stranger, "result")


def test_s3_4_opaque_arguments(values: ValueCodec) -> None:
    inputs = values.encode_inputs({"client": LOCK, "n": [1, LOCK], "c": _cycle()}, allow_opaque=True)
    assert inputs.opaque
    assert values.decode_inputs(inputs.text) == {
        "client": Opaque("_thread:lock"),
        "n": [1, Opaque("_thread:lock")],
        "c": Opaque("builtins:list"),
    }
    assert repr(Opaque("a:B")) == "Opaque('a:B')"
    assert hash(Opaque("a:B")) == hash(Opaque("a:B"))


def test_s3_4_the_digest_counts_the_token(values: ValueCodec) -> None:
    def digest(value: object) -> str:
        return values.encode_inputs({"x": value}, allow_opaque=True).digest

    assert digest(LOCK) == digest(threading.Lock())
    assert digest(LOCK) != digest(Bare())
    assert digest({"$opaque": "_thread:lock"}) != digest(LOCK)


def test_s3_4_recorded_tokens_can_be_inputs_again(values: ValueCodec) -> None:
    first = values.encode_inputs({"x": [LOCK]}, allow_opaque=True)
    again = values.encode_inputs(values.decode_inputs(first.text), allow_opaque=True)
    assert again == first


def test_s3_4_only_what_must_be_is_opaque(values: ValueCodec) -> None:
    assert not values.encode_inputs({"x": (1, Point(1))}, allow_opaque=True).opaque
