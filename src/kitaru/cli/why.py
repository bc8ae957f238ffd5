"""Why an execution stands still, and why a call ran or was reused."""

from __future__ import annotations

from collections.abc import Iterator

import click

from kitaru.cli import words
from kitaru.cli.arguments import exec_id
from kitaru.cli.output import Output, command
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.core.explanation import Explanation

_VALUE = 60


@command("why")
@exec_id()
@click.argument("call_id", metavar="[CALL]", required=False)
def why(out: Output, exec_id: str, call_id: str | None) -> None:
    """Say why an execution is not moving. With CALL, why that call ran or was reused."""
    _explain(out, exec_id, call_id)


@command("explain")
@exec_id()
@click.argument("call_id", metavar="[CALL]", required=False)
def explain(out: Output, exec_id: str, call_id: str | None) -> None:
    """Say why an execution is not moving. With CALL, why that call ran or was reused."""
    _explain(out, exec_id, call_id)


def _explain(out: Output, exec_id: str, call_id: str | None) -> None:
    found = KitaruClient().executions.explain(exec_id, call_id)
    out.item(as_json(found), _told(out.terminal, found))


def _told(terminal: Terminal, found: Explanation) -> Iterator[str]:
    call = f" {printable(found.call_id)}" if found.call_id else ""
    yield f"{terminal.paint(found.exec_id + call, 'bold')}  {words.status(terminal, found.status)}"
    for reason in found.reasons:
        yield from words.wrapped(terminal, reason.text)
        for change in reason.changes:
            was, now = (printable(side or "absent")[:_VALUE] for side in (change.recorded, change.given))
            yield f"    {printable(change.input)}: {terminal.paint(was, 'red')} → {terminal.paint(now, 'green')}"
