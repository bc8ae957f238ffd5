"""The reference of all commands, from the commands themselves: ``python -m kitaru.cli.reference docs/cli.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from kitaru.cli.groups import COMMANDS, Entry, load

MARK = "<!-- What follows is made by: python -m kitaru.cli.reference docs/cli.md -->"


def reference() -> str:
    """The commands as Markdown: what each does, its arguments and its options."""
    return "\n".join(_commands("kitaru", COMMANDS)).strip() + "\n"


def _commands(path: str, entries: Mapping[str, Entry]) -> Iterator[str]:
    for name, entry in entries.items():
        if entry.commands is not None:
            yield from (f"### {path} {name}", "", entry.summary, "")
            yield from _commands(f"{path} {name}", entry.commands)
        else:
            yield from _command(f"{path} {name}", load(name, entry))


def _command(path: str, command: click.Command) -> Iterator[str]:
    ctx = click.Context(command, info_name=path)
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    usage = " ".join([path, *(one.make_metavar(ctx) for one in arguments)])
    options = [one for one in command.params if isinstance(one, click.Option) and one.name != "output"]
    text = " ".join(line for line in (command.help or "").replace("\n\n", " ").splitlines())
    yield from (f"#### {usage}", "", " ".join(text.split()), "")
    if options:
        yield from ("| Option | |", "|---|---|")
        yield from (f"| {_names(option, ctx)} | {_help(option)} |" for option in options)
        yield ""


def _names(option: click.Option, ctx: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {_escaped(option.make_metavar(ctx))}"


def _help(option: click.Option) -> str:
    shown = "" if not option.show_default or option.default is None else f" Default: `{option.default}`."
    return f"{_escaped(option.help or '')}{shown}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def with_reference(page: str) -> str:
    """A page with its reference made anew."""
    return f"{page.partition(MARK)[0]}{MARK}\n\n{reference()}"


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_reference(file.read_text(encoding="utf-8")), encoding="utf-8")
