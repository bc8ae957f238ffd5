"""Deploying flows, and starting executions of what is deployed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from kitaru.cli.arguments import FlowName, Image, Json, Number, StackName, Target
from kitaru.cli.flows import deployment_as_json, deployment_lines
from kitaru.cli.output import Output, command
from kitaru.cli.run import finish, waits
from kitaru.cli.target import load_target
from kitaru.client.client import KitaruClient


def _of_a_version(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a new version."""
    for option in reversed(
        (
            click.argument("target", type=Target()),
            click.option("--input", "-i", "inputs", type=Json(must_be_object=True), default="{}",
                         help="Representative inputs: the defaults of an invocation."),
            click.option("--stack", type=StackName(), help="Where its executions run."),
            click.option("--image", type=Image(), help="Its environment: a base image, or a JSON object of settings."),
            click.option("--retries", type=Number(0), help="How often its body may run again."),
            click.option("--cache/--no-cache", default=None, help="Whether earlier results may be reused."),
        )
    ):  # fmt: skip
        function = option(function)
    return function


@command("deploy")
@_of_a_version
@click.option("--tag", help="A tag for the new version. The first version of a flow gets `default`.")
@click.option("--exclusive", is_flag=True, default=None, help="The tag is at one version only, and moves here.")
def deploy(out: Output, target: str, inputs: dict[str, Any], **options: Any) -> None:
    """Freeze a flow as a new version, to be invoked by name: its source, its environment, its inputs.

    TARGET is file.py:flow or module:flow.
    """
    out.divert()
    made = load_target(target).deploy(**options, **inputs)
    out.item(deployment_as_json(made), deployment_lines(out.terminal, made))


@command("build")
@_of_a_version
def build(out: Output, target: str, inputs: dict[str, Any], **options: Any) -> None:
    """Freeze a flow as a new version without a tag of its own. Later: `kitaru flow tag`."""
    out.divert()
    made = load_target(target).deploy(**options, **inputs)
    out.item(deployment_as_json(made), deployment_lines(out.terminal, made))


@command("invoke")
@click.argument("flow", type=FlowName())
@click.option("--input", "-i", "inputs", type=Json(must_be_object=True), default="{}",
              help="Inputs as a JSON object, over the version's defaults; - reads stdin, @file a file.")  # fmt: skip
@click.option("--version", type=Number(1), help="The version. Default: the one that `default` points to.")
@click.option("--tag", help="A tag that points to the version.")
@click.option("--id", "execution_id", help="An id of your own. The same id again means the same execution.")
@click.option("--label", "tags", multiple=True, help="A word to find it by, as `run --tag`; repeatable.")
@click.option("--priority", type=Number(), help="The higher goes first where executions wait for a place. Default: 0.")
@waits
def invoke(out: Output, flow: str, inputs: dict[str, Any], wait: bool, **options: Any) -> int:
    """Start an execution of a deployed version, by the flow's name, with no source at hand.

    The id is printed first, the result last. Without --wait the command ends when the execution is finished, or
    parked at a question or a timer.
    """
    out.divert()
    client = KitaruClient()
    return finish(out, client, client.deployments.invoke(flow, inputs, **options), wait=wait)
