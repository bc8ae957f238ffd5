"""A Dockerfile for an image, for whoever runs deployments in containers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from kitaru.core.image import ImageSettings
from kitaru.deployments.dockerfile import dockerfile
from kitaru.deployments.environment import this_python
from kitaru.deployments.wheel import own_wheel
from kitaru.engine.definitions import FlowDefinition
from kitaru.services.deploy import source_of
from kitaru.services.options import given_outside, merged_image
from kitaru.services.settings import WHEELS, project_folder
from kitaru.services.wiring import Wiring


class Rendered(NamedTuple):
    """A Dockerfile, and the wheel of the Kitaru that runs, which its build context needs beside the source tree."""

    dockerfile: str
    wheel: Path


def render_image(wiring: Wiring, image: ImageSettings | None, definition: FlowDefinition | None) -> Rendered:
    """Render the image that a flow, or the project, resolves to (S1.8), with ``image`` over it.

    Raises:
        KitaruUsageError: A layer holds a wrong value, or one that fits no Dockerfile.
    """
    of_flow = None if definition is None else definition.image
    merged = merged_image([image, of_flow, *(layer.value for layer in given_outside("image"))])
    paths = (".",) if definition is None else source_of(definition, project_folder()).paths
    wheel = own_wheel(wiring.settings.home / WHEELS)
    text = dockerfile(merged or ImageSettings(), python=this_python(), wheel=wheel.name, paths=paths)
    return Rendered(text, wheel)
