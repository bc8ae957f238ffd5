"""Dockerfiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru.core.image import ImageSettings
from kitaru.deployments.dockerfile import dockerfile
from kitaru.errors import KitaruUsageError


def render(image: ImageSettings) -> str:
    return dockerfile(image, python="3.11", wheel="kitaru-1-py3-none-any.whl", paths=("src", "."))


def test_every_field_is_in_the_dockerfile() -> None:
    image = ImageSettings(
        base_image="debian:12",
        requirements=("httpx>=0.27", "odd'name"),
        environment={"NAME": 'a "quoted" $HOME\\'},
        apt_packages=("git", "curl"),
    )
    assert render(image) == (
        "FROM debian:12\n"
        "RUN apt-get update \\\n"
        "    && apt-get install -y --no-install-recommends 'curl' 'git' \\\n"
        "    && rm -rf /var/lib/apt/lists/*\n"
        "COPY kitaru-1-py3-none-any.whl /tmp/\n"
        "RUN pip install --no-cache-dir /tmp/kitaru-1-py3-none-any.whl \\\n"
        "    'httpx>=0.27' \\\n"
        "    'odd'\"'\"'name'\n"
        'ENV NAME="a \\"quoted\\" \\$HOME\\\\"\n'
        'ENV PYTHONPATH="/app/src:/app"\n'
        "WORKDIR /app\n"
        "COPY . /app\n"
    )


def test_without_a_base_image_it_is_that_of_the_python_version() -> None:
    assert render(ImageSettings()).startswith("FROM python:3.11-slim\n")


def test_a_dockerfile_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert render(ImageSettings(dockerfile=str(tmp_path / "Dockerfile"))) == "FROM scratch\n"
    with pytest.raises(KitaruUsageError, match="cannot be read"):
        render(ImageSettings(dockerfile=str(tmp_path / "gone")))


def test_a_value_that_fits_no_dockerfile_is_refused() -> None:
    with pytest.raises(KitaruUsageError, match="line break"):
        render(ImageSettings(environment={"TEXT": "a\nb"}))
