"""S4.1: what comes back equals what was recorded, type and value."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections import defaultdict
from typing import Any, NamedTuple

import attrs
import pydantic
import pytest

from kitaru.errors import KitaruSerializationError
from kitaru.values import ValueCodec
from tests.unit.values import samples
from tests.unit.values.samples import VALUES, Job, Key, Model, Note, Open, Pair, Point


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int beyond what Python prints
        text = "huge"
    return f"{type(value).__name__}-{text[:30]}".encode("ascii", "backslashreplace").decode()


def _same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    assert a == b
    if isinstance(a, dict):
        assert [type(key) for key in a] == [type(key) for key in b]
        assert list(a) == list(b)  # the order of a dict is kept too
        for key in a:
            _same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for one, other in zip(a, b, strict=True):
            _same(one, other)


@pytest.mark.parametrize("value", VALUES, ids=_short)
def test_s4_1_value_and_type_come_back(values: ValueCodec, value: object) -> None:
    text = values.encode(value, "result")
    again = values.decode(text)
    _same(value, again)
    assert values.encode(again, "result") == text


@pytest.mark.parametrize("value", VALUES, ids=_short)
def test_s4_1_nested_and_as_inputs(values: ValueCodec, value: object) -> None:
    _same({"a": [(value,)]}, values.decode(values.encode({"a": [(value,)]}, "result")))
    inputs = values.encode_inputs({"x": value, "$y": 1}, allow_opaque=False)
    _same({"x": value, "$y": 1}, values.decode_inputs(inputs.text))
    assert values.split_inputs(inputs.text) == {"x": values.encode(value, "x"), "$y": "1"}
    assert not inputs.opaque


def test_s4_1_nan_and_negative_zero(values: ValueCodec) -> None:
    nan: Any = values.decode(values.encode([float("nan"), {float("nan"): 1}], "result"))
    assert math.isnan(nan[0])
    assert math.isnan(next(iter(nan[1])))
    assert math.copysign(1, values.decode(values.encode(-0.0, "result"))) == -1  # type: ignore[arg-type]


def test_s4_1_fold_and_zone_come_back(values: ValueCodec) -> None:
    for value in (v for v in VALUES if hasattr(v, "fold")):
        again: Any = values.decode(values.encode(value, "result"))
        assert (again.fold, again.tzinfo) == (value.fold, value.tzinfo)  # type: ignore[attr-defined]
        assert again.isoformat() == value.isoformat()  # type: ignore[attr-defined]


def test_s4_1_a_factory_and_a_maximum_length_come_back(values: ValueCodec) -> None:
    again: Any = values.decode(values.encode(defaultdict(Point, {"a": 1}), "result"))
    assert again.default_factory is Point
    assert [v.maxlen for v in VALUES if type(v).__name__ == "deque"] == [3, None]  # type: ignore[attr-defined]


def test_people_can_read_what_is_recorded(values: ValueCodec) -> None:
    assert values.encode({"ok": True, "n": 7, "é": [1.5, None]}, "r") == '{"ok":true,"n":7,"é":[1.5,null]}'
    assert values.encode((1, b"a"), "r") == '{"$tuple":[1,{"$bytes":"YQ=="}]}'
    assert values.encode(Point(1), "r") == (
        '{"$dataclass":["tests.unit.values.samples:Point",{"x":1,"label":{"$tuple":[]}}]}'
    )


def test_s4_1_models_are_restored_without_validation(values: ValueCodec) -> None:
    model = Model(a=1)
    again: Any = values.decode(values.encode(model, "result"))
    assert again.a == 2  # the validator adds one each time that it runs
    assert again.model_fields_set == {"a"}
    assert again._private == 4


def test_s4_1_extra_and_fields_set_come_back(values: ValueCodec) -> None:
    again: Any = values.decode(values.encode(Open(extra=1), "result"))
    assert again.model_extra == {"extra": 1}
    assert again.model_fields_set == {"extra"}


def test_private_names_and_cached_hashes_of_attrs(values: ValueCodec) -> None:
    again: Any = values.decode(values.encode([Job("a", "t"), Key("k")], "result"))
    assert again[0]._secret == "t"
    assert hash(again[1]) == hash(Key("k"))


def test_an_init_is_not_run_again(values: ValueCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    text = values.encode([Note("a"), Job("b")], "result")
    for cls in (Note, Job):
        monkeypatch.setattr(cls, "__init__", lambda self: pytest.fail("it ran"))
    values.decode(text)


class TestAClassThatHasChanged:
    @staticmethod
    def swap(monkeypatch: pytest.MonkeyPatch, name: str, cls: type) -> None:
        cls.__name__, cls.__qualname__, cls.__module__ = name, name, samples.__name__
        monkeypatch.setattr(samples, name, cls)

    def test_a_new_field_takes_its_default(self, values: ValueCodec, monkeypatch: pytest.MonkeyPatch) -> None:
        texts = [values.encode(value, "result") for value in (Note("a"), Pair(1), Job("j"), Open())]

        @dataclasses.dataclass
        class NewNote(Note):
            extra: list[int] = dataclasses.field(default_factory=lambda: [1])

        class NewPair(NamedTuple):
            left: int
            right: str
            more: int = 5

        @attrs.define
        class NewJob:
            name: str
            _secret: str
            parts: list[int]
            more: str = attrs.Factory(lambda self: self.name, takes_self=True)

        class NewOpen(pydantic.BaseModel):
            a: tuple[int, ...]
            more: list[int] = pydantic.Field(default_factory=lambda: [2])

        for name, cls in {"Note": NewNote, "Pair": NewPair, "Job": NewJob, "Open": NewOpen}.items():
            self.swap(monkeypatch, name, cls)
        note, pair, job, model = (values.decode(text) for text in texts)
        assert (note.extra, pair.more, job.more, model.more) == ([1], 5, "j", [2])  # type: ignore[attr-defined]

    def test_a_lost_field_is_an_error_that_names_it(self, values: ValueCodec, monkeypatch: pytest.MonkeyPatch) -> None:
        text = values.encode(Point(1), "result")

        @dataclasses.dataclass
        class NewPoint:
            x: int

        self.swap(monkeypatch, "Point", NewPoint)
        with pytest.raises(KitaruSerializationError, match="samples:Point has no field 'label' any more"):
            values.decode(text)

    def test_a_lost_class_is_an_error_that_names_it(self, values: ValueCodec, monkeypatch: pytest.MonkeyPatch) -> None:
        text = values.encode([Point(1)], "result")
        monkeypatch.delattr(samples, "Point")
        with pytest.raises(KitaruSerializationError, match="samples:Point"):
            values.decode(text)

    def test_a_class_of_another_kind_is_an_error(self, values: ValueCodec, monkeypatch: pytest.MonkeyPatch) -> None:
        text = values.encode(Point(1), "result")
        self.swap(monkeypatch, "Point", type("Point", (), {}))
        with pytest.raises(KitaruSerializationError, match="another kind"):
            values.decode(text)


def test_many_threads_share_one_codec(values: ValueCodec) -> None:
    wrong: list[object] = []

    def work() -> None:
        for value in VALUES:
            if values.decode(values.encode([value], "result")) != [value]:
                wrong.append(value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "text", ["", "{", "[1] 2", '{"$nope":1}', '{"$decimal":"x"}', '{"$ref":"os:nope"}', '{"$path":["Nope","a"]}']
)
def test_a_damaged_record_is_an_error_of_ours(values: ValueCodec, text: str) -> None:
    with pytest.raises(KitaruSerializationError):
        values.decode(text)
