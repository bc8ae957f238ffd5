"""``kitaru.wait`` and its relatives (S5)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from kitaru.core.clock import Microseconds, to_microseconds
from kitaru.core.retry import is_number
from kitaru.engine.calling import Known
from kitaru.engine.context import body_run
from kitaru.engine.parking import Outcome, Parked
from kitaru.engine.run import Run
from kitaru.engine.waiting import (
    Asked,
    Question,
    Timer,
    answer_times,
    ask,
    ask_again,
    choose,
    chosen,
    conclude,
    ring,
    set_timer,
)
from kitaru.errors import KitaruUsageError, KitaruWaitAbortedError
from kitaru.sdk.schemas import AnswerType, answer_type

_UNSET: Any = object()
_LONGEST = 366 * 86_400 * 1_000
"""Seconds. What is due later than dates can tell, in the year 9999, could not be shown to anybody."""


def wait(
    name: str | None = None,
    *,
    question: str | None = None,
    schema: Any = None,
    timeout: float | timedelta | None = None,
    expires_in: float | timedelta | None = None,
    default: Any = _UNSET,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """Stop for a person: the answer, once somebody has given it (S5.1). ``await`` it in an async flow.

    The execution becomes ``waiting``, and costs nothing while it is. The answer is recorded once and
    reused like a checkpoint's result; the body runs again up to here when its process has gone.

    Args:
        name: Names the wait for whoever answers. Default: ``wait``.
        question: What to show them.
        schema: What the answer has to look like: a type, a Pydantic model, a dataclass, or a JSON
            schema as a dict. Default None: a gate that is continued (the wait returns True) or aborted.
        timeout: Seconds for which the body stays in memory while somebody is attached; 10 by default.
            Not an expiry: the execution goes on waiting.
        expires_in: Seconds, or a ``timedelta``, after which ``default`` is the answer.
        default: The answer of a wait that expires; of a gate too, say False.
        metadata: Shown beside the question; part of what is asked.

    Returns:
        The answer, as ``schema`` has it. In an async flow an awaitable of it.

    Raises:
        KitaruContextError: Called inside a checkpoint or outside a flow.
        KitaruUsageError: A wrong argument; nothing has been recorded.
        KitaruWaitAbortedError: Somebody aborted the wait.
    """
    run = body_run("kitaru.wait()")
    kind = answer_type(schema)
    asked = _question(
        run,
        name or "wait",
        kind,
        question=question,
        grace=None if timeout is None else _seconds(timeout, "timeout", least=0),
        expires_in=expires_in,
        default=default,
        metadata=metadata,
    )
    return _wait_async(run, asked, kind) if run.is_async else _wait_sync(run, asked, kind)


def wait_any(**waits: Mapping[str, Any] | None) -> Any:
    """Ask several questions at once; the first answer counts, and the others need none any more.

    Args:
        **waits: By name, the arguments of ``wait`` (``question``, ``schema``, ``expires_in``,
            ``default``, ``metadata``), or None.

    Returns:
        The name and the answer of the wait that counts, as a pair. In an async flow an awaitable of it.

    Raises:
        KitaruContextError, KitaruUsageError, KitaruWaitAbortedError: See ``wait``.
    """
    run = body_run("kitaru.wait_any()")
    if not waits:
        raise KitaruUsageError("kitaru.wait_any(): name at least one wait: wait_any(approval={...}, withdrawal={...}).")
    kinds: dict[str, AnswerType] = {}
    questions: list[Question] = []
    for name, options in waits.items():
        given = dict(options or {})
        unknown = set(given) - {"question", "schema", "expires_in", "default", "metadata"}
        if unknown:
            raise KitaruUsageError(f"kitaru.wait_any({name}=...): there is no option {min(unknown)!r}.")
        kinds[name] = answer_type(given.pop("schema", None))
        given.setdefault("default", _UNSET)
        questions.append(_question(run, name, kinds[name], grace=None, **given))
    return _any_async(run, questions, kinds) if run.is_async else _any_sync(run, questions, kinds)


def sleep(duration: float | timedelta) -> Any:
    """Let time pass, durably (S5.8): the execution waits, and goes on when the time has come, wherever it can.

    Args:
        duration: Seconds, or a ``timedelta``; 0 or more, a thousand years at most.

    Returns:
        None. In an async flow an awaitable of it.

    Raises:
        KitaruContextError, KitaruUsageError: See ``wait``.
    """
    run = body_run("kitaru.sleep()")
    seconds = _seconds(duration, "duration", least=0)
    return _sleep(run, {"seconds": seconds}, run.clock.now() + round(seconds * 1_000_000))


def sleep_until(time: datetime) -> Any:
    """Let time pass until then, durably; see ``sleep``.

    Args:
        time: Aware, that is with a time zone. A time that has passed is no wait.
    """
    run = body_run("kitaru.sleep_until()")
    if not isinstance(time, datetime) or time.tzinfo is None:  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(
            f"kitaru.sleep_until({time!r}): an aware datetime is expected: datetime(..., tzinfo=UTC)."
        )
    due_at = to_microseconds(time)
    if due_at > run.clock.now() + _LONGEST * 1_000_000:
        raise KitaruUsageError(f"kitaru.sleep_until({time!r}): a thousand years from now at most.")
    return _sleep(run, {"until": time}, due_at)


def _question(
    run: Run,
    name: str,
    kind: AnswerType,
    *,
    grace: float | None,
    question: str | None = None,
    expires_in: float | timedelta | None = None,
    default: Any = _UNSET,
    metadata: Mapping[str, Any] | None = None,
) -> Question:
    if not isinstance(name, str) or not name or name.startswith("kitaru."):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"kitaru.wait(name={name!r}): a name is expected that is not reserved ('kitaru.').")
    if question is not None and not isinstance(question, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"kitaru.wait({name!r}): question={question!r}: a string is expected.")
    if metadata is not None and not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"kitaru.wait({name!r}): metadata={metadata!r}: a mapping is expected.")
    if (expires_in is None) != (default is _UNSET):
        raise KitaruUsageError(f"kitaru.wait({name!r}): expires_in= and default= belong together; give both or none.")
    encoded = None
    if default is not _UNSET:
        try:
            kind.check(default)  # what would be refused as an answer is refused as a default
        except ValueError as error:
            raise KitaruUsageError(
                f"kitaru.wait({name!r}): default={default!r} does not fit schema=: {error}"
            ) from error
        encoded = run.values.encode(default, f"default of wait {name}")
    seconds = None if expires_in is None else _seconds(expires_in, "expires_in", least=0)
    shown = None if metadata is None else dict(metadata)
    return Question(name, question, kind.schema, shown, grace, seconds, encoded, kind.reference)


def _wait_sync(run: Run, question: Question, kind: AnswerType) -> Any:
    asked = ask(run, question)
    while True:
        found = asked if isinstance(asked, Known) else _outcome(run, asked, run.parking.wait(asked.parked))
        asked, value = _taken(run, question, found, kind)
        if asked is None:
            return value


async def _wait_async(run: Run, question: Question, kind: AnswerType) -> Any:
    from kitaru.engine.loop import park  # noqa: PLC0415  # here, because only async flows need asyncio

    asked = ask(run, question)
    while True:
        found = asked if isinstance(asked, Known) else _outcome(run, asked, await park(run, asked.parked))
        asked, value = _taken(run, question, found, kind)
        if asked is None:
            return value


def _outcome(run: Run, asked: Asked, outcome: Outcome) -> Known:
    return Known(asked.wait_id, conclude(run, asked.wait_id, outcome), None)


def _taken(run: Run, question: Question, found: Known, kind: AnswerType) -> tuple[Asked | None, Any]:
    """The value of an outcome; or the question, open again, where its type does not take it."""
    if found.error is not None:
        raise found.error
    try:
        return None, kind.restore(found.value)
    except ValueError as refused:  # Pydantic's errors are
        return ask_again(run, question, found.call_id, refused), None


class _Choice:
    """Several open waits of which one will count."""

    def __init__(self, run: Run, questions: list[Question], kinds: dict[str, AnswerType]) -> None:
        self.run = run
        self.kinds = kinds
        self.questions = {question.name: question for question in questions}
        self.asked = {question.name: ask(run, question) for question in questions}
        self.identity, self.position, self.recorded = choose(run, list(self.questions))

    def made(self) -> tuple[str, Any] | None:
        """The choice and its value, which may raise; None while no wait has an outcome that its type takes."""
        if self.recorded is not None and self.recorded.output is not None:
            winner = str(self.run.values.decode(self.recorded.output))
            found = self.asked[winner]
            if isinstance(found, Known):
                return winner, _restored(found, self.kinds[winner])
        for name, found in self._outcomes():
            again = value = None
            if found.error is None:
                again, value = _taken(self.run, self.questions[name], found, self.kinds[name])
            if again is not None:
                self.asked[name] = again
                continue
            self._choose(name)  # recorded first: an abort is raised again for whoever resumes
            if found.error is not None:
                raise found.error
            return name, value
        return None

    def _outcomes(self) -> list[tuple[str, Known]]:
        """Those that have one, the earliest first: all may have been answered before the body came back."""
        known = [(name, one) for name, one in self.asked.items() if isinstance(one, Known)]
        if len(known) > 1:
            answered_at = answer_times(self.run)
            known.sort(key=lambda one: answered_at.get(one[1].call_id, 0))
        return known

    def parked(self) -> Parked:
        """All of them at once."""
        due = [one.parked.due_at for one in self._open() if one.parked.due_at is not None]
        return Parked(wait_ids=tuple(one.wait_id for one in self._open()), due_at=min(due, default=None))

    def take(self, outcome: Outcome) -> None:
        """One has its outcome."""
        due_at = self.parked().due_at
        for name, one in self.asked.items():
            if not isinstance(one, Asked):
                continue
            # Due: the first that expires.
            if one.parked.due_at == due_at if isinstance(outcome, str) else one.wait_id == outcome.wait_id:
                try:
                    self.asked[name] = _outcome(self.run, one, outcome)
                except KitaruWaitAbortedError as error:
                    self.asked[name] = Known(one.wait_id, None, error)
                return
        raise AssertionError("an outcome belongs to one of the waits")

    def _open(self) -> list[Asked]:
        return [one for one in self.asked.values() if isinstance(one, Asked)]

    def _choose(self, winner: str) -> None:
        chosen(self.run, self.identity, self.position, winner, [one.wait_id for one in self._open()])


def _restored(known: Known, kind: AnswerType) -> Any:
    if known.error is not None:
        raise known.error
    return kind.restore(known.value)


def _any_sync(run: Run, questions: list[Question], kinds: dict[str, AnswerType]) -> tuple[str, Any]:
    choice = _Choice(run, questions, kinds)
    while (made := choice.made()) is None:
        choice.take(run.parking.wait(choice.parked()))
    return made


async def _any_async(run: Run, questions: list[Question], kinds: dict[str, AnswerType]) -> tuple[str, Any]:
    from kitaru.engine.loop import park  # noqa: PLC0415  # here, because only async flows need asyncio

    choice = _Choice(run, questions, kinds)
    while (made := choice.made()) is None:
        choice.take(await park(run, choice.parked()))
    return made


def _sleep(run: Run, inputs: dict[str, Any], due_at: Microseconds) -> Any:
    return _sleep_async(run, inputs, due_at) if run.is_async else _sleep_sync(run, inputs, due_at)


def _sleep_sync(run: Run, inputs: dict[str, Any], due_at: Microseconds) -> None:
    timer = set_timer(run, inputs, due_at)
    if timer is not None:
        run.parking.wait(timer.parked)
        ring(run, timer)


async def _sleep_async(run: Run, inputs: dict[str, Any], due_at: Microseconds) -> None:
    from kitaru.engine.loop import park  # noqa: PLC0415  # here, because only async flows need asyncio

    timer: Timer | None = set_timer(run, inputs, due_at)
    if timer is not None:
        await park(run, timer.parked)
        ring(run, timer)


def _seconds(value: float | timedelta, name: str, *, least: float) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds) or not least <= seconds <= _LONGEST:
        raise KitaruUsageError(
            f"{name}={value!r}: seconds, or a timedelta, are expected: {least} or more, a thousand years at most."
        )
    return float(seconds)
