"""What the code at hand would make of an execution that has not ended (S8.2: the compatibility gate)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kitaru.core.states import Status
from kitaru.core.table import table


class Verdict(StrEnum):
    """How an execution would go on."""

    RESUMES = "resumes"
    """All that is recorded is reused, and it goes on where it stood."""
    RERUNS = "reruns"
    """It would run something before it came to all that is recorded."""
    FAILS = "fails"
    """The body would end with an exception, or cannot be loaded."""
    PINNED = "pinned"
    """It stays on its deployed version: the code at hand does not concern it (S8.4)."""


class Step(StrEnum):
    """What becomes of a call."""

    REUSE = "reuse"
    """Its record stands for it."""
    RUN = "run"
    """It runs, and had not been recorded."""
    RERUN = "rerun"
    """It runs although a record of its name is left over: its inputs differ."""
    LEFT = "left"
    """Recorded, and not asked for up to where the plan ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeStep:
    """One call, recorded or new.

    Attributes:
        call_id: Its id; for a call that would run, the id that it would get.
        name: What is called.
        step: What becomes of it.
        reason: Why, in plain words.
    """

    call_id: str
    name: str
    step: Step
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePlan:
    """What would happen if an execution went on with the code at hand; ``print`` shows it as a table.

    Found by running the body with every call answered from its record, up to the first one whose outcome it
    needs and that has none. No call runs, and nothing is written. What comes behind that point is not known.

    Attributes:
        exec_id: The execution.
        flow: Its flow.
        status: Its present status.
        verdict: How it would go on.
        reason: Why, in a sentence.
        code_changed: Whether the flow's code differs from what the execution was started with; None where
            that is not recorded.
        calls: The calls in the order in which the body makes them, then what is left over.
    """

    exec_id: str
    flow: str
    status: Status
    verdict: Verdict
    reason: str
    code_changed: bool | None
    calls: tuple[ResumeStep, ...]

    def __str__(self) -> str:
        head = f"{self.exec_id}, flow {self.flow}, {self.status}: {self.verdict}. {self.reason}"
        rows = [(call.call_id, call.step.value, call.reason) for call in self.calls]
        return f"{head}\n{table([('call', 'step', 'reason'), *rows])}" if rows else head
