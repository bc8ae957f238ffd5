"""S4: at the level of flows, what comes back equals what was recorded, or is refused with its path."""

from __future__ import annotations

import collections
import dataclasses
import decimal
import enum
import fractions
import math
import pathlib
import re
import threading
import uuid
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
from PIL import Image

import kitaru
from kitaru import KitaruClient, KitaruSerializationError, checkpoint, flow
from tests.acceptance.runs import TIMEOUT, Breakage, Program, failure_of, record, retry


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Page:
    url: str
    words: tuple[str, ...] = ()
    next: Page | None = None


class Point(NamedTuple):
    x: int
    y: float = 0.0


@attrs.define
class Step:
    name: str
    cost: decimal.Decimal


class Answer(pydantic.BaseModel):
    text: str
    scores: dict[int, float]
    at: datetime


class Text(str):
    __slots__ = ()


class ApiError(Exception):
    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


PLAIN: dict[str, Any] = {
    "None": None, "True": True, "0": 0, "big int": -(10**400), "float": 0.1, "inf": math.inf, "-0.0": -0.0,
    "str": "ünï\U0001f600\x00\n", "surrogate": "\ud800", "bytes": b"\x00\xff", "bytearray": bytearray(b"ab"),
    "complex": 1 - 2j,
    "empty list": [], "nested": [1, [2.0, ["3", None]]], "tuple": (1, (2,), ()), "tuple in list": [(1, 2)],
    "dict": {"b": 1, "a": [2]}, "int keys": {1: "a", True + 1: "b", None: "c", (1, "x"): "d", 2.5: "e"},
    "tag-like dict": {"$tuple": [1]}, "set": {1, 2, "c"}, "frozenset": frozenset({(1, 2)}), "range": range(1, 9, 3),
    "datetime": datetime(2024, 2, 29, 1, 2, 3, 4), "aware": datetime(2024, 7, 1, tzinfo=UTC),
    "offset": datetime(2024, 7, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    "zone": datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
    "date": date(2024, 2, 29), "time": time(1, 2, tzinfo=UTC), "timedelta": timedelta(days=-1, microseconds=1),
    "Decimal": decimal.Decimal("1.10"), "Fraction": fractions.Fraction(1, 3), "UUID": uuid.UUID(int=7),
    "Enum": Colour.RED, "IntEnum": Level.HIGH, "Flag": Rights.READ | Rights.WRITE, "Path": pathlib.Path("/a/b"),
    "deque": collections.deque([1, 2], maxlen=5), "OrderedDict": collections.OrderedDict([("b", 1), ("a", 2)]),
    "Counter": collections.Counter("aab"), "defaultdict": collections.defaultdict(list, a=[1]),
    "dataclass": Page("u", ("a", "b"), Page("v")), "named tuple": Point(1, 2.5),
    "attrs": Step("s", decimal.Decimal("0.1")),
    "pydantic": Answer(text="yes", scores={1: 0.5}, at=datetime(2024, 1, 1, tzinfo=UTC)), "class": Page,
    "function": dataclasses.replace, "numpy scalar": np.float32(0.1), "large text": "é" * 100_000,
    "large bytes": bytes(range(256)) * 400, "large dict": {f"key {n}": [n, float(n)] for n in range(5_000)},
    "everything inside everything": {"a": [(Page("u"), {Point(1, 2)}, {Colour.RED: [None, b"x"]})]},
}  # fmt: skip


def there_and_back(value: Any) -> list[Any]:
    """The value as the body got it in its first run, after a retry, as an input, and as the flow's own."""
    outside = Breakage()
    made: list[int] = []
    got: list[Any] = []

    @checkpoint
    def make() -> Any:
        made.append(1)
        return value

    @checkpoint
    def take(given: Any) -> None: ...

    @flow
    def agent(given: Any) -> Any:
        result = make()
        got.append(result)
        take(result)
        outside.check()
        return given

    handle = agent.run(value)
    failure_of(handle)
    outside.mend()
    got.append(retry(handle).wait(timeout=TIMEOUT))
    assert made == [1]
    execution = record(handle)
    return [*got, execution.result, execution.inputs["given"], execution.checkpoints[0].output,
            execution.checkpoints[1].inputs["given"]]  # fmt: skip


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in PLAIN.items()])
def test_s4_1_what_comes_back_equals_what_was_recorded_in_value_and_type(value: Any) -> None:
    for back in there_and_back(value):
        assert type(back) is type(value)
        assert back == value
        assert repr(back) == repr(value) or isinstance(value, (set, frozenset))


