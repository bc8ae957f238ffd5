"""Named limits: who holds a place, and who waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kitaru.cli import words
from kitaru.cli.output import Output, command
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.core.limit import Limit, Slot

_SHOWN = 10


@command("limits")
def limits(out: Output) -> None:
    """Show the limits, who holds a place, and who waits for one."""
    found = KitaruClient().limits.list()
    out.items(as_json(found), _told(out.terminal, found))


def _told(terminal: Terminal, limits: Sequence[Limit]) -> Iterator[str]:
    if not limits:
        yield "no limits"
    for limit in limits:
        bounds = [f"{len(limit.holders)} of {limit.at_once} at once"] if limit.at_once is not None else []
        bounds += [f"{limit.used} of {limit.per_minute} a minute"] if limit.per_minute is not None else []
        waiting = terminal.paint(f"  {len(limit.waiting):,} waiting", "yellow") if limit.waiting else ""
        where = terminal.paint("" if limit.declared else "  set by hand", "dim")
        yield f"{terminal.paint(printable(limit.name), 'bold')}  {', '.join(bounds)}{waiting}{where}"
        yield from _slots(terminal, "holds", limit.holders)
        yield from _slots(terminal, "waits", limit.waiting)


def _slots(terminal: Terminal, does: str, slots: Sequence[Slot]) -> Iterator[str]:
    for slot in slots[:_SHOWN]:
        call = f" {printable(slot.call_id)}" if slot.call_id else ""
        host = f" on {printable(slot.host)}" if slot.host else ""
        yield f"  {terminal.paint(does, 'dim')} {slot.exec_id}{call}  {words.ago(slot.since)}{host}"
    if len(slots) > _SHOWN:
        yield f"  {terminal.paint(does, 'dim')} {len(slots) - _SHOWN:,} more"
