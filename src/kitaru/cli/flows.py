"""Deployed flows: their versions and tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import click

from kitaru.cli import words
from kitaru.cli.arguments import FlowName, Number
from kitaru.cli.output import Output, command
from kitaru.cli.report import expects
from kitaru.cli.terminal import Terminal, printable
from kitaru.client.as_json import as_json
from kitaru.client.client import KitaruClient
from kitaru.client.deployment import Deployment
from kitaru.client.deployments import Deployments

_PAGE = 1000
_HIDDEN = ("row", "wiring")


def deployment_as_json(one: Deployment) -> dict[str, Any]:
    """A version, with its default inputs."""
    shown = {name: value for name, value in vars(one).items() if name not in _HIDDEN}
    return as_json(shown) | {"default_inputs": one.wiring.values.plain(one.row.default_inputs)}


def deployment_lines(terminal: Terminal, one: Deployment) -> Iterator[str]:
    """A version for eyes, and how to invoke it."""
    tags = f"  {', '.join(map(printable, one.tags))}" if one.tags else ""
    yield f"{terminal.paint(printable(one.flow), 'bold')} version {one.version}{terminal.paint(tags, 'cyan')}"
    commit = "" if one.commit is None else f" · commit {one.commit[:10]}{' with changes' if one.dirty else ''}"
    facts = f"deployed {words.ago(one.created_at)} · stack {printable(one.stack)} · source {one.snapshot[:10]}{commit}"
    yield f"  {terminal.paint(facts, 'dim')}"
    defaults = one.wiring.values.plain(one.row.default_inputs)
    for name, schema in one.input_schema.get("properties", {}).items():
        given = f" = {words.value(defaults[name], 60)}" if name in defaults else ""
        yield f"  {terminal.paint(printable(name), 'dim')}{given}  {terminal.paint(expects(schema), 'dim')}"
    route = "" if "default" in one.tags else f" --version {one.version}"
    yield f"  {terminal.paint('Invoke:', 'dim')} {terminal.paint(f'kitaru invoke {one.flow}{route}', 'cyan')}"


@command("list")
def list_(out: Output) -> None:
    """List the deployed flows: their newest version and their tags."""
    flows = [(name, list(versions)) for name, versions in groupby(_every(KitaruClient()), lambda one: one.flow)]
    data = [
        {"flow": name, "versions": len(versions), "newest": versions[0].version, "tags": _routes(versions)}
        for name, versions in flows
    ]
    out.items(data, _flows(out.terminal, data))


def _every(client: KitaruClient) -> Iterator[Deployment]:
    last: Deployment | None = None
    while page := client.deployments.list(limit=_PAGE, after=last):
        yield from page
        last = page[-1]


def _routes(versions: Sequence[Deployment]) -> dict[str, int]:
    return {tag: one.version for one in reversed(versions) for tag in one.tags}


def _flows(terminal: Terminal, data: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not data:
        yield "nothing is deployed"
        return
    rows = [
        (
            terminal.paint(printable(one["flow"]), "bold"),
            str(one["versions"]),
            str(one["newest"]),
            "  ".join(f"{printable(tag)}→{version}" for tag, version in one["tags"].items()),
        )
        for one in data
    ]
    yield from words.table(terminal, ("flow", "versions", "newest", "tags"), rows, right=(1, 2))


@command("show")
@click.argument("flow", type=FlowName())
@click.option("--version", type=Number(1), help="The version. Default: the one that `default` points to.")
@click.option("--tag", help="A tag that points to the version.")
def show(out: Output, flow: str, version: int | None, tag: str | None) -> None:
    """Show what an invocation of a flow would run."""
    one = KitaruClient().deployments.get(flow, version=version, tag=tag)
    out.item(deployment_as_json(one), deployment_lines(out.terminal, one))


@command("tag")
@click.argument("flow", type=FlowName())
@click.argument("version", type=Number(1))
@click.argument("tag")
@click.option("--exclusive", is_flag=True, default=None, help="The tag is at one version only, and moves here.")
def tag(out: Output, flow: str, version: int, tag: str, exclusive: bool | None) -> None:
    """Set a tag at a version, or move it there. `default` is what an invocation takes that names none."""
    one = KitaruClient().deployments.tag(flow, version, tag, exclusive=exclusive)
    out.item(deployment_as_json(one), [f"{flow} version {version}: {', '.join(one.tags)}"])


@command("untag")
@click.argument("flow", type=FlowName())
@click.argument("version", type=Number(1))
@click.argument("tag")
def untag(out: Output, flow: str, version: int, tag: str) -> None:
    """Remove a tag from a version."""
    one = KitaruClient().deployments.untag(flow, version, tag)
    out.item(deployment_as_json(one), [f"{flow} version {version}: {', '.join(one.tags) or 'no tags'}"])


@command("list")
@click.argument("flow", type=FlowName(), required=False)
@click.option("--limit", type=Number(1, 1000), default=20, show_default=True, help="How many at most.")
@click.option("--after", metavar="FLOW:VERSION", help="Go on behind this one: `next` of the page before.")
def list_deployments(out: Output, flow: str | None, limit: int, after: str | None) -> None:
    """List versions, of one flow or of all; the newest first."""
    deployments = KitaruClient().deployments
    found = deployments.list(flow, limit=limit + 1, after=None if after is None else _named(deployments, after))
    page = found[:limit]
    more = f"{page[-1].flow}:{page[-1].version}" if len(found) > limit else None
    out.items([deployment_as_json(one) for one in page], _versions(out.terminal, page, more), next=more)


def _named(deployments: Deployments, text: str) -> Deployment:
    flow, _, version = text.rpartition(":")
    if not flow or not version.isdecimal():
        raise click.UsageError(f"--after: {text!r}: FLOW:VERSION is expected, as `next` of the page before has it.")
    return deployments.get(flow, version=int(version))


def _versions(terminal: Terminal, found: Sequence[Deployment], more: str | None) -> Iterator[str]:
    if not found:
        yield "nothing is deployed"
        return
    rows = [
        (
            terminal.paint(printable(one.flow), "bold"),
            str(one.version),
            words.ago(one.created_at),
            one.snapshot[:10],
            "" if one.commit is None else f"{one.commit[:10]}{'+' if one.dirty else ''}",
            ", ".join(map(printable, one.tags)),
        )
        for one in found
    ]
    yield from words.table(terminal, ("flow", "version", "deployed", "source", "commit", "tags"), rows, right=(1,))
    if more is not None:
        yield terminal.paint(f"there are more: --after {more}", "dim")


@command("show")
@click.argument("flow", type=FlowName())
@click.argument("version", type=Number(1))
def show_deployment(out: Output, flow: str, version: int) -> None:
    """Show a version."""
    one = KitaruClient().deployments.get(flow, version=version)
    out.item(deployment_as_json(one), deployment_lines(out.terminal, one))


@command("delete")
@click.argument("flow", type=FlowName())
@click.argument("version", type=Number(1))
def delete_deployment(out: Output, flow: str, version: int) -> None:
    """Delete a version that no exclusive tag and no unfinished execution needs. Its number is not given again."""
    KitaruClient().deployments.delete(flow, version)
    out.item({"flow": flow, "version": version, "deleted": True}, [f"deleted {flow} version {version}"])
