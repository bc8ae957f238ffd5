"""The tree of commands. A command's module is loaded when it is called, so that ``--help`` is instant."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

import click


class Entry(NamedTuple):
    """A command: what it does, in one line, and where it is; or a group of commands, with those in it."""

    summary: str
    home: str = ""
    commands: Mapping[str, Entry] | None = None


_LOOK = "kitaru.cli.look"
_STEER = "kitaru.cli.steer"

EXECUTIONS: Mapping[str, Entry] = {
    "list": Entry("List executions, newest first.", f"{_LOOK}:list_"),
    "get": Entry("Show an execution: its calls as a tree, with their durations.", f"{_LOOK}:get"),
    "watch": Entry("Watch an execution live until it is finished.", "kitaru.cli.watch:watch"),
    "logs": Entry("Show what an execution printed and logged.", f"{_LOOK}:logs"),
    "events": Entry("Show what happened in an execution.", f"{_LOOK}:events"),
    "explain": Entry("Say why an execution is not moving.", "kitaru.cli.why:explain"),
    "diff": Entry("Compare two executions of a flow, call by call.", f"{_LOOK}:diff"),
    "statistics": Entry("Show figures over many executions.", f"{_LOOK}:statistics"),
    "input": Entry("Answer a question that an execution waits for.", "kitaru.cli.answer:input_"),
    "abort": Entry("Abort a question instead of answering it.", "kitaru.cli.answer:abort"),
    "retry": Entry("Run a failed execution again; recorded work is reused.", f"{_STEER}:retry"),
    "resume": Entry("Go on with an execution whose process has died.", f"{_STEER}:resume"),
    "replay": Entry("Make a new execution from a recorded one, with something changed.", f"{_STEER}:replay"),
    "cancel": Entry("Cancel an execution and its children.", f"{_STEER}:cancel"),
    "delete": Entry("Delete finished executions.", f"{_STEER}:delete"),
}

STACK: Mapping[str, Entry] = {
    "list": Entry("List the stacks; the active one is marked.", "kitaru.cli.stack:list_"),
    "show": Entry("Show a stack.", "kitaru.cli.stack:show"),
    "current": Entry("Show the active stack.", "kitaru.cli.stack:current"),
    "use": Entry("Make a stack the active one.", "kitaru.cli.stack:use"),
    "create": Entry("Register a stack.", "kitaru.cli.stack:create"),
    "delete": Entry("Forget a stack that nothing needs any more.", "kitaru.cli.stack:delete"),
}

DEPLOYMENTS: Mapping[str, Entry] = {
    "list": Entry("List versions, of one flow or of all; the newest first.", "kitaru.cli.flows:list_deployments"),
    "show": Entry("Show a version.", "kitaru.cli.flows:show_deployment"),
    "delete": Entry(
        "Delete a version that no exclusive tag and no unfinished execution needs.",
        "kitaru.cli.flows:delete_deployment",
    ),
}

FLOW: Mapping[str, Entry] = {
    "list": Entry("List the deployed flows: their newest version and their tags.", "kitaru.cli.flows:list_"),
    "show": Entry("Show what an invocation of a flow would run.", "kitaru.cli.flows:show"),
    "tag": Entry("Set a tag at a version, or move it there.", "kitaru.cli.flows:tag"),
    "untag": Entry("Remove a tag from a version.", "kitaru.cli.flows:untag"),
    "deployments": Entry("Look at versions, and delete them.", commands=DEPLOYMENTS),
}

SECRETS: Mapping[str, Entry] = {
    "set": Entry("Keep a secret, encrypted.", "kitaru.cli.secrets:set_"),
    "list": Entry("List the secrets of this project, without their values.", "kitaru.cli.secrets:list_"),
    "show": Entry("Show a secret: when it was set, and with --reveal its value.", "kitaru.cli.secrets:show"),
    "delete": Entry("Delete a secret.", "kitaru.cli.secrets:delete"),
}

IMAGE: Mapping[str, Entry] = {
    "render": Entry("Print a Dockerfile for the image of a flow.", "kitaru.cli.image:render"),
}

COMMANDS: Mapping[str, Entry] = {
    "init": Entry("Keep this project's executions in a .kitaru folder here.", "kitaru.cli.project:init"),
    "info": Entry("Show the settings in force, and where they come from.", "kitaru.cli.project:info"),
    "status": Entry("Show what runs, what waits for you, and what failed.", "kitaru.cli.project:status"),
    "run": Entry("Run a flow from its source.", "kitaru.cli.run:run"),
    "why": Entry("Say why an execution is not moving.", "kitaru.cli.why:why"),
    "executions": Entry("Look at executions and steer them.", commands=EXECUTIONS),
    "deploy": Entry("Freeze a flow as a new version, to be invoked by name.", "kitaru.cli.deploy:deploy"),
    "build": Entry("Freeze a flow as a new version without a tag of its own.", "kitaru.cli.deploy:build"),
    "invoke": Entry("Start an execution of a deployed version.", "kitaru.cli.deploy:invoke"),
    "flow": Entry("Look at deployed flows, and route tags to versions.", commands=FLOW),
    "check": Entry("Say what the code at hand would make of unfinished executions.", "kitaru.cli.check:check"),
    "image": Entry("Work with images.", commands=IMAGE),
    "secrets": Entry("Keep secrets, encrypted.", commands=SECRETS),
    "clean": Entry("Delete old executions, then what nothing needs.", "kitaru.cli.clean:clean"),
    "limits": Entry("Show the limits, who holds a place, and who waits for one.", "kitaru.cli.limits:limits"),
    "stack": Entry("Choose where executions run.", commands=STACK),
    "worker": Entry("Run executions of a stack until it is asked to end.", "kitaru.cli.worker:worker"),
}


class LazyGroup(click.Group):
    """A group whose commands are loaded when they are used."""

    def __init__(self, name: str, entries: Mapping[str, Entry], summary: str) -> None:
        super().__init__(name, help=summary)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        entry = self.entries.get(cmd_name)
        return None if entry is None else load(cmd_name, entry)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.entries and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name, list(self.entries), 3) or [one for one in self.entries if name in one]
            hint = f"Did you mean {' or '.join(near)}?" if near else f"The commands are {', '.join(self.entries)}."
            raise click.UsageError(f"{ctx.command_path} has no command {name!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)


def load(name: str, entry: Entry) -> click.Command:
    """The command of an entry."""
    if entry.commands is not None:
        return LazyGroup(name, entry.commands, entry.summary)
    module, _, attribute = entry.home.partition(":")
    return getattr(import_module(module), attribute)


def named_in(argv: list[str]) -> str:
    """The command that arguments name, as far as they name one: for errors in them."""
    path: list[str] = []
    entries: Mapping[str, Entry] | None = COMMANDS
    for word in argv:
        entry = (entries or {}).get(word)
        if entry is None:
            break
        path.append(word)
        entries = entry.commands
    return " ".join(path)
