"""Deleting what is old."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import click

from kitaru.cli import words
from kitaru.cli.arguments import Span
from kitaru.cli.output import Output, command
from kitaru.cli.terminal import Terminal
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.core.cleaned import Cleaned
from kitaru.core.states import FINISHED, Status

_FINISHED = [status.value for status in Status if status in FINISHED]


@command("clean")
@click.option("--older-than", type=Span(), help="Delete executions that ended longer ago: 30d, 12h. Default: none.")
@click.option("--status", "statuses", multiple=True, type=click.Choice(_FINISHED), help="Only those; repeatable.")
@click.option("--flow", help="Only those of this flow.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; say what would be.")
def clean(out: Output, older_than: timedelta | None, statuses: Sequence[str], flow: str | None, dry_run: bool) -> None:
    """Delete old executions, then what nothing needs: large values, processes that are gone, sources laid out here.

    It may be interrupted at any time, and runs beside everything else.
    """
    if older_than is None and (statuses or flow is not None):
        raise click.UsageError("--status and --flow choose among executions that --older-than names: give that too.")
    done = KitaruClient().clean(older_than=older_than, statuses=statuses or tuple(FINISHED), flow=flow, dry_run=dry_run)
    out.item(as_json(done), _told(out.terminal, done))


def _told(terminal: Terminal, done: Cleaned) -> Iterator[str]:
    parts = [
        f"{words.count(done.executions, 'execution')} with {words.count(done.rows, 'row')}",
        f"{words.count(done.blobs, 'large value')} of {done.bytes / 1e6:,.1f} MB",
        f"{words.count(done.runners, 'process')} that are gone",
        f"{words.count(done.snapshots, 'snapshot')} and {words.count(done.environments, 'environment')} here",
    ]
    yield f"{'would delete' if done.dry_run else 'deleted'} {', '.join(parts)}"
    if done.kept:
        yield terminal.paint(
            f"{words.count(done.kept, 'execution')} stay: another one that may go on needs them", "dim"
        )
    if done.blobs_kept is not None:
        yield terminal.paint(f"no large value was looked at: {done.blobs_kept}", "dim")
