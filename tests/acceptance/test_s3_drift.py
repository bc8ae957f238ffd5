"""S3.3: no result for other inputs, and the report of what differs."""

from __future__ import annotations

from typing import Any

from kitaru import checkpoint, flow
from tests.acceptance.drifting import T1, T2, Twice, fetch
from tests.acceptance.runs import TIMEOUT, failure_of, record, retry


def test_s3_3_a_call_with_other_inputs_runs_and_the_report_says_which_input_changed_from_what_to_what() -> None:
    twice = Twice(lambda run: fetch("page", "monday" if run == 1 else "tuesday"))
    assert twice.drift() == [("fetch_2", "fetch", "at", "monday", "tuesday")]
    assert twice.handle.wait(timeout=TIMEOUT) == "page at tuesday"


def test_s3_3_a_timestamp_as_an_argument_is_found_in_the_report() -> None:
    twice = Twice(lambda run: fetch("page", T1 if run == 1 else T2))
    assert twice.drift() == [
        ("fetch_2", "fetch", "at", {"$datetime": T1.isoformat()}, {"$datetime": T2.isoformat()}),
    ]


def test_s3_3_the_report_names_every_input_that_changed_and_no_other() -> None:
    @checkpoint
    def call(model: str, prompt: str, limit: int, *rest: int, **options: Any) -> None: ...

    def body(run: int) -> None:
        if run == 1:
            call("m", "one", 5, 1, heat=0)
        else:
            call("m", "two", 5, 1, 2, heat=0, seed=1)

    assert [row[2:] for row in Twice(body).drift()] == [
        ("prompt", "one", "two"),
        ("rest", {"$tuple": [1]}, {"$tuple": [1, 2]}),
        ("options", {"heat": 0}, {"heat": 0, "seed": 1}),
    ]


def test_s3_3_a_parameter_that_is_new_or_gone_is_in_the_report() -> None:
    def body(run: int) -> None:
        if run == 1:

            @checkpoint(name="work")
            def first(a: int, old: int) -> None: ...

            first(1, old=2)
        else:

            @checkpoint(name="work")
            def second(a: int, new: int) -> None: ...

            second(1, new=3)

    assert [row[2:] for row in Twice(body).drift()] == [("old", 2, None), ("new", None, 3)]


def test_s3_3_a_new_call_is_no_drift_where_no_record_was_left_over() -> None:
    def body(run: int) -> list[str]:
        return [fetch(url) for url in ("a", "b", "c")[: 2 + (run > 1)]]

    assert Twice(body).drift() == []


def test_s3_3_a_call_that_is_gone_is_no_drift_by_itself() -> None:
    def body(run: int) -> list[str]:
        return [fetch(url) for url in ("a", "b", "c")[: 4 - run]]

    assert Twice(body).drift() == []


def test_s3_3_inserted_removed_and_reordered_calls_are_no_drift_while_each_finds_its_record() -> None:
    def body(run: int) -> list[str]:
        return [fetch(url) for url in ("abcd" if run == 1 else "dxcba")]

    assert Twice(body).drift() == []


def test_s3_3_a_record_that_is_left_over_counts_once() -> None:
    def body(run: int) -> None:
        fetch("first")
        for n in range(run):
            fetch(f"run {run} number {n}")

    assert Twice(body).drift() == [("fetch_3", "fetch_2", "url", "run 1 number 0", "run 2 number 0")]


def test_s3_3_each_of_several_changed_calls_is_reported() -> None:
    twice = Twice(lambda run: [fetch("a", run), fetch("b", run), fetch("c", 0)])
    assert twice.drift() == [("fetch_4", "fetch", "at", 1, 2), ("fetch_5", "fetch_2", "at", 1, 2)]


def test_s3_3_records_of_other_checkpoints_are_never_compared() -> None:
    @checkpoint
    def other(url: str) -> None: ...

    assert Twice(lambda run: fetch("a") if run == 1 else other("b")).drift() == []


def test_s3_3_a_failed_run_has_its_report_as_well() -> None:
    runs: list[int] = []

    @flow
    def agent() -> None:
        runs.append(1)
        fetch("page", len(runs))
        raise ConnectionError("always")

    handle = agent.run()
    failure_of(handle)
    assert record(handle).drift == ()
    failure_of(retry(handle))
    assert [(one.recorded, one.given) for one in record(handle).drift] == [("1", "2")]


def test_s3_3_the_report_is_about_the_last_run_alone() -> None:
    twice = Twice(lambda run: fetch("page", 0))
    assert twice.drift() == []


def test_s3_3_a_first_run_has_no_drift_however_many_calls_differ() -> None:
    @flow
    def agent() -> None:
        for n in range(3):
            fetch("page", n)

    handle = agent.run()
    handle.wait(timeout=TIMEOUT)
    assert record(handle).drift == ()


def test_s3_3_a_long_input_is_compared_by_its_content() -> None:
    long = "x" * 50_000
    (row,) = Twice(lambda run: fetch("page", long + str(run))).drift()
    assert row[2] == "at"
    assert row[3] != row[4]
