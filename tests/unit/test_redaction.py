"""How the value of a secret is found, whatever it is written as."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable, Iterator

import pytest

from kitaru.core import redaction
from kitaru.core.redaction import Redaction

PASSWORD = 'pä"ss\\w/ord+1?\t x'
PLAIN = "sk-live-51HxQz9"


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    yield
    redaction.forget()


def _basic(before: int) -> Callable[[str], str]:
    return lambda value: base64.b64encode(b"u" * before + value.encode() + b"z").decode()


WAYS: dict[str, Callable[[str], str]] = {
    "as it is": lambda value: value,
    "in a sentence": lambda value: f"the key is {value}, is it?",
    "json": json.dumps,
    "json in unicode": lambda value: json.dumps({"a": value}, ensure_ascii=False),
    "repr": repr,
    "url": lambda value: f"https://example.com/?key={urllib.parse.quote(value, safe='')}&page=1",
    "base64": _basic(0),
    "base64 behind one byte": _basic(1),
    "base64 behind two bytes": _basic(2),
    "base64 behind three bytes": _basic(3),
    "base64 for urls": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
}


@pytest.mark.parametrize("value", [PASSWORD, PLAIN])
@pytest.mark.parametrize("way", WAYS)
def test_a_value_is_found_in_each_way_of_writing_it(way: str, value: str) -> None:
    written = WAYS[way](value)
    known = Redaction({value: "TOKEN"})
    assert known.names_in(written) == {"TOKEN"}
    assert known.names_in_bytes(written.encode()) == {"TOKEN"}
    redacted = known.redact(written)
    assert "***TOKEN***" in redacted
    assert not known.names_in(redacted)
    assert known.redact_bytes(written.encode()) == redacted.encode()


def test_what_holds_no_secret_stays_the_same_object() -> None:
    known = Redaction({PLAIN: "TOKEN"})
    text, data = "sk-live-51HxQz", bytes(range(256))
    assert known.redact(text) is text
    assert known.redact_bytes(data) is data


def test_bytes_around_a_secret_stay_whatever_they_are() -> None:
    around = bytes(range(256))
    known = Redaction({PLAIN: "TOKEN"})
    assert known.redact_bytes(around + PLAIN.encode() + around) == around + b"***TOKEN***" + around


def test_each_line_of_a_long_secret_is_found_as_output_is_kept_by_the_line() -> None:
    key = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nq\n-----END KEY-----\n"
    known = Redaction({key: "PEM"})
    assert known.redact("> MIIEpAIBAAKCAQEA <") == "> ***PEM*** <"
    assert known.redact(key.strip()) == "***PEM***"
    assert known.redact("a q in a word") == "a q in a word"  # a line of one character is no secret


def test_of_two_secrets_that_begin_alike_the_longer_one_is_replaced() -> None:
    known = Redaction({"abcdef": "SHORT", "abcdefgh": "LONG"})
    assert known.redact("abcdefgh abcdef") == "***LONG*** ***SHORT***"


def test_a_former_value_is_still_redacted() -> None:
    redaction.know("TOKEN", "the-first-value")
    redaction.know("TOKEN", "the-second-value")
    assert redaction.redact("the-first-value the-second-value") == "***TOKEN*** ***TOKEN***"


def test_nothing_is_known_until_a_secret_is_read() -> None:
    assert redaction.present is None
    assert redaction.redact(PLAIN) == PLAIN
    redaction.know("TOKEN", PLAIN)
    assert redaction.redact(PLAIN) == "***TOKEN***"


def test_what_an_image_put_into_the_environment_counts_as_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", PLAIN)
    monkeypatch.setenv("TINY", "x")
    redaction.know_environment(None)
    redaction.know_environment('{"base_image": "python:3.12"}')
    assert redaction.present is None
    redaction.know_environment('{"secret_environment_from": ["TOKEN", "TINY", "ABSENT"]}')
    assert redaction.redact(f"{PLAIN} x") == "***TOKEN*** x"
