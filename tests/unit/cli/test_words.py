"""Times, values and texts as people read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kitaru.cli import words
from kitaru.cli.calls import bar
from kitaru.cli.terminal import columns, cut, pad, printable, printable_lines

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.0004, "0 ms"),
        (0.34, "340 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (2.314, "2.31 s"),
        (9.999, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (250, "4 min 10 s"),
        (3599.7, "1 h"),
        (12_000, "3 h 20 min"),
        (190_000, "2 d 4 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("ago", "text"), [(0, "now"), (40, "40 s ago"), (150, "2 min ago"), (7300, "2 h ago"), (-150, "in 2 min")]
)
def test_times_near_now_are_told_from_now(ago: float, text: str) -> None:
    assert words.ago(NOW - timedelta(seconds=ago), NOW) == text


def test_times_far_from_now_are_dates() -> None:
    assert words.ago(NOW - timedelta(days=30), NOW).startswith("01 Apr ")
    assert words.ago(NOW - timedelta(days=400), NOW).endswith(" 2025")
    assert words.ago(None) == "-"


@pytest.mark.parametrize(
    "data",
    [
        {"a": list(range(60)), "b": [{"k": number, "v": "y" * 30} for number in range(4)], "c": []},
        [["a" * 50, "b" * 60], [1]],
        {"x": "y" * 200},
        [],
        None,
    ],
)
def test_a_result_over_several_lines_is_the_same_json(data: Any) -> None:
    text = words.result(data)
    assert json.loads(text) == data
    assert json.loads(words.on_a_line(data)) == data
    assert "\n" not in words.on_a_line(data)
    assert all(len(line) <= 92 or "y" * 200 in line for line in text.splitlines())


def test_columns_are_those_of_a_terminal() -> None:
    assert columns("\x1b[31mred\x1b[0m") == 3
    assert columns("日本") == 4
    assert columns("e\u0301") == 1
    assert cut("日本語", 5) == "日本…"
    assert cut("abc", 3) == "abc"
    assert pad("日本", 6) == "日本  "


def test_control_characters_are_taken_out() -> None:
    assert printable("a\x1b[2Jb\x1b]0;title\x07c\r\x00d\te\nf") == "abcd e f"
    assert printable_lines("  a\x1b[31m\n\tb") == "  a\n    b"


def test_bars_are_in_proportion_and_never_empty_for_what_took_time() -> None:
    assert bar(1, 1, 8) == "█" * 8
    assert bar(0.5, 1, 8) == "█" * 4
    assert bar(1 / 64, 1, 8) == "▏"
    assert bar(0.00001, 1, 8) == "▏"
    assert bar(0, 1) == bar(1, 0) == ""
    assert len(bar(5, 1, 8)) == 8


def test_counts() -> None:
    assert words.count(1, "execution") == "1 execution"
    assert words.count(12_000, "process") == "12,000 processes"
