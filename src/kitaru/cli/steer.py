"""Steering executions: retry, resume, replay, cancel, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kitaru.cli.arguments import ExecutionId, Json, Override, exec_id
from kitaru.cli.check import plan_lines
from kitaru.cli.output import OK, Output, command
from kitaru.cli.run import finish, waits
from kitaru.cli.target import see_project
from kitaru.cli.words import count
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient


@command("retry")
@exec_id()
@waits
def retry(out: Output, exec_id: str, wait: bool) -> int:
    """Run a failed execution again; recorded work is reused. It runs in this process."""
    see_project()
    client = KitaruClient()
    out.divert()
    after = _last_event(client, exec_id)
    return finish(out, client, client.executions.retry(exec_id), wait=wait, after=after)


@command("resume")
@exec_id()
@click.option("--dry-run", is_flag=True, help="Show what would be reused and what would run; start nothing.")
@waits
def resume(out: Output, exec_id: str, dry_run: bool, wait: bool) -> int:
    """Go on with an execution whose process has died, in this one. Where that lives, nothing happens."""
    see_project()
    client = KitaruClient()
    out.divert()
    plan = client.executions.resume(exec_id, dry_run=True) if dry_run or not out.json else None
    if dry_run and plan is not None:
        out.item(as_json(plan), plan_lines(out.terminal, plan))
        return OK
    if plan is not None and plan.code_changed:  # told before it goes on
        for line in plan_lines(out.beside, plan):
            out.tell(line)
    after = _last_event(client, exec_id)
    return finish(out, client, client.executions.resume(exec_id), wait=wait, after=after)


def _last_event(client: KitaruClient, exec_id: str) -> int:
    """What has happened so far is not told again."""
    return max((event.event_id for event in client.executions.events(exec_id)), default=0)


@command("replay")
@exec_id()
@click.option("--from", "from_", metavar="CALL", help="This call and all that came after it run again.")
@click.option(
    "--override",
    "overrides",
    multiple=True,
    type=Override(),
    help='What to change in a call: \'fetch={"output": 1}\', \'fetch_2={"input": {"url": "..."}}\', '
    '\'fetch={"code": "module:function"}\', \'wait.NAME={"output": true}\'; repeatable.',
)
@click.option("--input", "inputs", type=Json(must_be_object=True), help="Inputs of the flow that are to differ.")
@click.option("--reuse", type=click.Choice(["before", "unchanged"]), default="before", show_default=True,
              help="With --from: reuse nothing behind it, or what has the same inputs.")  # fmt: skip
@click.option("--id", "execution_id", help="An id of your own for the new execution.")
@click.option("--dry-run", is_flag=True, help="Show what would be reused and what would run; record nothing.")
@waits
def replay(
    out: Output, exec_id: str, overrides: Sequence[tuple[str, Any]], inputs: dict[str, Any] | None, dry_run: bool,
    wait: bool, **given: Any,
) -> int | None:  # fmt: skip
    """Make a new execution from a recorded one, with something changed, and run it in this process."""
    see_project()
    client = KitaruClient()
    changes = dict(overrides) or None
    if dry_run:
        plan = client.executions.replay(exec_id, overrides=changes, dry_run=True, **given, **(inputs or {}))
        out.item(as_json(plan), [str(plan)])
        return None
    out.divert()
    made = client.executions.replay(exec_id, overrides=changes, dry_run=False, **given, **(inputs or {}))
    return finish(out, client, made, wait=wait)


@command("cancel")
@exec_id()
def cancel(out: Output, exec_id: str) -> None:
    """Cancel an execution and its children."""
    executions = KitaruClient().executions
    executions.cancel(exec_id)
    execution = executions.get(exec_id)
    out.item(as_json(execution), [f"{execution.exec_id} of {execution.flow} is {execution.status}"])


@command("delete")
@click.argument("exec_ids", metavar="ID...", nargs=-1, required=True, type=ExecutionId())
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def delete(out: Output, exec_ids: Sequence[str], yes: bool) -> None:
    """Delete finished executions with everything that is recorded of them."""
    executions = KitaruClient().executions
    found = [executions.get(exec_id) for exec_id in exec_ids]  # all are there before the first is deleted
    ask = not yes and not out.json and out.beside.is_terminal
    if ask:
        click.confirm(f"Delete {count(len(found), 'execution')} for good?", abort=True, err=True)
    for one in found:
        executions.delete(one.exec_id)
    out.items([one.exec_id for one in found], [f"deleted {one.exec_id} of {one.flow}" for one in found])
