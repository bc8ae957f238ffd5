"""Start an execution from its snapshot, in its environment, in a process of its own (S8.2, S8.4).

A process takes an execution for its own only where both have the same snapshot: an execution of a
deployment never runs in a process of the working tree, nor the other way round.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kitaru.core.image import ImageSettings
from kitaru.core.ports import Child
from kitaru.core.rows import ExecutionRow
from kitaru.deployments.laid_out import hold
from kitaru.services.runner import Spawn
from kitaru.services.runners import environment
from kitaru.services.secrets import secret_environment
from kitaru.services.settings import ENVIRONMENTS, SNAPSHOT, SNAPSHOTS, WHEELS, Settings

if TYPE_CHECKING:
    from kitaru.services.wiring import Wiring


class Place(NamedTuple):
    """Where code from a snapshot runs: the interpreter, the working directory, the variables."""

    python: str
    folder: Path
    variables: Mapping[str, str]


class Launcher:
    """Starts the processes of deployed executions.

    Args:
        wiring: The process.
        otherwise: Starts a process for an execution that is of this process's own code, or does not.
    """

    def __init__(self, wiring: Wiring, otherwise: Spawn) -> None:
        self._wiring = wiring
        self._otherwise = otherwise

    def __call__(self, row: ExecutionRow) -> Child | None:
        """See ``kitaru.services.runner.Spawn``.

        Raises:
            KitaruUsageError: The environment cannot be built here.
            KitaruNotFoundError: The snapshot is gone, or a secret that the image names.
        """
        if row.snapshot is None or row.snapshot == self._wiring.settings.snapshot:
            return self._otherwise(row)
        where = f"execution {row.execution_id}"
        image = None if row.image is None else ImageSettings.parse(json.loads(row.image), where)
        place = prepare(self._wiring, row.snapshot, image, project=row.project)
        return self._wiring.spares.take(place.python, place.folder, place.variables, row.flow_ref, row.execution_id)


def prepare(wiring: Wiring, snapshot: str, image: ImageSettings | None, *, project: str) -> Place:
    """Lay out a snapshot and build its environment, where that has not been done on this machine."""
    # Only here: most processes run nothing from a snapshot.
    from kitaru.deployments.environment import python_for  # noqa: PLC0415
    from kitaru.deployments.snapshot import unpack  # noqa: PLC0415

    settings = wiring.settings
    user = f"{wiring.store_id}.{snapshot}"
    tree, facts = unpack(settings.home / SNAPSHOTS, snapshot, wiring.blobs.get, user=user)
    python = python_for(
        settings.home / ENVIRONMENTS,
        None if image is None else image.requirements,
        facts.python,
        extras=_extras(settings),
        wheels=settings.home / WHEELS,
        cwd=tree,
        user=user,
    )
    variables = {**os.environ, **environment(wiring), "KITARU_PROJECT": project, SNAPSHOT: snapshot}
    if image is not None:
        variables |= {**(image.environment or {}), **secret_environment(wiring, image, project=project)}
    variables["PYTHONPATH"] = os.pathsep.join(str(tree / path) for path in facts.paths)
    return Place(python, tree, variables)


def hold_place(settings: Settings) -> None:
    """Have the files that this process runs from stay until it ends, whatever is cleaned meanwhile."""
    if settings.snapshot is None:
        return
    hold(settings.home / SNAPSHOTS / settings.snapshot)
    prefix = Path(sys.prefix)
    if prefix.parent == settings.home / ENVIRONMENTS:
        hold(prefix)


def _extras(settings: Settings) -> list[str]:
    """The extras of Kitaru that a process of this store needs."""
    needed = {"postgres": settings.store.startswith("postgres"), "secrets": find_spec("cryptography") is not None}
    return [name for name, is_needed in needed.items() if is_needed]
