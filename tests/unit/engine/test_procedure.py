"""The call procedure, driven by hand: no thread, no store, no time."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from typing import Any

import pytest

from kitaru.core.mutations import ArtifactSaved, AttemptFailed, CallRecorded, CallStarted, MetadataLogged, Mutation
from kitaru.core.retry import Retry
from kitaru.core.rows import ArtifactRow, CachedOutput, MetadataRow
from kitaru.core.states import CallStatus
from kitaru.engine.binding import Binder
from kitaru.engine.call import Call
from kitaru.engine.definitions import CheckpointDefinition
from kitaru.engine.identity import Identity
from kitaru.engine.procedure import Attempt, Ended, Finished, LookUp, Pause, Write, call_procedure, timed_out
from kitaru.engine.run import Run
from kitaru.engine.signals import LeaseLost, StoreLost
from kitaru.errors import (
    FailureOrigin,
    KitaruContextError,
    KitaruNotFoundError,
    KitaruSerializationError,
    KitaruStoreError,
)
from kitaru.values import ValueCodec


class NoBlobs:
    def put(self, digest: str, data: bytes) -> None:
        raise KitaruStoreError("no room for blobs")

    def get(self, digest: str) -> bytes:
        raise KitaruNotFoundError(digest)


class World:
    """What the procedure needs of a run. It is also its clock and its ids."""

    def __init__(self) -> None:
        self.clock = self.ids = self
        self.values = ValueCodec(NoBlobs())
        self.cache = True
        self.failed = False
        self.signal: Any = None
        self.begun: list[str] = []
        self.time = 1_000

    def now(self) -> int:
        self.time += 1
        return self.time

    def random(self) -> float:
        return 0.5

    def uuid4(self) -> uuid.UUID:
        return uuid.UUID(int=0)

    def started(self, call: Call) -> None:
        self.begun.append(call.call_id)

    def check_lease(self) -> None:
        if self.signal is not None:
            raise self.signal

    needing_the_store = Run.needing_the_store

    def stop(self, signal: Any) -> None:
        self.signal = signal


def work(x: int) -> int:
    raise AssertionError("the procedure itself calls nothing")


class Drive:
    """A call on its way; ``expect`` sends an answer and returns the next effect."""

    def __init__(
        self, *, seen: bool = True, cache_key: str | None = None, ended_attempts: int = 0, **options: Any
    ) -> None:
        self.world = World()
        options.setdefault("retry", Retry(attempts=1))
        definition = CheckpointDefinition(
            name="work", fn=work, reference="m:work", binder=Binder(work, "work"), is_async=False, **options
        )
        self.call = Call(
            definition, (1,), {}, identity=Identity("work", "d", 1),
            inputs=self.world.values.encode_inputs({"x": 1}, allow_opaque=True), call_id="work", position=0,
            ended_attempts=ended_attempts, code_digest="code", cache_key=cache_key,
        )  # fmt: skip
        self._procedure: Generator[Any, Any, Finished] = call_procedure(
            self.world,
            self.call,
            seen_at_once=seen,  # type: ignore[arg-type]
        )
        self.finished: Finished | None = None

    def send(self, answer: Any = None) -> Any:
        try:
            return self._procedure.send(answer)
        except StopIteration as end:
            self.finished = end.value
            return None

    def attempt(self, answer: Any = None) -> Attempt:
        effect = self.send(answer)
        assert isinstance(effect, Attempt), effect
        return effect

    def end(self, answer: Any) -> Finished:
        assert self.send(answer) is None
        assert self.finished is not None
        return self.finished


def recorded(mutations: Any) -> CallRecorded:
    (one,) = [mutation for mutation in mutations if isinstance(mutation, CallRecorded)]
    return one


def kinds(mutations: Any) -> list[type[Mutation]]:
    return [type(mutation) for mutation in mutations]


def test_a_success_is_one_attempt_and_one_record() -> None:
    drive = Drive(label="tool_call")
    assert drive.attempt().scope.attempt == 1
    finished = drive.end(Ended({"a": 1}, None))
    assert (finished.value, finished.error) == ({"a": 1}, None)
    assert kinds(finished.mutations) == [CallRecorded]
    row = recorded(finished.mutations).row
    assert (row.call_id, row.status, row.attempt, row.output, row.failure, row.label) == (
        "work", CallStatus.COMPLETED, 1, '{"a":1}', None, "tool_call",
    )  # fmt: skip
    assert (row.name, row.input_digest, row.occurrence, row.inputs) == ("work", "d", 1, '{"x":1}')
    assert row.ended_at is not None
    assert row.started_at < row.ended_at
    assert drive.world.begun == ["work"]


def test_s3_5_a_hit_of_the_cache_is_recorded_with_its_source_and_runs_nothing() -> None:
    drive = Drive(cache_key="key")
    assert drive.send() == LookUp("key")
    finished = drive.end(CachedOutput("earlier", "work_3", "[1]"))
    assert finished.value == [1]
    row = recorded(finished.mutations).row
    assert (row.status, row.attempt, row.output) == (CallStatus.COMPLETED, 0, "[1]")
    assert (row.source_execution_id, row.source_call_id) == ("earlier", "work_3")
    assert drive.world.begun == []


def test_s3_5_a_miss_runs() -> None:
    drive = Drive(cache_key="key")
    assert drive.send() == LookUp("key")
    drive.attempt(None)


def test_s3_5_a_hit_that_cannot_be_decoded_any_more_runs() -> None:
    drive = Drive(cache_key="key")
    drive.send()
    drive.attempt(CachedOutput("earlier", "work", '{"$enum":["gone:Colour","RED"]}'))
    assert recorded(drive.end(Ended(2, None)).mutations).row.source_execution_id is None


@pytest.mark.parametrize("off", ["run", "call"])
def test_s3_5_where_the_cache_is_off_it_is_not_asked(off: str) -> None:
    drive = Drive(cache_key="key" if off == "run" else None)
    drive.world.cache = off != "run"
    drive.attempt()


def test_s2_4_a_failure_without_retries_is_recorded_with_its_attempt() -> None:
    drive = Drive()
    drive.attempt()
    error = ValueError("no")
    finished = drive.end(Ended(None, error))
    assert (finished.error, finished.origin) == (error, FailureOrigin.USER_CODE)
    assert kinds(finished.mutations) == [AttemptFailed, CallRecorded]
    row = recorded(finished.mutations).row
    assert (row.status, row.attempt, row.handled) == (CallStatus.FAILED, 1, True)
    assert row.failure is not None
    assert (row.failure.type, row.failure.message) == ("builtins:ValueError", "no")


def test_s3_2_a_failure_that_does_not_go_straight_to_the_body_is_recorded_as_unhandled() -> None:
    drive = Drive(seen=False)
    drive.attempt()
    assert recorded(drive.end(Ended(None, ValueError())).mutations).row.handled is False


def test_s2_4_each_failed_attempt_is_written_before_the_next_begins() -> None:
    drive = Drive(retry=Retry(attempts=3))
    for number in (1, 2):
        attempt = drive.attempt()
        assert attempt.scope.attempt == number
        write = drive.send(Ended(None, ValueError(f"time {number}")))
        assert isinstance(write, Write)
        failed, started = write.mutations
        assert isinstance(started, CallStarted)
        assert (started.row.status, started.row.attempt) == (CallStatus.RUNNING, number)
        assert isinstance(failed, AttemptFailed)
        assert (failed.row.number, failed.row.status) == (number, CallStatus.FAILED)
    assert drive.attempt().scope.attempt == 3
    assert recorded(drive.end(Ended("third", None)).mutations).row.attempt == 3


def test_s2_4_the_last_failure_ends_the_call() -> None:
    drive = Drive(retry=Retry(attempts=2))
    drive.attempt()
    assert isinstance(drive.send(Ended(None, ValueError("one"))), Write)
    drive.attempt()
    finished = drive.end(Ended(None, ValueError("two")))
    assert str(finished.error) == "two"
    assert recorded(finished.mutations).row.attempt == 2


def test_s2_4_the_pause_is_the_policys() -> None:
    drive = Drive(retry=Retry(attempts=4, delay=10, backoff=2, jitter=0.5))
    pauses: list[float] = []
    drive.attempt()
    for _ in range(3):
        assert isinstance(drive.send(Ended(None, ValueError())), Write)
        ended_at = drive.world.time
        pause = drive.send()
        assert isinstance(pause, Pause)
        pauses.append((pause.until - ended_at) / 1_000_000)
        drive.attempt()
    assert pauses == [7.5, 15, 30]


def test_s2_4_an_error_that_the_policy_gives_up_on_ends_the_call() -> None:
    drive = Drive(retry=Retry(attempts=5, give_up_on=KeyError))
    drive.attempt()
    assert isinstance(drive.end(Ended(None, KeyError("x"))).error, KeyError)


def test_s2_4_attempts_are_counted_on_from_an_earlier_run_but_the_policy_begins_anew() -> None:
    drive = Drive(retry=Retry(attempts=2), ended_attempts=7)
    assert drive.attempt().scope.attempt == 8
    assert isinstance(drive.send(Ended(None, ValueError())), Write)
    assert drive.attempt().scope.attempt == 9
    assert recorded(drive.end(Ended(None, ValueError())).mutations).row.attempt == 9


@pytest.mark.parametrize("when", ["during the attempt", "during the pause"])
def test_s2_5_nothing_begins_once_the_body_has_failed(when: str) -> None:
    drive = Drive(retry=Retry(attempts=100, delay=10), seen=False)
    drive.attempt()
    drive.world.failed = when == "during the attempt"
    ended = Ended(None, ValueError())
    if when == "during the pause":
        assert isinstance(drive.send(ended), Write)
        assert isinstance(drive.send(), Pause)
        drive.world.failed = True
        ended = None  # type: ignore[assignment]
    finished = drive.end(ended)
    row = recorded(finished.mutations).row
    assert (row.status, row.attempt, row.handled) == (CallStatus.FAILED, 1, False)


def test_s6_2_no_attempt_begins_once_the_lease_has_run_out() -> None:
    drive = Drive(retry=Retry(attempts=100))
    drive.attempt()
    assert isinstance(drive.send(Ended(None, ValueError())), Write)
    drive.world.signal = LeaseLost("meanwhile")
    with pytest.raises(LeaseLost):
        drive.send()
    assert drive.world.begun == ["work"]


def test_s2_6_a_timed_out_attempt_is_recorded_as_such_and_may_be_tried_again() -> None:
    drive = Drive(retry=Retry(attempts=2), timeout=3.0)
    drive.attempt()
    write = drive.send(timed_out(drive.call))
    assert [one.row.status for one in write.mutations if isinstance(one, AttemptFailed)] == [CallStatus.TIMED_OUT]
    drive.attempt()
    finished = drive.end(timed_out(drive.call))
    assert finished.origin is FailureOrigin.TIMEOUT
    assert str(finished.error) == "work took longer than 3 s"
    assert recorded(finished.mutations).row.status is CallStatus.TIMED_OUT


def test_s4_2_a_value_that_cannot_be_carried_fails_the_call_and_is_not_tried_again() -> None:
    drive = Drive(retry=Retry(attempts=9))
    drive.attempt()
    finished = drive.end(Ended([object()], None))
    assert isinstance(finished.error, KitaruSerializationError)
    assert "the result of work: result[0] cannot" in str(finished.error)
    assert (finished.value, finished.origin) == (None, FailureOrigin.RUNTIME)
    row = recorded(finished.mutations).row
    assert (row.status, row.output) == (CallStatus.FAILED, None)


def test_s4_4_no_room_for_a_large_value_stops_the_run_and_records_nothing() -> None:
    drive = Drive()
    drive.attempt()
    with pytest.raises(StoreLost):
        drive.send(Ended("x" * 100_000, None))
    assert isinstance(drive.world.signal, StoreLost)


def test_s3_3_on_drift_fail_waits_for_the_disk_before_its_effect() -> None:
    drive = Drive(on_drift="fail")
    assert drive.send() == Write(())
    drive.attempt()


def test_what_an_attempt_logged_and_saved_is_written_with_its_outcome_and_then_it_is_closed() -> None:
    drive = Drive(retry=Retry(attempts=2))
    logged = MetadataRow("work", "cost", "1", 1.0)
    saved = ArtifactRow("report", "work", "2", 5)
    first = drive.attempt()
    first.scope.log([logged])
    write = drive.send(Ended(None, ValueError()))
    assert kinds(write.mutations) == [MetadataLogged, AttemptFailed, CallStarted]
    for late in (lambda: first.scope.log([logged]), lambda: first.scope.save(saved)):
        with pytest.raises(KitaruContextError, match="timed out"):
            late()
    second = drive.attempt()
    second.scope.save(saved)
    assert kinds(drive.end(Ended(1, None)).mutations) == [ArtifactSaved, CallRecorded]
