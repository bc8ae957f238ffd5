"""What is kept of a stream of text: lines, unfinished lines, and no more than is good (S7.3)."""

from __future__ import annotations

import threading

import pytest

from kitaru.core.mutations import LinesPrinted, ProgressMade
from kitaru.core.rows import LogRow
from kitaru.engine.output import MOST_KEPT, ROW_COST, Output, taken
from tests.contract.stores import START, ManualClock


@pytest.fixture
def output() -> Output:
    return Output(ManualClock(), "step", 2)


def messages(output: Output, *, last: bool = False) -> list[str]:
    return [row.message for row in output.take(last=last)[0]]


@pytest.mark.parametrize(
    ("written", "lines", "left"),
    [
        (["a\n"], ["a"], []),
        (["a", "\n"], ["a"], []),
        (["a\nb\n\nc"], ["a", "b", ""], ["c"]),
        (["", "a", "", "b", "\n", ""], ["ab"], []),
        (["\n\n"], ["", ""], []),
        (["a\r\n", "b\r", "\n"], ["a", "b"], []),
        (["\r10%", "\r20%", "\r30%", "\n"], ["30%"], []),
        (["10%\r", "20%\r", "30%"], [], ["30%"]),
        (["a\r\n\r\n"], ["a", ""], []),
    ],
)
def test_text_becomes_lines_and_what_is_unfinished_is_kept_at_the_end(
    output: Output, written: list[str], lines: list[str], left: list[str]
) -> None:
    for text in written:
        output.printed("stdout", text)
    assert messages(output) == lines
    assert messages(output, last=True) == left


def test_the_two_streams_do_not_mix_within_a_line(output: Output) -> None:
    output.printed("stdout", "out ")
    output.printed("stderr", "err ")
    output.printed("stdout", "1\n")
    output.printed("stderr", "2\n")
    rows, _ = output.take(last=False)
    assert rows == [
        LogRow("step", 2, START, "stdout", None, "out 1"),
        LogRow("step", 2, START, "stderr", None, "err 2"),
    ]


def test_nothing_is_kept_after_the_end(output: Output) -> None:
    assert output.take(last=True) == ([], None)
    output.printed("stdout", "late\n")
    output.logged("INFO", "app", "late")
    output.told(ProgressMade("step", START, "late", None))
    assert output.take(last=True) == ([], None)


def kept(output: Output) -> list[str]:
    rows, _ = output.take(last=True)
    assert sum(len(row.message) + ROW_COST for row in rows[:-1]) <= MOST_KEPT + ROW_COST
    assert [(row.level, row.logger) for row in rows[-1:]] == [("WARNING", "kitaru")]
    assert "more than 1 MiB" in rows[-1].message
    return [row.message for row in rows[:-1]]


@pytest.mark.parametrize("text", ["x" * 99 + "\n", "\n", "x" * 100_000 + "\n", "y" * 70_000])
def test_a_loop_that_prints_is_cut_off_once_and_told_so(output: Output, text: str) -> None:
    written = 0
    while written < 3 * MOST_KEPT:
        output.printed("stdout", text)
        written += len(text) + (ROW_COST if text == "\n" else 0)
    output.logged("ERROR", "app", "more")
    lines = kept(output)
    assert "more" not in lines
    assert len(lines) <= MOST_KEPT // ROW_COST + 1


def test_one_text_that_is_too_long_is_cut(output: Output) -> None:
    output.printed("stdout", "x" * (5 * MOST_KEPT))
    (line,) = kept(output)
    assert MOST_KEPT - 2 * ROW_COST <= len(line) <= MOST_KEPT


def test_what_was_taken_meanwhile_counts_too(output: Output) -> None:
    total = 0
    for _ in range(40):
        output.printed("stdout", "x" * 100_000 + "\n")
        total += sum(map(len, messages(output)))
    assert total <= MOST_KEPT + 1000


def test_of_progress_between_two_takings_the_last_is_kept(output: Output) -> None:
    for percent in (1, 2, 3):
        output.told(ProgressMade("step", START, None, percent))
    assert output.take(last=False) == ([], ProgressMade("step", START, None, 3))
    assert output.take(last=False) == ([], None)


def test_the_lines_of_several_outputs_are_written_in_the_order_of_time() -> None:
    clock = ManualClock()
    first, second = Output(clock, "a", 1), Output(clock, "b", 1)
    for output, text in ((first, "1"), (second, "2"), (first, "3"), (second, "4")):
        output.printed("stdout", f"{text}\n")
        clock.pass_(1)
    (lines,) = taken([second, first], last=False)
    assert isinstance(lines, LinesPrinted)
    assert [(row.call_id, row.message) for row in lines.rows] == [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")]
    assert taken([first, second], last=True) == []


def test_code_that_prints_while_a_line_is_kept_does_not_lock_itself_out(output: Output) -> None:
    class Clock(ManualClock):
        """Prints when it is asked, as a finalizer of user code may at any moment."""

        def now(self) -> int:
            self.at += 1
            if self.at == START + 1:
                output.printed("stderr", "from a finalizer\n")
            return self.at

    output._clock = Clock()
    thread = threading.Thread(target=output.printed, args=("stdout", "line\n"), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert messages(output) == ["from a finalizer", "line"]
