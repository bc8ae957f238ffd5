"""Asking a person on the terminal what an execution waits for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from kitaru.cli.report import expects, question
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.client import KitaruClient
from kitaru.core.wait import Wait
from kitaru.errors import KitaruNotFoundError, KitaruStateError, KitaruWaitValidationError


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
        terminal.write(f"{terminal.paint('  >', 'cyan')} ")
        terminal.flush()
        text = sys.stdin.readline()
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
        executions.abort_wait(wait.exec_id, wait=wait.wait_id, by=by, via="terminal")
    elif wait.schema is None and text.lower() not in ("y", "yes", "c", "continue"):
        raise ValueError("y or a is expected.")
    else:
        executions.input(wait.exec_id, read(text, wait.schema), wait=wait.wait_id, by=by, via="terminal")
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
