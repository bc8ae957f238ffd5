"""A worker, from the command line."""

from __future__ import annotations

import click

from kitaru.cli.arguments import Number, Seconds, StackName
from kitaru.cli.output import Output, command
from kitaru.cli.target import see_project
from kitaru.client.client import KitaruClient
from kitaru.engine.leases import LEASE_SECONDS
from kitaru.worker.worker import GRACE_SECONDS, run_worker


@command("worker")
@click.option("--stack", default="local", show_default=True, type=StackName(), help="Whose executions it runs.")
@click.option("--concurrency", type=Number(1), default=16, show_default=True, help="How many at once.")
@click.option("--isolation", type=click.Choice(["thread", "process"]), default="thread", show_default=True,
              help="Each in a thread of this process, or in a process of its own.")  # fmt: skip
@click.option("--grace", type=Seconds(0), default=GRACE_SECONDS, show_default=True,
              help="Seconds that calls under way may take once it is asked to end.")  # fmt: skip
@click.option("--lease", type=Seconds(1), default=LEASE_SECONDS, show_default=True,
              help="Seconds without a sign of life after which others take over.")  # fmt: skip
def worker(out: Output, stack: str, concurrency: int, isolation: str, grace: float, lease: float) -> None:
    """Run executions of a stack until it is asked to end (SIGTERM or Ctrl-C; the second ends it at once).

    At its end it takes nothing new, lets calls under way finish within the grace period, and hands the rest back,
    so that another worker goes on at once.
    """
    out.divert()
    see_project()
    KitaruClient().stacks.get(stack)  # an unknown one is told now, and not waited for
    out.tell(f"worker of stack {stack}, {concurrency} at once; Ctrl-C ends it in good order")
    run_worker(stack, concurrency=concurrency, isolated=isolation == "process", grace=grace, lease_seconds=lease)
    out.item({"stack": stack, "ended": True}, ())
