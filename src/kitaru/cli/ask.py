"""Asking a person on the terminal what an execution waits for (S5.4)."""

from __future__ import annotations

from collections.abc import Callable

from kitaru.cli.report import asked
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.client import KitaruClient
from kitaru.client.form import Aborted, Given, fill_in
from kitaru.client.typed import NotNeeded, discard_typed, read_line
from kitaru.core.states import WaitStatus
from kitaru.core.wait import Wait
from kitaru.errors import (
    KitaruNotFoundError,
    KitaruSerializationError,
    KitaruStateError,
    KitaruWaitValidationError,
)

_VIA = "terminal"


def ask(terminal: Terminal, client: KitaruClient, wait: Wait, *, by: str | None) -> bool:
    """Ask for one answer on the terminal, again until it fits; False where it was left open, or given elsewhere."""
    flow = client.executions.get(wait.exec_id).flow
    terminal.line()
    terminal.line(terminal.paint(f"{printable(flow)}  {wait.exec_id}", "dim"))
    for line in asked(terminal, wait):
        terminal.line(line)
    terminal.line(terminal.paint("    !abort aborts; Ctrl-D leaves it open", "dim"))
    discard_typed()  # what was typed before the question could be read is no answer to it
    screen = _Screen(terminal, lambda: not _is_open(client, wait))
    while (filled := fill_in(wait, screen)) is not None:
        try:
            told = _give(client, wait, filled, by)
        except (KitaruWaitValidationError, KitaruSerializationError) as error:
            screen.show(f"  {error}")
        except (KitaruStateError, KitaruNotFoundError) as error:  # somebody was faster
            screen.show(f"  {error}")
            return False
        else:
            terminal.line(terminal.paint(f"  ✓ {told}", "green"))
            return True
    if screen.over:
        screen.show(f"  {wait.wait_id} needs no answer from here any more.")
    return False


def _give(client: KitaruClient, wait: Wait, filled: Given | Aborted, by: str | None) -> str:
    if isinstance(filled, Aborted):
        client.executions.abort_wait(wait.exec_id, wait=wait.wait_id, by=by, via=_VIA)
        return "aborted"
    client.executions.input(wait.exec_id, filled.value, wait=wait.wait_id, by=by, via=_VIA)
    return "answered"


def _is_open(client: KitaruClient, wait: Wait) -> bool:
    try:
        waits = client.executions.get(wait.exec_id).waits
    except KitaruNotFoundError:
        return False
    return any(one.wait_id == wait.wait_id and one.status is WaitStatus.OPEN for one in waits)


class _Screen:
    """The terminal, for one question. ``over`` is True once nobody needs the answer any more."""

    def __init__(self, terminal: Terminal, is_over: Callable[[], bool]) -> None:
        self._terminal = terminal
        self._is_over = is_over
        self.over = False

    def show(self, line: str) -> None:
        self._terminal.line(f"  {self._terminal.paint(printable(line), 'yellow')}")

    def read(self, prompt: str) -> str | None:
        self._terminal.write(f"  {self._terminal.paint(printable(prompt), 'cyan')}")
        self._terminal.flush()
        try:
            line = read_line(self._is_over)
        except NotNeeded:
            self.over = True
            line = None
        if line is None:
            self._terminal.line()
        return line
