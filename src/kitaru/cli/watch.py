"""Following an execution until it is finished: live on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Protocol

from kitaru.cli import words
from kitaru.cli.arguments import exec_id
from kitaru.cli.ask import ask
from kitaru.cli.calls import Child, children_of
from kitaru.cli.live import LiveView
from kitaru.cli.look import event_line, log_line
from kitaru.cli.output import OK, UNSUCCESSFUL, Output, command
from kitaru.cli.report import ending, headline, hint, open_questions, question
from kitaru.cli.screen import own_screen
from kitaru.cli.terminal import Terminal, printable_lines
from kitaru.client.as_json import execution_as_json
from kitaru.client.client import KitaruClient
from kitaru.core.event import Event, EventKind
from kitaru.core.execution import Execution
from kitaru.core.log_entry import LogEntry
from kitaru.core.states import Status
from kitaru.core.wait import Wait

Key = tuple[str, str]
"""Of a question: its execution, and its name there."""

_PAUSE = 0.1
_LOOK_SECONDS = 1.0
_SHARE = 5
"""Reading takes at most one part in so many of the time, however large an execution is."""


class View(Protocol):
    """What shows an execution while it goes on."""

    def show(self, execution: Execution, events: list[Event], logs: list[LogEntry]) -> None:
        """Show how it stands, with what has come since the last time."""
        ...

    def tick(self) -> None:
        """Nothing new has come; time has passed."""
        ...

    def end(self) -> None:
        """Leave the screen in order."""
        ...


class PlainView:
    """A line per event and per log line."""

    def __init__(self, terminal: Terminal, child: Child, *, with_logs: bool) -> None:
        self._terminal = terminal
        self._child = child
        self._with_logs = with_logs
        self._asked: set[Key] = set()

    def show(self, execution: Execution, events: list[Event], logs: list[LogEntry]) -> None:
        lines = [
            (event.at, event_line(self._terminal, event)) for event in events if event.kind is not EventKind.CREATED
        ]
        if self._with_logs:
            lines += [(entry.at, log_line(self._terminal, entry)) for entry in logs]
        for _, line in sorted(lines, key=lambda one: one[0]):
            self._terminal.line(line)
        for wait in _questions(execution, self._child):
            if _key(wait) not in self._asked:
                self._asked.add(_key(wait))
                for line in question(self._terminal, wait):
                    self._terminal.line(line)
        self._terminal.flush()

    def tick(self) -> None:
        pass

    def end(self) -> None:
        pass


@command("watch")
@exec_id()
def watch(out: Output, exec_id: str) -> int:
    """Watch an execution live until it is finished: its calls, its progress, its last log lines.

    Ctrl-C ends the watching, not the execution.
    """
    client = KitaruClient()
    execution = client.executions.get(exec_id)
    follow(out, client, execution.exec_id, logs=True)
    return tell_end(out, client, execution.exec_id)


def follow(
    out: Output, client: KitaruClient, exec_id: str, *, logs: bool = False, asks: bool = False, after: int = 0
) -> None:
    """Show an execution beside the answer until it is finished.

    Args:
        out: Of the command.
        client: The client.
        exec_id: The execution, by its whole id.
        logs: Show what it prints, because that is not seen otherwise: another process runs it.
        asks: Ask its questions, where somebody sits at the terminal (S5.4).
        after: In plain lines, only what happened behind this event.
    """
    if out.json:
        _follow(client, exec_id, _NoView())
    elif not out.beside.is_terminal:
        _follow(client, exec_id, PlainView(out.beside, children_of(client), with_logs=logs), after=after)
    else:
        out.divert()
        with own_screen() as screen:
            view = LiveView(screen.terminal, children_of(client), with_logs=logs)
            screen.show = view.above
            asked: set[Key] = set()
            try:
                while wait := _follow(client, exec_id, view, passed=asked if asks and sys.stdin.isatty() else None):
                    view.end()
                    asked.add(_key(wait))
                    ask(screen.terminal, client, wait, by=None)
            finally:
                view.end()


class _NoView:
    """Shows nothing: who asked for JSON wants the end only."""

    def show(self, execution: Execution, events: list[Event], logs: list[LogEntry]) -> None:
        pass

    def tick(self) -> None:
        pass

    def end(self) -> None:
        pass


def _follow(
    client: KitaruClient, exec_id: str, view: View, *, passed: set[Key] | None = None, after: int = 0
) -> Wait | None:
    """Show an execution until it is finished, or asks something that is to be asked here: what is not in ``passed``."""
    executions, child = client.executions, children_of(client)
    handle = executions.handle(exec_id)
    event_id, log_id = after, 0
    shown: Status | None = None
    not_before = look_again = 0.0
    while True:
        status = handle.status
        if status.finished or time.monotonic() >= not_before:
            began = time.monotonic()
            events = list(executions.events(exec_id, after=event_id))
            logs = list(executions.logs(exec_id, after=log_id))
            event_id = events[-1].event_id if events else event_id
            log_id = logs[-1].log_id if logs else log_id
            # What a flow that it waits for asks is no event of its own.
            if events or logs or shown is not status or (status is Status.WAITING and began >= look_again):
                look_again = began + _LOOK_SECONDS
                execution = executions.get(exec_id)
                view.show(execution, events, logs)
                wait = None if passed is None else _to_ask(execution, child, passed)
                if wait is not None:
                    return wait
                shown = status
            not_before = time.monotonic() + _SHARE * (time.monotonic() - began)
        if status.finished:
            return None
        view.tick()
        time.sleep(_PAUSE)


def _to_ask(execution: Execution, child: Child, passed: set[Key]) -> Wait | None:
    return next((one for one in _questions(execution, child) if _key(one) not in passed), None)


def _questions(execution: Execution, child: Child) -> Iterable[Wait]:
    """Nothing while it still works: a look at all calls costs too much for that."""
    return open_questions(execution, child) if execution.status is Status.WAITING else ()


def _key(wait: Wait) -> Key:
    return wait.exec_id, wait.wait_id


def tell_end(out: Output, client: KitaruClient, exec_id: str) -> int:
    """How it ended: the result to stdout, all else beside it; the exit code."""
    execution = client.executions.get(exec_id)
    if execution.status is Status.COMPLETED:
        out.tell(f"{headline(out.beside, execution)}{_took(execution)}")
        result = execution.plain_result()
        shown = printable_lines(words.result(result)) if out.terminal.is_terminal else words.on_a_line(result)
        out.item(execution_as_json(execution) if out.json else None, [shown])
        return OK
    out.tell(f"{headline(out.beside, execution)}{_took(execution)}")
    for line in ending(out.beside, execution, children_of(client)):
        out.tell(line)
    if execution.status is Status.PENDING:
        out.tell(hint(out.beside, "It is left to workers", f"kitaru worker --stack {execution.stack}"))
    out.item(execution_as_json(execution) if out.json else None, ())
    return UNSUCCESSFUL if execution.status.finished else OK


def _took(execution: Execution) -> str:
    if execution.started_at is None or execution.ended_at is None:
        return ""
    return f"  {words.duration(execution.ended_at - execution.started_at)}"
