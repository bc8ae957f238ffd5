"""S2.5: an exception is raised again with the same type, message and attributes. S4.1: it is a value too."""

from __future__ import annotations

import io
import json
import threading
import urllib.error
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pydantic
import pytest

from kitaru.core.failure import Failure
from kitaru.errors import FailureOrigin
from kitaru.values import ValueCodec
from tests.unit.values.samples import ApiError, Model, Moody, SlotError


def _again(values: ValueCodec, error: BaseException) -> Any:
    text = values.encode_exception(error)
    assert text is not None
    return values.decode_exception(_failure(text))


def _failure(text: str | None) -> Failure:
    return Failure(type="", message="", origin=FailureOrigin.USER_CODE, exception=text)


def _raised(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def _attributes(error: BaseException) -> dict[str, object]:
    names = (
        "errno",
        "strerror",
        "filename",
        "filename2",
        "characters_written",
        "value",
        "code",
        "name",
        "path",
        "msg",
        "lineno",
        "offset",
        "text",
        "encoding",
        "object",
        "start",
        "end",
        "reason",
        "slot",
        "detail",
        "doc",
        "pos",
    )
    return {name: getattr(error, name, None) for name in names}


def _with_slot() -> SlotError:
    error = SlotError("a")
    error.slot = 7
    return error


ERRORS = [
    _raised(lambda: 1 / 0),
    _raised(lambda: {}["k"]),
    _raised(lambda: Path("/nope/nope").read_text()),
    _raised(b"\xff".decode),
    _raised("\ud800".encode),
    _raised(lambda: json.loads("{")),
    _raised(lambda: __import__("no_such_module_at_all")),
    _raised(lambda: compile("(", "file", "exec")),
    _raised(lambda: None.missing),  # type: ignore[attr-defined]
    _raised(lambda: Model(a="x")),  # type: ignore[arg-type]
    _raised(lambda: Model(a=1000)),
    BlockingIOError(1, "x", 7),
    OSError("just a text"),
    OSError(2, "x", "from", None, "to"),
    StopIteration(5),
    SystemExit(3),
    KeyboardInterrupt(),
    ApiError(5, detail={"a": (1,)}),
    _with_slot(),
    TimeoutError("slow"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_s2_5_type_message_and_attributes_come_back(values: ValueCodec, error: BaseException) -> None:
    again = _again(values, error)
    assert type(again) is type(error)
    assert (str(again), again.args) == (str(error), error.args)
    assert _attributes(again) == _attributes(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_s4_1_as_a_value(values: ValueCodec, error: BaseException) -> None:
    again: Any = values.decode(values.encode({"error": [error]}, "result"))
    assert type(again["error"][0]) is type(error)
    assert str(again["error"][0]) == str(error)
    assert values.encode(again, "result") == values.encode({"error": [error]}, "result")


def test_s2_5_notes_and_the_cause_as_a_note(values: ValueCodec) -> None:
    error = ValueError("a")
    error.add_note("mine")
    error.__cause__ = KeyError("k")
    again = _again(values, error)
    assert again.__notes__ == ["mine", "Caused by KeyError: 'k'"]
    assert error.__notes__ == ["mine"]


def test_s4_1_a_cause_is_carried_with_a_value(values: ValueCodec) -> None:
    error = ValueError("a")
    error.__cause__ = ApiError(1)
    again: Any = values.decode(values.encode(error, "result"))
    assert (type(again.__cause__), again.__cause__.code) == (ApiError, 1)


def test_s2_5_what_cannot_be_carried_is_left_out_and_named(values: ValueCodec) -> None:
    error = ApiError(5, detail=io.BytesIO())
    again = _again(values, error)
    assert (again.code, hasattr(again, "detail")) == (5, False)
    assert again.__notes__ == ["Not recorded with this exception, since it cannot be carried exactly: detail."]


def test_s2_5_an_argument_that_cannot_be_carried_is_its_repr(values: ValueCodec) -> None:
    lock = threading.Lock()
    again = _again(values, ValueError("a", lock))
    assert again.args == ("a", repr(lock))
    assert "args[1]" in again.__notes__[0]


def test_s2_5_the_object_of_an_attribute_error_is_not_missed(values: ValueCodec) -> None:
    again = _again(values, _raised(lambda: threading.Lock().missing))  # type: ignore[attr-defined]
    assert not hasattr(again, "__notes__")
    assert again.name == "missing"


def test_s2_5_an_exception_that_holds_itself(values: ValueCodec) -> None:
    error = ApiError(5)
    error.detail = [error, error]
    again = _again(values, error)
    assert (again.code, hasattr(again, "detail")) == (5, False)
    assert "detail" in again.__notes__[0]


def test_s2_5_a_repr_that_raises(values: ValueCodec) -> None:
    class Bad:
        def __repr__(self) -> str:
            raise ValueError

    assert "Bad object at" in _again(values, ValueError(Bad())).args[0]


@pytest.mark.parametrize("body", [io.BytesIO(b"gone"), None], ids=["with a body", "without"])
def test_s2_5_an_exception_that_is_also_a_file(values: ValueCodec, body: io.BytesIO | None) -> None:
    again = _again(values, urllib.error.HTTPError("http://x", 404, "Not Found", Message(), body))
    assert (type(again), again.code, str(again)) == (urllib.error.HTTPError, 404, "HTTP Error 404: Not Found")


def test_s2_5_a_cause_whose_text_raises(values: ValueCodec) -> None:
    class Bad(Exception):
        def __str__(self) -> str:
            raise LookupError

    error = ValueError("a")
    error.__cause__ = Bad()
    assert "Caused by" in _again(values, error).__notes__[0]


def test_s2_5_an_attribute_that_raises_does_not_hide_the_failure(values: ValueCodec) -> None:
    again = _again(values, ValueError("a", Moody()))
    assert again.args[0] == "a"
    assert "args[1]" in again.__notes__[0]


def test_s2_5_groups(values: ValueCodec) -> None:
    group = ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [ApiError(2, detail=io.BytesIO())])])
    again = _again(values, group)
    assert type(again) is ExceptionGroup
    assert again.message == "g"
    inner = again.exceptions[1].exceptions[0]
    assert (again.exceptions[0].args, inner.code) == ((1,), 2)
    assert "detail" in inner.__notes__[0]


def test_s2_5_none_where_the_class_cannot_be_found(values: ValueCodec) -> None:
    class Local(Exception):
        pass

    assert values.encode_exception(Local()) is None
    assert values.encode_exception(ExceptionGroup("g", [Local()])) is None
    assert values.decode_exception(_failure(None)) is None
    assert values.decode_exception(_failure('{"$exception":["nowhere:Gone",[],{}]}')) is None
    assert values.decode_exception(_failure('{"$exception":["builtins:int",[],{}]}')) is None
    assert values.decode_exception(_failure("5")) is None


def test_s2_5_an_init_is_not_run(values: ValueCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    text = values.encode_exception(ApiError(5))
    monkeypatch.setattr(ApiError, "__init__", lambda self: pytest.fail("it ran"))
    assert str(values.decode_exception(_failure(text))) == "error 5"


def test_s2_5_the_lines_of_a_validation_error(values: ValueCodec) -> None:
    again = _again(values, _raised(lambda: Model(a="x")))  # type: ignore[arg-type]
    assert isinstance(again, pydantic.ValidationError)
    assert again.errors()[0]["loc"] == ("a",)
