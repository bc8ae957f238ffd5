"""Secrets. A value is never an argument, which other users of the machine and the shell's history would see."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from kitaru.cli import words
from kitaru.cli.arguments import SecretName
from kitaru.cli.output import Output, command
from kitaru.cli.terminal import Terminal
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.core.secret import Secret
from kitaru.errors import KitaruNotFoundError


@command("set")
@click.argument("name", type=SecretName())
@click.argument("value", nargs=-1, metavar="")
@click.option("--from-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Read the value from a file; one line end at its end is not part of it.")  # fmt: skip
def set_(out: Output, name: str, value: Sequence[str], from_file: Path | None) -> None:
    """Keep a secret, encrypted. Its value is asked for on a terminal, else read from stdin."""
    if value:  # an argument all the same, so that the message of a refusal does not repeat it
        raise click.UsageError(
            f"the value is no argument, which others could see; type it when asked, or: ... | kitaru secrets set {name}"
        )
    if from_file is not None:
        text = _without_line_end(from_file.read_text(encoding="utf-8"))
    elif sys.stdin.isatty():
        text = click.prompt(f"Value of {name}", hide_input=True, err=True)
    else:
        text = _without_line_end(sys.stdin.read())
    KitaruClient().secrets.set(name, text)
    out.item({"name": name}, [f"kept {name}"])


def _without_line_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


@command("list")
def list_(out: Output) -> None:
    """List the secrets of this project, without their values."""
    secrets = KitaruClient().secrets.list()
    out.items(as_json(secrets), _listed(out.terminal, secrets))


def _listed(terminal: Terminal, secrets: Sequence[Secret]) -> Iterator[str]:
    if not secrets:
        yield "no secrets"
        return
    rows = [(terminal.paint(one.name, "bold"), words.ago(one.changed_at)) for one in secrets]
    yield from words.table(terminal, ("name", "set"), rows)


@command("show")
@click.argument("name", type=SecretName())
@click.option("--reveal", is_flag=True, help="Show the value too.")
def show(out: Output, name: str, reveal: bool) -> None:
    """Show a secret: when it was set, and with --reveal its value."""
    secrets = KitaruClient().secrets
    value = secrets.get(name) if reveal else None
    found = next((one for one in secrets.list() if one.name == name), None)
    if found is None:
        secrets.get(name)  # says that there is none, with the nearest name
        raise KitaruNotFoundError(f"secret {name} has been deleted.")
    data = as_json(found) | ({} if value is None else {"value": value})
    out.item(data, [value if value is not None else f"{name}  set {words.ago(found.changed_at)}; --reveal shows it"])


@command("delete")
@click.argument("name", type=SecretName())
def delete(out: Output, name: str) -> None:
    """Delete a secret."""
    KitaruClient().secrets.delete(name)
    out.item({"name": name, "deleted": True}, [f"deleted {name}"])
