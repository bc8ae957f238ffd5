"""Looking at executions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import click

from kitaru.cli import words
from kitaru.cli.arguments import ExecutionId, Number, Time, exec_id
from kitaru.cli.calls import children_of, told
from kitaru.cli.output import Output, command
from kitaru.cli.report import report
from kitaru.cli.terminal import Terminal, printable, printable_lines
from kitaru.client.as_json import as_json, execution_as_json
from kitaru.client.client import KitaruClient
from kitaru.core.event import Event, EventKind
from kitaru.core.execution import Execution
from kitaru.core.log_entry import LogEntry
from kitaru.core.states import Status
from kitaru.core.statistics import ExecutionStatistics
from kitaru.errors import KitaruNotFoundError

_CALLS = 10
_FAILURE = frozenset({"type", "message", "origin"})
_LEVEL_COLOURS = {"stderr": "yellow", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


def chooses(function: Any) -> Any:
    """The options that choose executions."""
    for option in reversed(
        (
            click.option("--flow", help="Only those of this flow."),
            click.option(
                "--status",
                multiple=True,
                type=click.Choice([status.value for status in Status]),
                help="Only those with this status; repeatable.",
            ),
            click.option("--stack", help="Only those on this stack."),
            click.option("--tag", help="Only those with this tag."),
            click.option("--since", "created_after", type=Time(), help="Created since then: 2h, 2026-05-01."),
            click.option("--until", "created_before", type=Time(), help="Created before this time."),
        )
    ):
        function = option(function)
    return function


@command("list")
@chooses
@click.option("--parent", "parent_id", type=ExecutionId(), help="Only children of this execution.")
@click.option("--replays-of", "original_exec_id", type=ExecutionId(), help="Only replays of this execution.")
@click.option("--limit", type=Number(1, 1000), default=20, show_default=True, help="How many at most.")
@click.option("--after", help="Go on behind this id: `next` of the page before.")
def list_(out: Output, status: Sequence[str], **given: Any) -> None:
    """List executions, newest first."""
    executions = KitaruClient().executions
    page = executions.list(status=status or None, **given)
    for option in ("flow", "stack", "tag") if not page.items else ():
        names = [str(one.group[option]) for one in executions.statistics(group_by=option)] if given[option] else []
        if given[option] not in names and (near := get_close_matches(given[option] or "", names, 1)):
            out.tell(f"Did you mean --{option} {near[0]}?")
    out.items([as_json(one) for one in page], _listed(out.terminal, page.items, page.next), next=page.next)


def _listed(terminal: Terminal, executions: Sequence[Execution], more: str | None) -> Iterator[str]:
    if not executions:
        yield "no executions"
        return
    yield from execution_table(terminal, executions)
    if more is not None:
        yield terminal.paint(f"there are more: --after {more}", "dim")


def execution_table(terminal: Terminal, executions: Sequence[Execution]) -> Iterator[str]:
    """Executions, a line each."""
    rows = [
        (
            one.exec_id,
            terminal.paint(printable(one.flow), "bold"),
            words.status(terminal, one.status),
            words.ago(one.created_at),
            words.duration(_lasted(one)),
            _remark(one),
        )
        for one in executions
    ]
    yield from words.table(terminal, ("id", "flow", "status", "created", "took", ""), rows, right=(4,))


def _lasted(one: Execution) -> float | None:
    if one.started_at is None or one.ended_at is None:
        return None
    return (one.ended_at - one.started_at).total_seconds()


def _remark(one: Execution) -> str:
    if one.failure is not None and one.status is Status.FAILED:
        return told(one.failure)
    child = [f"child of {one.parent_id}"] if one.parent_id else []
    return ", ".join([*child, *map(printable, one.tags)])


@command("get")
@exec_id()
@click.option("--all", "every", is_flag=True, help="Show every call of a large fan-out.")
def get(out: Output, exec_id: str, every: bool) -> None:
    """Show an execution: its calls as a tree, with their durations."""
    client = KitaruClient()
    execution = client.executions.get(exec_id)
    data = execution_as_json(execution) if out.json else None
    out.item(data, report(out.terminal, execution, children_of(client), every=every))


@command("logs")
@exec_id()
@click.option("--call", "call_id", help="Only those of this call.")
@click.option("--follow", "-f", is_flag=True, help="Go on with lines as they come, until it is finished.")
@click.option("--after", type=Number(0), default=0, help="Only what comes behind this log_id.")
def logs(out: Output, exec_id: str, call_id: str | None, follow: bool, after: int) -> None:
    """Show what an execution printed and logged."""
    executions = KitaruClient().executions
    if call_id is not None:
        _check_call(executions.get(exec_id), call_id)
    entries = executions.logs(exec_id, call_id=call_id, after=after, follow=follow)
    if follow:
        for entry in entries:
            out.each(as_json(entry), log_line(out.terminal, entry))
    elif out.json:
        out.items([as_json(entry) for entry in entries], ())
    else:
        out.items((), (log_line(out.terminal, entry) for entry in entries))


def _check_call(execution: Execution, call_id: str) -> None:
    calls = [call.call_id for call in execution.checkpoints]
    if call_id not in calls and execution.status.finished:  # else it may come
        near = get_close_matches(call_id, calls, 2)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(calls[:_CALLS]) or 'none'}."
        raise KitaruNotFoundError(f"execution {execution.exec_id} has no call {call_id!r}. {hint}")


def log_line(terminal: Terminal, entry: LogEntry) -> str:
    """A log line with its time and its call."""
    at = terminal.paint(f"{entry.at.astimezone():%H:%M:%S}", "dim")
    who = terminal.paint(printable(entry.call_id or "body"), "blue")
    colour = _LEVEL_COLOURS.get(entry.level)
    level = "" if entry.level in ("stdout", "stderr") else f"{entry.level} "
    message = f"{level}{printable(entry.message)}"
    return f"{at} {who}  {terminal.paint(message, colour) if colour else message}"


@command("events")
@exec_id()
@click.option("--follow", "-f", is_flag=True, help="Go on with events as they come, until it is finished.")
@click.option("--after", type=Number(0), default=0, help="Only what comes behind this event_id.")
def events(out: Output, exec_id: str, follow: bool, after: int) -> None:
    """Show what happened in an execution."""
    found = KitaruClient().executions.events(exec_id, after=after, follow=follow)
    if follow:
        for event in found:
            out.each(as_json(event), event_line(out.terminal, event))
    elif out.json:
        out.items([as_json(event) for event in found], ())
    else:
        out.items((), (event_line(out.terminal, event) for event in found))


def event_line(terminal: Terminal, event: Event) -> str:
    """An event with its time and its call."""
    at = terminal.paint(f"{event.at.astimezone():%H:%M:%S}", "dim")
    ends = event.kind.value.rpartition(".")[2]
    colour = words.STATUS_COLOURS.get(ends, "dim")
    detail = progress_told(event) if event.kind is EventKind.PROGRESS else _detail(event.detail)
    who = f"  {printable(event.call_id)}" if event.call_id else ""
    return f"{at} {terminal.paint(event.kind.value, colour)}{who}  {terminal.paint(detail, 'dim')}".rstrip()


def _detail(given: Mapping[str, Any]) -> str:
    """What an event tells beside its kind; a failure as people write one."""
    failed = given.keys() >= _FAILURE
    parts = [words.failure(given["type"], given["message"])] if failed else []
    rest = {key: value for key, value in given.items() if value is not None and not (failed and key in _FAILURE)}
    return "  ".join([*parts, *(f"{key}={words.value(value)}" for key, value in rest.items())])


def progress_told(event: Event) -> str:
    """What ``kitaru.progress`` has told, on one line."""
    message, percent = event.detail.get("message"), event.detail.get("percent")
    part = "" if percent is None else f" {percent:.0f} %"
    return f"{printable(str(message or ''))}{part}".strip()


@command("diff")
@exec_id("a")
@exec_id("b")
def diff(out: Output, a: str, b: str) -> None:
    """Compare two executions of a flow, call by call: what was reused, changed, added, removed."""
    found = KitaruClient().executions.diff(a, b)
    out.item(as_json(found) if out.json else None, [printable_lines(str(found))])


@command("statistics")
@chooses
@click.option("--by", "group_by", multiple=True, help="status, flow, stack, tag, day, hour, metadata.KEY; repeatable.")
@click.option("--metric", "metrics", multiple=True, help="count, duration.p95, metadata.cost.sum ...; repeatable.")
def statistics(
    out: Output, group_by: Sequence[str], metrics: Sequence[str], status: Sequence[str], **given: Any
) -> None:
    """Show figures over many executions."""
    found = KitaruClient().executions.statistics(
        group_by=group_by or None, metrics=metrics or ("count",), status=status or None, **given
    )
    out.items([as_json(one) for one in found], _figures(out.terminal, found))


def _figures(terminal: Terminal, found: Sequence[ExecutionStatistics]) -> Iterator[str]:
    if not found:
        yield "no executions"
        return
    heads = [*found[0].group, *found[0].metrics]
    rows = [[*map(_group, one.group.values()), *map(_figure, one.metrics.values())] for one in found]
    yield from words.table(terminal, heads, rows, right=range(len(found[0].group), len(heads)))


def _group(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    return "-" if value is None else printable(str(value))


def _figure(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.3f}"
