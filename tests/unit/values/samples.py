"""One value, at least, of every type that S4.1 names, and the classes for them."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID
from zoneinfo import ZoneInfo

import attr
import attrs
import pydantic

T = typing.TypeVar("T")


class Color(enum.Enum):
    RED = 1
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    A = "a"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    ONE = 1


@dataclasses.dataclass
class Note:
    text: str
    meta: object = None
    seen: list[int] = dataclasses.field(default_factory=list, init=False)

    @cached_property
    def shout(self) -> str:
        return self.text.upper()


@dataclasses.dataclass
class LongNote(Note):
    more: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    label: tuple[str, ...] = ()


@dataclasses.dataclass
class Holder(typing.Generic[T]):
    held: T


class Pair(typing.NamedTuple):
    left: int
    right: str = "r"


OldPair = namedtuple("OldPair", "left right")


@attrs.define
class Job:
    name: str
    _secret: str = "s"
    parts: list[int] = attrs.Factory(list)


@attrs.frozen(cache_hash=True)
class Key:
    name: str


@attr.s(auto_attribs=True)
class OldJob:
    name: str
    __hidden: int = 3


class Model(pydantic.BaseModel):
    a: int
    inner: Model | None = None
    link: pydantic.HttpUrl | None = None
    _private: int = pydantic.PrivateAttr(default=4)

    @pydantic.field_validator("a")
    @classmethod
    def grows(cls, value: int) -> int:
        if value > 100:
            raise ValueError("too {big}")
        return value + 1  # not the same when it is validated again


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    a: tuple[int, ...] = ()


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Box(pydantic.BaseModel, typing.Generic[T]):
    content: T


class ApiError(Exception):
    def __init__(self, code: int, *, detail: object = None) -> None:
        super().__init__(f"error {code}")
        self.code = code
        self.detail = detail


@dataclasses.dataclass
class Moody:
    """Its state cannot be read."""

    @property
    def __dict__(self) -> dict[str, object]:  # type: ignore[override]
        raise LookupError("not today")


class SlotError(Exception):
    __slots__ = ("slot",)


def function() -> None:
    """A function at the top of a module."""


def _touched() -> Note:
    note = Note("a")
    assert note.shout == "A"  # the cache is filled now
    return note


def _hashed() -> Key:
    key = Key("k")
    hash(key)
    return key


BERLIN = ZoneInfo("Europe/Berlin")

VALUES: list[object] = [
    # the language
    None,
    True,
    False,
    0,
    -1,
    2**64,
    -(10**616),
    10**617,
    10**5000,
    -(10**700),
    0.0,
    -0.0,
    1.5,
    1e308,
    float("inf"),
    float("-inf"),
    complex(0.0, -0.0),
    complex(1, float("inf")),
    "",
    "a",
    "é",
    '\0\n"\\',
    "$tuple",
    "\ud800",
    "\ud800\udc00",
    ["\udc00\ud800", "fine"],
    {"\ud800": 1},
    b"",
    b"\0\xff",
    bytearray(b"ab"),
    range(3),
    range(1, 10**700, 3),
    [],
    [1, [2, []]],
    (),
    (1, (2,)),
    {},
    {"": 1},
    {"a": {"b": [1]}},
    {1: "int", "1": "str", None: 0, (1, 2): 3, 1.5: 4, Color.RED: 5, frozenset([1]): 6},
    {"$dict": 1},
    {"$tuple": [1]},
    {"$blob": {}},
    {"$": 0, "b": 1},
    set(),
    {1, "1", 2.5, None, (3,)},
    frozenset([frozenset(), 1]),
    # large ones
    "x" * 16384,
    "x" * 16385,
    "é" * 20000,
    "\ud800" * 20000,
    b"y" * 20000,
    bytearray(b"z" * 20000),
    list(range(9000)),
    {str(n): n for n in range(3000, 0, -1)},
    ["é" * 9000],
    {"deep": [b"q" * 17000, "w" * 17000]},
    {n: (n,) for n in range(3000)},
    # the standard library
    datetime(2024, 1, 2),
    datetime(2024, 10, 27, 2, 30, fold=1),
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "X")),
    datetime(2024, 1, 1, 1, 2, 3, 4, tzinfo=timezone(timedelta(seconds=-3661, microseconds=5))),
    datetime.max,
    datetime.min,
    date(1, 2, 3),
    time(1, 2, 3, 4, fold=1),
    time(1, tzinfo=UTC),
    time(2, tzinfo=BERLIN),
    timedelta(-1, 5, 7),
    UTC,
    BERLIN,
    Decimal("1.10"),
    Decimal("-0"),
    Decimal("Infinity"),
    UUID(int=5),
    Fraction(10**700, 3),
    Path("a/b"),
    Path("a\udcff"),
    PurePosixPath("/x"),
    PureWindowsPath("c:\\x"),
    OrderedDict([("b", 1), ("a", 2)]),
    OrderedDict([(1, 2)]),
    defaultdict(list, {"a": [1]}),
    defaultdict(None, {1: 2}),
    Counter("abca"),
    Counter({1: -1}),
    deque([1, 2], maxlen=3),
    deque(),
    # classes and their instances
    Color.RED,
    Color.BLUE,
    Level.LOW,
    Word.A,
    Access.READ | Access.WRITE,
    Access(0),
    Bits(9),
    Note("a", {"k": (2,)}),
    _touched(),
    LongNote("a", more="b"),
    Point(1, ("x",)),
    Holder[int](3),
    Holder(Point(1)),
    Pair(1),
    OldPair(1, [2]),
    Job("j", "t", [1]),
    Key("k"),
    _hashed(),
    OldJob("o"),
    Model(a=1, inner=Model(a=2), link="https://x.example/y"),
    Model.model_construct(a=500),
    Open(a=(1,), extra={"$x": (1,)}),
    Numbers([1]),
    Box[int](content=1),
    Box[list[int]](content=[1]),
    Box[int | None](content=None),
    Box[typing.Optional[int]](content=1),  # noqa: UP045  # Pydantic makes another class of it
    Box[Box[str]](content=Box[str](content="x")),
    Box[typing.Literal["a"]](content="a"),
    Box[tuple[int, ...]](content=(1,)),
    Box[typing.Any](content={1}),
    Box(content=1),
    int,
    Color,
    Point,
    Model,
    function,
    len,
]