def test_s4_1_nan_comes_back_as_nan() -> None:
    assert all(type(back) is float and math.isnan(back) for back in there_and_back(math.nan))


def test_s4_1_exceptions_are_values_too() -> None:
    error = ApiError("no", status=404)
    error.__cause__ = KeyError("x")
    for back in there_and_back(error):
        assert (type(back), back.args, back.status, repr(back.__cause__)) == (ApiError, ("no",), 404, "KeyError('x')")


def test_s4_1_arrays_frames_tables_and_images_come_back() -> None:
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([10, 20], name="id"))
    polars = pl.DataFrame({"a": [1, None], "b": [[1], [2, 3]]})
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    image = Image.new("RGB", (4, 3), (1, 2, 3))
    for back in there_and_back({"all": (array, frame, polars, table, image)}):
        one, two, three, four, five = back["all"]
        assert one.dtype == array.dtype
        np.testing.assert_array_equal(one, array)
        pd.testing.assert_frame_equal(two, frame)
        assert three.equals(polars)
        assert four.equals(table)
        assert (five.mode, five.tobytes()) == (image.mode, image.tobytes())


def test_s4_1_values_come_back_in_another_process(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        """
import enum, sys
from dataclasses import dataclass
from decimal import Decimal
from kitaru import KitaruClient, checkpoint, flow
class Colour(enum.Enum):
    RED = 1
@dataclass
class Page:
    words: tuple
    colour: Colour
RAN = []
@checkpoint
def make():
    RAN.append(1)
    return {(1, "a"): Page(("x",), Colour.RED), "d": Decimal("1.0"), "s": frozenset({1})}
@flow
def agent():
    value = make()
    if len(sys.argv) == 1:
        raise ConnectionError
    return value
if __name__ == "__main__":
    client = KitaruClient()
    if len(sys.argv) == 1:
        try:
            agent.run(execution_id="one").wait(timeout=30)
        except Exception as error:
            print(type(error).__name__)
    else:
        print(client.executions.retry("one").wait(timeout=30), len(RAN))
""",
    )
    assert program.printed() == "KitaruUserCodeError"
    assert program.printed("again") == (
        "{(1, 'a'): Page(words=('x',), colour=<Colour.RED: 1>), 'd': Decimal('1.0'), 's': frozenset({1})} 0"
    )


# ── S4.2: refusals ───────────────────────────────────────────────────────────────────────────────


def deep_list() -> list[Any]:
    whole: list[Any] = []
    whole.append(whole)
    return whole


REFUSED: list[Any] = [
    pytest.param(threading.Lock, r"result cannot be recorded exactly: .*lock", id="lock"),
    pytest.param(lambda: {"items": [1, 2, 3, object()]}, r'result\["items"\]\[3\] cannot', id="in a list in a dict"),
    pytest.param(lambda: (1, {"a": (threading.Event(),)}), r'result\[1\]\["a"\]\[0\] cannot', id="in tuples"),
    pytest.param(lambda: Page("u", next=Page("v", words=(object(),))), r"result\.next\.words\[0\] cannot", id="fields"),
    pytest.param(lambda: {1: {2: object()}}, r"result\[1\]\[2\] cannot", id="in dicts with number keys"),
    pytest.param(lambda: Text("a str"), r"result cannot be recorded exactly: .*Text", id="a subclass of str"),
    pytest.param(lambda: (n for n in range(3)), r"result cannot be recorded exactly: .*generator", id="generator"),
    pytest.param(lambda: lambda: 1, r"result cannot be recorded exactly: the function", id="lambda"),
    pytest.param(deep_list, r"result\[0\].* contains itself", id="a list in itself"),
    pytest.param(lambda: np.array([object()]), r"result.* cannot be recorded exactly", id="an array of objects"),
    pytest.param(type("Local", (), {}), r"result cannot be recorded exactly: .*Local", id="an unknown class"),
]


