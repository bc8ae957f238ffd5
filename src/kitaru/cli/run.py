"""Running flows in this process, and saying how they ended."""

from __future__ import annotations

from typing import Any

import click

from kitaru.cli.arguments import Image, Json, Number, StackName, Target
from kitaru.cli.output import Output, command
from kitaru.cli.report import hint
from kitaru.cli.target import check_against, load_target
from kitaru.cli.watch import follow, tell_end
from kitaru.client.client import KitaruClient
from kitaru.client.handle import FlowHandle

waits = click.option("--wait", "-w", is_flag=True, help="Wait until it is finished, and show it live on a terminal.")


@command("run")
@click.argument("target", type=Target())
@click.option("--input", "-i", "inputs", type=Json(must_be_object=True), default="{}",
              help="The flow's arguments as a JSON object; - reads stdin, @file a file.")  # fmt: skip
@click.option("--stack", type=StackName(), help="Where it runs.")
@click.option("--retries", type=Number(0), help="How often its body may run again.")
@click.option("--cache/--no-cache", default=None, help="Whether results of earlier executions may be reused.")
@click.option("--image", type=Image(), help="Its environment: a base image, or a JSON object of settings.")
@click.option("--id", "execution_id", help="An id of your own. The same id again means the same execution.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; repeatable.")
@click.option("--priority", type=Number(), help="The higher goes first where executions wait for a place. Default: 0.")
@waits
def run(out: Output, target: str, inputs: dict[str, Any], wait: bool, **options: Any) -> int:
    """Run a flow from its source: TARGET is file.py:flow or module:flow.

    The id is printed first, the result last. Without --wait the command ends when the execution is finished, or
    parked at a question or a timer. What the flow prints goes to stderr.
    """
    out.divert()
    flow = load_target(target)
    check_against(flow, inputs)
    return finish(out, KitaruClient(), flow.run(**options, **inputs), wait=wait)


def finish(out: Output, client: KitaruClient, handle: FlowHandle[Any], *, wait: bool, after: int = 0) -> int:
    """Stay with an execution until it is finished, or without ``wait`` parked; answer; the exit code.

    ``after`` is the id of the last event that is old.
    """
    try:
        if not out.json:
            out.each(None, handle.exec_id)
        if wait:
            follow(out, client, handle.exec_id, asks=True, after=after)
        else:
            handle.settle()
    except KeyboardInterrupt:
        out.tell(hint(out.beside, "It is kept, and goes on with", f"kitaru executions resume {handle.exec_id}"))
        raise
    return tell_end(out, client, handle.exec_id)
