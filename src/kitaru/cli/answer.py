"""Answering the questions that executions wait for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from kitaru.cli.arguments import ExecutionId, Json, exec_id
from kitaru.cli.output import Output, command
from kitaru.cli.report import expects, question
from kitaru.cli.run import user_output
from kitaru.cli.target import see_project
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.client.handle import FlowHandle
from kitaru.core.states import WaitStatus
from kitaru.core.wait import Wait
from kitaru.errors import KitaruNotFoundError, KitaruStateError, KitaruWaitValidationError

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
        with user_output():
            _walk(out, client, exec_id, by)
        return
    if exec_id is None:
        raise click.UsageError("name the execution: kitaru executions input ID --value JSON; or use --interactive.")
    with user_output():
        client.executions.input(exec_id, value, wait=wait, by=by)
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
    with user_output():
        client.executions.abort_wait(exec_id, wait=wait, reason=reason, by=by)
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
        waits = tuple(wait for wait in client.executions.get(exec_id).waits if wait.status is WaitStatus.OPEN)
    return next((wait for wait in waits if (wait.exec_id, wait.wait_id) not in passed), None)


def ask(terminal: Terminal, client: KitaruClient, wait: Wait, *, by: str | None) -> bool:
    """Ask for one answer on the terminal, again until it fits; False where it was left open."""
    flow = client.executions.get(wait.exec_id).flow
    terminal.line()
    terminal.line(terminal.paint(f"{printable(flow)}  {wait.exec_id}", "dim"))
    for line in list(question(terminal, wait))[:-1]:
        terminal.line(line)
    keys = "y to continue, a to abort" if wait.schema is None else "a value, or !abort"
    terminal.line(terminal.paint(f"    {keys}; Enter alone leaves it open", "dim"))
    while True:
        text = click.prompt(terminal.paint("  >", "cyan"), default="", show_default=False, err=True, prompt_suffix=" ")
        if not text.strip():
            return False
        try:
            return _give(terminal, client, wait, text.strip(), by)
        except (ValueError, KitaruWaitValidationError) as error:
            terminal.line(f"  {terminal.paint(printable(str(error)), 'red')}")
        except (KitaruStateError, KitaruNotFoundError) as error:  # somebody was faster
            terminal.line(f"  {terminal.paint(printable(str(error)), 'yellow')}")
            return False


def _give(terminal: Terminal, client: KitaruClient, wait: Wait, text: str, by: str | None) -> bool:
    executions = client.executions
    aborts = text == "!abort" or (wait.schema is None and text.lower() in ("a", "abort", "n", "no"))
    if aborts:
        executions.abort_wait(wait.exec_id, wait=wait.wait_id, by=by)
    elif wait.schema is None and text.lower() not in ("y", "yes", "c", "continue"):
        raise ValueError("y or a is expected.")
    else:
        executions.input(wait.exec_id, read(text, wait.schema), wait=wait.wait_id, by=by)
    terminal.line(terminal.paint("  ✓ aborted" if aborts else "  ✓ answered", "green"))
    return True


def read(text: str, schema: Mapping[str, Any] | None) -> Any:
    """What was typed, as data: JSON, a word for yes or no, or where a text is expected the text itself."""
    if schema is None:
        return True
    kinds = schema.get("type")
    if kinds == "boolean" and text.lower() in ("y", "yes", "n", "no"):
        return text.lower().startswith("y")
    if kinds == "string" and not text.startswith('"'):
        return text
    try:
        return json.loads(text)
    except ValueError:
        choices = schema.get("enum", ())
        if text in choices:
            return text
        raise ValueError(f"that is no JSON, and {expects(schema)} is expected.") from None
