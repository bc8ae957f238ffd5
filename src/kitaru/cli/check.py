"""The compatibility gate: what the code at hand would make of executions that have not ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import click

from kitaru.cli import words
from kitaru.cli.arguments import Target
from kitaru.cli.output import ERROR, OK, Output, command
from kitaru.cli.target import load_target, see_project
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.core.resume_plan import ResumePlan, Step, Verdict

_VERDICTS = {Verdict.RESUMES: "green", Verdict.RERUNS: "yellow", Verdict.FAILS: "red", Verdict.PINNED: "blue"}
_STEPS = {Step.REUSE: "green", Step.RUN: "cyan", Step.RERUN: "yellow", Step.LEFT: "dim"}


@command("check")
@click.argument("flow", type=Target())
@click.option(
    "--fail-on",
    type=click.Choice(["rerun", "drift"]),
    help="Exit code 1 where an execution would fail, or run recorded work again (rerun), or only where it would do so "
    "because an input differs from its record (drift).",
)
def check(out: Output, flow: str, fail_on: str | None) -> int:
    """Say what the code at hand would make of unfinished executions. No call runs.

    FLOW is file.py:flow or module:flow, or the name of a flow: then it is loaded from where its executions were
    started.
    """
    out.divert()
    see_project()
    checked = load_target(flow) if ":" in flow or flow.endswith(".py") else flow
    plans = KitaruClient().deployments.check(checked)
    out.items(as_json(plans), _told(out.terminal, plans))
    failing = [one for one in plans if fail_on is not None and _fails(one, fail_on)]
    if failing:
        out.tell(f"{words.count(len(failing), 'execution')} would not go on as recorded: {failing[0].exec_id} ...")
    return ERROR if failing else OK


def _fails(plan: ResumePlan, fail_on: str) -> bool:
    drifts = any(call.step is Step.RERUN for call in plan.calls)
    return plan.verdict is Verdict.FAILS or drifts or (fail_on == "rerun" and plan.verdict is Verdict.RERUNS)


def _told(terminal: Terminal, plans: Sequence[ResumePlan]) -> Iterator[str]:
    if not plans:
        yield "no execution of it is unfinished"
        return
    for plan in plans:
        yield from plan_lines(terminal, plan)
    counted = Counter(plan.verdict for plan in plans)
    yield ", ".join(f"{number:,} {terminal.paint(verdict, _VERDICTS[verdict])}" for verdict, number in counted.items())


def plan_lines(terminal: Terminal, plan: ResumePlan) -> Iterator[str]:
    """How an execution would go on: the verdict, and the calls that are not simply reused."""
    verdict = terminal.paint(plan.verdict, _VERDICTS[plan.verdict])
    yield f"{terminal.paint(plan.exec_id, 'bold')}  {words.status(terminal, plan.status)}  {verdict}"
    changed = " The code has changed since it was started." if plan.code_changed else ""
    yield f"  {printable(plan.reason)}{changed}"
    calls = [call for call in plan.calls if call.step is not Step.REUSE]
    if len(plan.calls) > len(calls):
        yield terminal.paint(f"  {words.count(len(plan.calls) - len(calls), 'recorded call')} reused", "dim")
    for call in calls:
        step = terminal.paint(call.step.value, _STEPS[call.step])
        yield f"  {step} {printable(call.call_id)}  {terminal.paint(printable(call.reason), 'dim')}"
