"""Answering the questions that executions wait for."""

from __future__ import annotations

from typing import Any

import click

from kitaru.cli.arguments import ExecutionId, Json, exec_id
from kitaru.cli.ask import ask
from kitaru.cli.calls import children_of
from kitaru.cli.output import Output, command
from kitaru.cli.report import open_questions
from kitaru.cli.target import see_project
from kitaru.cli.terminal import printable
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.client.handle import FlowHandle
from kitaru.core.wait import Wait

_ALL = 1000


@command("input")
@click.argument("exec_id", metavar="[ID]", type=ExecutionId(), required=False)
@click.option("--value", "-v", type=Json(), help="The answer as JSON; - reads stdin, @file a file. A gate needs none.")
@click.option("--wait", help="Which question, where several are open.")
@click.option("--by", help="Who answers. Default: you.")
@click.option("--interactive", is_flag=True, help="Ask here for every open question, of all executions or of ID.")
def input_(out: Output, exec_id: str | None, value: Any, wait: str | None, by: str | None, interactive: bool) -> None:
    """Answer a question that an execution waits for; the execution goes on by itself.

    Where no other process can go on with it, this one does, until it is finished or parked again.
    """
    see_project()
    client = KitaruClient()
    if interactive:
        out.divert()
        _walk(out, client, exec_id, by)
        return
    if exec_id is None:
        raise click.UsageError("name the execution: kitaru executions input ID --value JSON; or use --interactive.")
    out.divert()
    client.executions.input(exec_id, value, wait=wait, by=by, via="cli")
    _go_on(client, exec_id)
    _answered(out, client, exec_id)


@command("abort")
@exec_id()
@click.option("--wait", help="Which question, where several are open.")
@click.option("--reason", help="Why; the flow is told.")
@click.option("--by", help="Who aborts. Default: you.")
def abort(out: Output, exec_id: str, wait: str | None, reason: str | None, by: str | None) -> None:
    """Abort a question instead of answering it: the flow gets KitaruWaitAbortedError."""
    see_project()
    client = KitaruClient()
    out.divert()
    client.executions.abort_wait(exec_id, wait=wait, reason=reason, by=by, via="cli")
    _go_on(client, exec_id)
    _answered(out, client, exec_id)


def _go_on(client: KitaruClient, exec_id: str) -> FlowHandle[Any]:
    """Stay until this process has nothing to do for it."""
    handle = client.executions.handle(exec_id)
    handle.settle()
    return handle


def _answered(out: Output, client: KitaruClient, exec_id: str) -> None:
    execution = client.executions.get(exec_id)
    out.item(as_json(execution), [f"{execution.exec_id} of {printable(execution.flow)} is {execution.status}"])


def _walk(out: Output, client: KitaruClient, exec_id: str | None, by: str | None) -> None:
    """Ask for each open question, those that come up meanwhile too, until none is left."""
    answered: list[str] = []
    passed: set[tuple[str, str]] = set()
    while (wait := _next(client, exec_id, passed)) is not None:
        passed.add((wait.exec_id, wait.wait_id))
        if ask(out.beside, client, wait, by=by):
            answered.append(wait.exec_id)
            _go_on(client, wait.exec_id)
    told = f"{len(answered)} answered" if passed else "nothing is waiting for an answer"
    out.items(answered, [told])


def _next(client: KitaruClient, exec_id: str | None, passed: set[tuple[str, str]]) -> Wait | None:
    if exec_id is None:
        waits = client.executions.pending_waits(limit=_ALL)
    else:
        waits = tuple(open_questions(client.executions.get(exec_id), children_of(client)))
    return next((wait for wait in waits if (wait.exec_id, wait.wait_id) not in passed), None)
