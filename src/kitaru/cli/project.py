"""The project as a whole: its store, its settings, and how things stand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kitaru.cli import words
from kitaru.cli.look import execution_table
from kitaru.cli.output import Output, command
from kitaru.cli.report import hint, question
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.core.execution import Execution
from kitaru.core.info import Info
from kitaru.core.states import Status
from kitaru.core.wait import Wait

_SHOWN = 10


@command("init")
def init(out: Output) -> None:
    """Keep this project's executions in a .kitaru folder here.

    Without one, they are kept in a folder of the user. Nothing else changes; the folder ignores itself in git.
    """
    folder = Path.cwd() / ".kitaru"
    is_new = not folder.exists()
    folder.mkdir(exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n", encoding="utf-8")
    said = "made" if is_new else "is there already"
    out.item({"home": str(folder), "created": is_new}, [f"{folder} {said}: what is started below here is kept in it."])


@command("info")
def info(out: Output) -> None:
    """Show the settings in force, and where they come from."""
    found = KitaruClient().info()
    out.item(as_json(found), _settings(out.terminal, found))


def _settings(terminal: Terminal, found: Info) -> Iterator[str]:
    rows = [("version", found.version, terminal.paint("installed", "dim"))]
    for one in found:
        value = "-" if one.value is None else printable(str(one.value))
        rows.append((one.name, value, terminal.paint(printable(one.source), "dim")))
    yield from words.table(terminal, ("setting", "value", "from"), rows)


@command("status")
def status(out: Output) -> None:
    """Show what runs, what waits for you, and what failed in the last day."""
    client = KitaruClient()
    executions = client.executions
    counts = {one.group["status"]: int(one.metrics["count"] or 0) for one in executions.statistics(group_by="status")}
    running = executions.list(status=[Status.RUNNING, Status.PENDING], limit=_SHOWN).items
    yesterday = datetime.now(UTC) - timedelta(days=1)
    failed = executions.list(status=Status.FAILED, created_after=yesterday, limit=_SHOWN).items
    waits = executions.pending_waits(limit=_SHOWN)
    data: dict[str, Any] = {
        "store": client.info()["store"].value,
        "executions": {status.value: counts.get(status.value, 0) for status in Status},
        "waits": as_json(waits),
        "running": as_json(running),
        "failed": as_json(failed),
    }
    out.item(data, _told(out.terminal, data, waits, running, failed))


def _told(
    terminal: Terminal,
    data: dict[str, Any],
    waits: tuple[Wait, ...],
    running: tuple[Execution, ...],
    failed: tuple[Execution, ...],
) -> Iterator[str]:
    yield terminal.paint(data["store"], "dim")
    counts = [f"{number:,} {words.status(terminal, word)}" for word, number in data["executions"].items() if number]
    yield " · ".join(counts) or "no executions yet"
    if not counts:
        yield hint(terminal, "Start one", "kitaru run agent.py:my_flow --input '{}'", indent=0)
    if running:
        yield from ("", terminal.paint("Under way", "bold"))
        yield from execution_table(terminal, running)
    if waits:
        yield from ("", terminal.paint("Waiting for an answer", "bold"))
        for wait in waits:
            yield from question(terminal, wait)
    if failed:
        yield from ("", terminal.paint("Failed in the last day", "bold"))
        yield from execution_table(terminal, failed)
        yield hint(terminal, "Look at the last one", f"kitaru executions get {failed[0].exec_id}", indent=0)
