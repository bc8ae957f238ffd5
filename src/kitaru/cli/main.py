"""The command ``kitaru``: from arguments to an exit code.

0: done. 1: an error. 2: wrong usage. 3: done, and the execution failed or was cancelled. 130: Ctrl-C.
141: whoever read the answer has gone. No code but this knows how an error is told.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import NoReturn

import click

from kitaru.cli.groups import COMMANDS, LazyGroup, named_in
from kitaru.cli.output import CLOSED_PIPE, ERROR, INTERRUPTED, OK, USAGE, wants_json
from kitaru.cli.terminal import ClosedPipe, Terminal
from kitaru.errors import KitaruError, KitaruUsageError

_HELP = """Durable execution for Python agents: work that was recorded is not done again.

An execution is named by its id, by any beginning of the id that only one has, or by `latest`."""


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from kitaru import __version__  # noqa: PLC0415  # one name, and only here

        click.echo(f"kitaru {__version__}")
        ctx.exit()


class Root(LazyGroup):
    """``kitaru`` itself."""

    def __init__(self) -> None:
        super().__init__("kitaru", COMMANDS, _HELP)
        self.context_settings["help_option_names"] = ["-h", "--help"]  # of all commands below it too
        self.params.append(
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_version,
                help="Show the version.",
            )
        )


def main() -> NoReturn:
    """Run the command that the arguments of this process name, and end it with the exit code."""
    argv = sys.argv[1:]
    root = Root()
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # whoever started this has closed it: no file of ours is to take its number
            lowest = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(lowest, mode, encoding="utf-8", closefd=False))
    if instruction := os.environ.get("_KITARU_COMPLETE"):
        from click.shell_completion import shell_complete  # noqa: PLC0415  # only while somebody presses Tab

        sys.exit(shell_complete(root, {}, "kitaru", "_KITARU_COMPLETE", instruction))
    sys.exit(run(root, argv))


def run(root: click.Command, argv: list[str]) -> int:
    """Run the command that ``argv`` names; the exit code. Errors are told on stderr."""
    try:
        with root.make_context("kitaru", list(argv)) as ctx:
            code = root.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, click.Abort):
        _leave_flows()
        return INTERRUPTED
    except (ClosedPipe, BrokenPipeError):
        return CLOSED_PIPE
    except Exception as error:  # noqa: BLE001  # the end of the line: whatever it is, it is told and becomes an exit code
        return _tell(error, argv)
    return code if isinstance(code, int) else OK


def _leave_flows() -> None:
    """Ctrl-C: the end of the process waits for no flow any more."""
    wiring = sys.modules.get("kitaru.services.wiring")
    if wiring is not None and wiring.in_use():
        for runner in wiring.wiring().runners.all():
            runner.interrupted()


def _tell(error: Exception, argv: list[str]) -> int:
    code, kind, message = _described(error)
    terminal = Terminal(sys.stderr)
    try:
        if wants_json(argv):
            told = {"command": named_in(argv), "error": {"type": kind, "message": message}}
            terminal.line(json.dumps(told, ensure_ascii=False))
        elif isinstance(error, click.exceptions.NoArgsIsHelpError):
            terminal.line(message)
        else:
            terminal.line(f"{terminal.paint('error:', 'red', 'bold')} {message}")
            if isinstance(error, click.UsageError) and error.ctx is not None:
                terminal.line(terminal.paint(f"See {error.ctx.command_path} --help.", "dim"))
        terminal.flush()
    except ClosedPipe:
        pass  # nobody reads errors; the exit code still tells
    return code


def _name_of(param: click.Parameter) -> str:
    return max(param.opts, key=len) if isinstance(param, click.Option) else param.make_metavar(click.Context(Root()))


def _public(kind: type[Exception]) -> str:
    """The name under which users know an error: scripts cannot tell what only a store distinguishes."""
    return next(one.__name__ for one in kind.__mro__ if one.__module__ == KitaruError.__module__)


def _described(error: Exception) -> tuple[int, str, str]:
    """Exit code, type and message of an error."""
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return USAGE, "UsageError", f"{_name_of(error.param)} is missing."
    if isinstance(error, click.BadParameter) and error.param is not None and error.param.opts:
        return USAGE, "UsageError", f"{_name_of(error.param)}: {error.message}"
    if isinstance(error, click.UsageError):
        return USAGE, "UsageError", error.format_message()
    if isinstance(error, click.ClickException):
        return error.exit_code, getattr(error, "kind", type(error).__name__), error.format_message()
    if isinstance(error, KitaruError):
        return USAGE if isinstance(error, KitaruUsageError) else ERROR, _public(type(error)), str(error)
    if isinstance(error, (TimeoutError, OSError)):
        return ERROR, type(error).__name__, str(error)
    trace = "".join(traceback.format_exception(error)).rstrip()
    return ERROR, type(error).__name__, f"this should not have happened; please report it.\n{trace}"