@pytest.mark.parametrize("way", ["call", "submit", "await", "async submit"])
@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_s4_2_a_result_that_cannot_be_carried_is_refused_with_its_path(make: Any, message: str, way: str) -> None:
    ran: list[int] = []

    @checkpoint
    def work() -> Any:
        ran.append(1)
        return make()

    @checkpoint(name="work")
    async def awork() -> Any:
        ran.append(1)
        return make()

    @flow
    def agent() -> Any:
        return work() if way == "call" else work.submit().result()

    @flow
    async def async_agent() -> Any:
        return await (awork() if way == "await" else awork.submit())

    handle = (agent if way in ("call", "submit") else async_agent).run()
    error = failure_of(handle)
    assert isinstance(error.__cause__, KitaruSerializationError)
    assert re.search(message, str(error.__cause__)), str(error.__cause__)
    assert "the result of work" in str(error.__cause__)
    assert error.failure_origin == "runtime"
    call = record(handle).checkpoints[0]
    assert (call.status, call.output) == ("failed", None)
    failure_of(retry(handle))
    assert len(ran) == 2, "nothing was recorded that could stand for it"


def test_s4_2_the_body_may_catch_the_refusal_and_return_something_else() -> None:
    @checkpoint
    def work() -> Any:
        return {"client": threading.Lock()}

    @flow
    def agent() -> str:
        try:
            return work()["client"]
        except KitaruSerializationError as error:
            return str(error).partition(" cannot")[0]

    assert agent.run().wait(timeout=TIMEOUT) == 'the result of work: result["client"]'


def test_s4_2_a_flows_result_that_cannot_be_carried_is_refused_with_its_path() -> None:
    @flow
    def agent() -> Any:
        return [1, {"lock": threading.Lock()}]

    handle = agent.run()
    error = failure_of(handle)
    assert isinstance(error.__cause__, KitaruSerializationError)
    assert 'the result of flow agent: result[1]["lock"]' in str(error)
    assert record(handle).result is None


def test_s4_2_a_flows_argument_that_cannot_be_carried_is_refused_before_anything_is_recorded() -> None:
    @flow
    def agent(config: Any) -> None: ...

    with pytest.raises(KitaruSerializationError, match=r'argument config\["client"\]\[0\] cannot'):
        agent.run(config={"client": [threading.Lock()]})
    assert len(KitaruClient().executions.list()) == 0


def test_s4_2_logged_and_saved_values_are_refused_with_their_path() -> None:
    @checkpoint
    def work() -> list[str]:
        messages: list[str] = []
        for keep in (lambda: kitaru.log(cost=[object()]), lambda: kitaru.save("report", {"a": object()})):
            with pytest.raises(KitaruSerializationError) as caught:
                keep()
            messages.append(str(caught.value).partition(" cannot")[0])
        return messages

    @flow
    def agent() -> list[str]:
        return work()

    handle = agent.run()
    assert handle.wait(timeout=TIMEOUT) == ["metadata cost[0]", 'artifact report["a"]']
    assert record(handle).checkpoints[0].metadata == {}
    assert KitaruClient().artifacts.list(handle.exec_id) == ()


# ── S4.3: codecs of one's own ────────────────────────────────────────────────────────────────────


class Session:
    """No data class, so that nothing but its own codec can carry it."""

    def __init__(self, user: str, lock: Any = None) -> None:
        self.user = user
        self.lock = lock or threading.Lock()


def register_session() -> None:
    kitaru.register_codec(
        Session, name="s4.session", encode=lambda one: {"user": one.user}, decode=lambda one: Session(one["user"])
    )


def test_s4_3_a_registered_codec_carries_its_type_anywhere_inside_a_value() -> None:
    register_session()
    for back in there_and_back({"all": [Session("ann"), Session("bob")]}):
        assert [(type(one), one.user) for one in back["all"]] == [(Session, "ann"), (Session, "bob")]


def test_s4_3_an_input_with_a_codec_is_digested_by_what_the_codec_makes_of_it() -> None:
    register_session()
    ran: list[str] = []

    @checkpoint
    def work(session: Session) -> int:
        ran.append(session.user)
        return len(ran)

    @flow
    def agent(user: str) -> int:
        return work(Session(user))

    assert [agent.run(user).wait(timeout=TIMEOUT) for user in ("ann", "bob", "ann")] == [1, 2, 1]
