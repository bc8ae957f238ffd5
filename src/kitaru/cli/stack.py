"""Stacks: named places where executions run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from kitaru.cli import words
from kitaru.cli.arguments import Option, StackName
from kitaru.cli.output import Output, command
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.core.stack import Stack


@command("list")
def list_(out: Output) -> None:
    """List the stacks; the active one is marked."""
    stacks = KitaruClient().stacks.list()
    out.items(as_json(stacks), _listed(out.terminal, stacks))


def _listed(terminal: Terminal, stacks: Sequence[Stack]) -> Iterator[str]:
    rows = [
        (terminal.paint("✓", "green") if one.active else " ", terminal.paint(one.name, "bold"), one.kind, _options(one))
        for one in stacks
    ]
    yield from words.table(terminal, ("", "name", "kind", "options"), rows)


def _options(stack: Stack) -> str:
    options: dict[str, object] = dict(stack.options)
    if stack.artifact_store is not None:
        options["artifact-store"] = stack.artifact_store
    return "  ".join(f"{printable(name)}={words.value(as_json(value))}" for name, value in options.items())


def _shown(terminal: Terminal, stack: Stack) -> Iterator[str]:
    yield f"{terminal.paint(stack.name, 'bold')}  {stack.kind}{'  active' if stack.active else ''}"
    if options := _options(stack):
        yield f"  {options}"


@command("show")
@click.argument("name", type=StackName())
def show(out: Output, name: str) -> None:
    """Show a stack."""
    stack = KitaruClient().stacks.get(name)
    out.item(as_json(stack), _shown(out.terminal, stack))


@command("current")
def current(out: Output) -> None:
    """Show the active stack: where executions run that nothing else gives a stack."""
    stack = KitaruClient().stacks.current()
    out.item(as_json(stack), _shown(out.terminal, stack))


@command("use")
@click.argument("name", type=StackName())
def use(out: Output, name: str) -> None:
    """Make a stack the active one."""
    stack = KitaruClient().stacks.use(name)
    out.item(as_json(stack), [f"{stack.name} is the active stack"])


@command("create")
@click.argument("name")
@click.option("--kind", default="process", show_default=True, help="What runs there: local, process ...")
@click.option("--option", "options", multiple=True, type=Option(), help="A setting of the kind; repeatable.")
@click.option("--artifact-store", help="Path or URL for large values.")
def create(out: Output, name: str, kind: str, options: Sequence[tuple[str, Any]], artifact_store: str | None) -> None:
    """Register a stack. It becomes the active one with `kitaru stack use`."""
    stack = KitaruClient().stacks.create(name, kind, artifact_store=artifact_store, options=dict(options))
    out.item(as_json(stack), _shown(out.terminal, stack))


@command("delete")
@click.argument("name", type=StackName())
def delete(out: Output, name: str) -> None:
    """Forget a stack that nothing needs any more."""
    KitaruClient().stacks.delete(name)
    out.item({"name": name, "deleted": True}, [f"deleted stack {name}"])
