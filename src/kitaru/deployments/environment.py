"""Python environments made of requirements with ``uv``: built once, however many ask at the same time (S8.5)."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from kitaru.deployments.laid_out import locked, note
from kitaru.deployments.wheel import own_wheel
from kitaru.errors import KitaruUsageError

_READY = ".ready"
_OWN = "kitaru"


def this_python() -> str:
    """The version of this interpreter: ``3.11``."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def python_for(
    folder: Path,
    requirements: Sequence[str] | None,
    python: str,
    *,
    extras: Sequence[str],
    wheels: Path,
    cwd: Path,
    user: str,
) -> str:
    """The interpreter for code with these requirements.

    Without requirements it is this process's own, where that has the right version.

    Args:
        folder: Where the environments of this machine are.
        requirements: Python requirements (PEP 508).
        python: The Python version: ``3.11``.
        extras: Extras of Kitaru that the code needs.
        wheels: Where wheels of Kitaru are put.
        cwd: The source tree, whose ``[tool.uv]`` counts.
        user: Who needs it (``laid_out.note``).

    Raises:
        KitaruUsageError: There is no ``uv``, or it cannot build the environment, as without a network.
    """
    if not requirements and python == this_python():
        return sys.executable
    wheel = own_wheel(wheels)
    wanted = sorted(set(requirements or ()))
    parts = [wanted, python, sorted(extras), wheel.parent.name, platform.system(), platform.machine()]
    target = folder / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    interpreter = target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    with locked(target):
        if not (target / _READY).exists():
            own = f"{_OWN}[{','.join(sorted(extras))}]" if extras else _OWN
            _build(target, interpreter, python, [f"{own} @ {wheel.as_uri()}", *wanted], cwd)
        note(target, user)
    return str(interpreter)


def frozen_requirements(*, apart_from: Path) -> tuple[str, ...]:
    """The packages of this environment, pinned; without Kitaru and what is installed from the project itself."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if not name or name.lower() == _OWN:
            continue
        origin: dict[str, Any] = json.loads(one.read_text("direct_url.json") or "{}")
        place = urlsplit(str(origin.get("url", "")))
        if place.scheme == "file" and Path(url2pathname(place.path)).is_relative_to(apart_from):
            continue
        found.setdefault(name.lower(), f"{name} @ {_link(origin)}" if origin else f"{name}=={one.version}")
    return tuple(found[name] for name in sorted(found))


def _link(origin: Mapping[str, Any]) -> str:
    """What ``direct_url.json`` says (PEP 610), as it is written in a requirement."""
    link = str(origin["url"])
    if vcs := origin.get("vcs_info"):
        link = f"{vcs['vcs']}+{link}@{vcs['commit_id']}"
    return f"{link}#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else link


def _build(target: Path, interpreter: Path, python: str, requirements: Sequence[str], cwd: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)  # half-made, by a process that was killed
    base = sys.executable if python == this_python() else python
    try:
        _uv(cwd, requirements, "venv", "--quiet", "--no-project", "--python", base, str(target))
        _uv(cwd, requirements, "pip", "install", "--quiet", "--python", str(interpreter), "--", *requirements)
        (target / _READY).touch()
    except BaseException:  # KeyboardInterrupt too: nothing half-made is left
        shutil.rmtree(target, ignore_errors=True)
        raise


def _uv(cwd: Path, requirements: Sequence[str], *command: str) -> None:
    done = subprocess.run([_find_uv(), *command], cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    if done.returncode != 0:
        why = " ".join(word for word in done.stderr.split() if word not in ("×", "╰─▶", "├─▶", "│", "error:"))
        wanted = ", ".join(one for one in requirements if not one.startswith(_OWN))
        raise KitaruUsageError(
            f"the environment with {wanted or 'no requirement'} cannot be built: {why.rstrip('.')}. "
            "Correct image.requirements, or try again with a network."
        )


def _find_uv() -> str:
    try:
        import uv  # noqa: PLC0415  # an extra: only environments need it

        return uv.find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise KitaruUsageError("image.requirements need uv, which is not installed here. Install it: pip install uv.")
    return found
