"""Deploy a flow: freeze its source, its environment and what it takes as an immutable version (S8.2)."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from kitaru.core.deployment import check_tag
from kitaru.core.image import ImageSettings
from kitaru.core.ports import DeploymentKey
from kitaru.core.references import can_be_found, is_path
from kitaru.core.rows import DeploymentRow
from kitaru.deployments.environment import frozen_requirements, this_python
from kitaru.deployments.snapshot import Facts, pack
from kitaru.deployments.tree import revision, source_files
from kitaru.engine.definitions import FlowDefinition
from kitaru.errors import KitaruUsageError
from kitaru.services.find_deployment import get_version
from kitaru.services.input_schema import check_inputs, input_schema
from kitaru.services.launch_deployment import prepare
from kitaru.services.secrets import check_image
from kitaru.services.settings import project_folder
from kitaru.services.stacks import check_can_run
from kitaru.services.start import StartOptions
from kitaru.services.tag import is_exclusive
from kitaru.services.wiring import Wiring

_MARKERS = ("pyproject.toml", ".kitaru", ".git")
_OF_CONTAINERS = ("base_image", "apt_packages", "dockerfile")


class Source(NamedTuple):
    """Where a flow's code is: the tree that is frozen, where in it the flow is found, and where its modules are."""

    root: Path
    file: str
    entrypoint: str
    paths: tuple[str, ...]


def deploy(
    wiring: Wiring,
    definition: FlowDefinition,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: StartOptions,
    *,
    tag: str | None,
    exclusive: bool | None,
) -> DeploymentRow:
    """Make the next version of a flow.

    Everything that can be refused is refused before anything is recorded: the environment is built, and the
    flow is loaded from the snapshot once.

    Raises:
        KitaruUsageError: The flow's source, an input, the stack, the tag or the environment cannot be used.
        KitaruSerializationError: An input cannot be carried; its path is in the message.
    """
    check_can_run(wiring, definition, options.stack, None)  # its secrets may come later
    check_image(wiring, options.image)
    if wiring.settings.store == "sqlite://":
        raise KitaruUsageError("a deployment runs in a process of its own, which cannot share a store in memory.")
    source = source_of(definition, project_folder())
    key = DeploymentKey(wiring.settings.project, definition.name, 0)
    if tag is None and exclusive is not None:
        raise KitaruUsageError(f"{definition.name}.deploy(): exclusive={exclusive!r} says nothing without tag=.")
    if tag is not None and is_exclusive(wiring, key, check_tag(tag)) and exclusive is False:
        raise KitaruUsageError(f"tag {tag!r} of flow {definition.name!r} is exclusive and stays so.")
    schema = input_schema(definition.fn)
    inputs = _representative(definition, args, kwargs)
    check_inputs(schema, inputs, f"flow {definition.name}", whole=False)
    defaults = wiring.values.encode_inputs(inputs, allow_opaque=False).text
    image = _frozen_image(options.image, source.root)
    files = source_files(source.root, apart_from=wiring.settings.home)
    if source.file not in files:
        raise KitaruUsageError(
            f"flow {definition.name} is defined in {source.file}, which does not belong to the source tree "
            f"{source.root}: .gitignore or .kitaruignore leaves it out."
        )
    archive = pack(source.root, files, Facts(python=this_python(), paths=source.paths))
    wiring.blobs.put(archive.digest, archive.data)
    _try(wiring, archive.digest, image, source.entrypoint)
    commit, dirty = revision(source.root)
    row = DeploymentRow(
        project=wiring.settings.project,
        flow=definition.name,
        version=0,
        created_at=wiring.clock.now(),
        stack=options.stack,
        entrypoint=source.entrypoint,
        snapshot=archive.digest,
        dirty=dirty,
        input_schema=json.dumps(schema, sort_keys=True),
        default_inputs=defaults,
        retries=options.retries,
        cache=options.cache,
        commit=commit,
        image=None if image is None else image.to_json(),
    )
    version = wiring.store.deployments.create(row, tag=tag, exclusive=exclusive is True)
    return get_version(wiring, key._replace(version=version))


def source_of(definition: FlowDefinition, project: Path) -> Source:
    """Where the source of a flow is.

    The tree is the project's folder where the flow is in it, else that of the nearest ``pyproject.toml``,
    ``.kitaru`` or ``.git`` above the flow, else the folder that its modules are imported from.

    Raises:
        KitaruUsageError: No other process could import it.
    """
    module, _, qualname = definition.reference.rpartition(":")
    file = getattr(sys.modules.get(definition.fn.__module__), "__file__", None)
    if file is None or not can_be_found(definition.reference):
        raise KitaruUsageError(
            f"flow {definition.name} cannot be deployed: no other process can import {definition.reference}. "
            "Define it at the top of a module or script."
        )
    path = Path(file).resolve()
    is_script = is_path(module)
    depth = 0 if is_script else len(module.split(".")) - (path.name != "__init__.py")
    imported_from = path.parents[depth]
    root = project.resolve() if path.is_relative_to(project.resolve()) else _marked(path) or imported_from
    folder = "." if not imported_from.is_relative_to(root) else imported_from.relative_to(root).as_posix()
    paths = dict.fromkeys((folder, "src", ".") if (root / "src").is_dir() else (folder, "."))
    inner = path.relative_to(root).as_posix()
    entrypoint = f"./{inner}:{qualname}" if is_script else f"{module}:{qualname}"
    return Source(root, inner, entrypoint, tuple(paths))


def _marked(path: Path) -> Path | None:
    return next((folder for folder in path.parents if any((folder / one).exists() for one in _MARKERS)), None)


def _representative(definition: FlowDefinition, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, object]:
    """The given inputs, and the defaults of the parameters, by name; what is required may be missing."""
    signature = inspect.signature(definition.fn)
    try:
        bound = signature.bind_partial(*args, **kwargs)
    except TypeError as error:
        raise KitaruUsageError(
            f"{definition.name}.deploy(): {error}. Its signature is {definition.name}{signature}."
        ) from None
    bound.apply_defaults()
    return dict(bound.arguments)


def _frozen_image(image: ImageSettings | None, root: Path) -> ImageSettings | None:
    """The settings with the packages of this environment in them, where those are to be taken over."""
    if image is None:
        return None
    beyond = [name for name in _OF_CONTAINERS if getattr(image, name)]
    if beyond:
        warnings.warn(
            f"image.{', image.'.join(beyond)}: recorded, but it has no effect: deployments run in processes here.",
            stacklevel=4,
        )
    if not image.replicate_local_python_environment:
        return image
    own = {_name(one) for one in image.requirements or ()}
    taken = [one for one in frozen_requirements(apart_from=root) if _name(one) not in own]
    return replace(image, requirements=(*taken, *(image.requirements or ())))


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else requirement


def _try(wiring: Wiring, snapshot: str, image: ImageSettings | None, entrypoint: str) -> None:
    """Build the environment and load the flow in it, as each execution will."""
    place = prepare(wiring, snapshot, image, project=wiring.settings.project)
    command = [place.python, "-m", "kitaru.worker.probe", entrypoint]
    done = subprocess.run(command, cwd=place.folder, env=place.variables, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    if done.returncode != 0:
        raise KitaruUsageError(
            f"{entrypoint} cannot be loaded from the snapshot of its source tree, so it was not deployed. It may need "
            "what .gitignore leaves out, or a package that image.requirements do not name.\n" + done.stderr.strip()
        )
