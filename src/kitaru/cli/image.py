"""Images."""

from __future__ import annotations

from typing import Any

import click

from kitaru.cli.arguments import Image, Target
from kitaru.cli.output import Output, command
from kitaru.cli.target import load_target
from kitaru.client.client import KitaruClient
from kitaru.core.image import ImageSettings


@command("render")
@click.argument("target", type=Target(), required=False)
@click.option("--image", type=Image(), help="Settings that are to count: a base image, or a JSON object of settings.")
def render(out: Output, target: str | None, image: Any) -> None:
    """Print a Dockerfile for the image of a flow; without TARGET, for that of the project.

    The build context is the source tree, with the wheel that is named on stderr beside it.
    """
    out.divert()
    flow = None if target is None else load_target(target)
    settings = None if image is None else ImageSettings.parse(image, "--image")
    text, wheel = KitaruClient().render_image(settings, None if flow is None else flow.definition)
    out.tell(f"put this wheel into the build context: {wheel}")
    out.item({"dockerfile": text, "wheel": str(wheel)}, [text.removesuffix("\n")])
