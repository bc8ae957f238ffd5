"""A Dockerfile for any image settings, for whoever runs deployments in containers."""

from __future__ import annotations

from pathlib import Path

from kitaru.core.image import ImageSettings
from kitaru.errors import KitaruUsageError


def dockerfile(image: ImageSettings, *, python: str, wheel: str, paths: tuple[str, ...] = (".",)) -> str:
    """The text of a Dockerfile; ``image.dockerfile`` as it is, where that is set.

    The build context holds the source tree and the wheel of the Kitaru that runs: a registry has another
    package of that name.

    Args:
        image: The settings.
        python: The Python version, where there is no ``base_image``: ``3.11``.
        wheel: The file name of the wheel.
        paths: Folders of the tree in which modules are found.

    Raises:
        KitaruUsageError: ``image.dockerfile`` cannot be read, or a value fits no Dockerfile.
    """
    if image.dockerfile is not None:
        try:
            return Path(image.dockerfile).read_text(encoding="utf-8")
        except OSError as error:
            raise KitaruUsageError(f"image.dockerfile={image.dockerfile!r} cannot be read: {error}.") from error
    lines = [f"FROM {_line('base_image', image.base_image or f'python:{python}-slim')}"]
    if image.apt_packages:
        packages = " ".join(_shell("apt_packages", one) for one in sorted(image.apt_packages))
        lines += [
            "RUN apt-get update \\",
            f"    && apt-get install -y --no-install-recommends {packages} \\",
            "    && rm -rf /var/lib/apt/lists/*",
        ]
    lines += [f"COPY {wheel} /tmp/", f"RUN pip install --no-cache-dir /tmp/{wheel}{_requirements(image)}"]
    for key, value in sorted((image.environment or {}).items()):
        lines.append(f"ENV {_line('environment', key)}={_quoted(key, value)}")
    folders = ":".join("/app" if path == "." else f"/app/{path}" for path in paths)
    lines += [f"ENV PYTHONPATH={_quoted('PYTHONPATH', folders)}", "WORKDIR /app", "COPY . /app"]
    return "\n".join(lines) + "\n"


def _requirements(image: ImageSettings) -> str:
    return "".join(f" \\\n    {_shell('requirements', one)}" for one in image.requirements or ())


def _line(name: str, text: str) -> str:
    if "\n" in text or "\r" in text:
        raise KitaruUsageError(f"image.{name}: {text!r} has a line break, which no Dockerfile can hold.")
    return text


def _shell(name: str, text: str) -> str:
    quoted = _line(name, text).replace("'", "'\"'\"'")
    return f"'{quoted}'"


def _quoted(key: str, value: str) -> str:
    escaped = _line(f"environment[{key!r}]", value).replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
