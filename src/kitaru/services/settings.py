"""Where state is kept, and the settings of a project (S10)."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from kitaru.core.image import ImageSettings
from kitaru.core.limit import parse_limits
from kitaru.core.masking import masked_url
from kitaru.core.retry import check_retries
from kitaru.errors import KitaruUsageError

PROJECT_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "stack": str,
    "retries": int,
    "cache": bool,
    "image": (str, dict),
    "store": str,
    "artifacts": str,
    "allow_pickle": bool,
    "max_threads": int,
    "max_flows": int,
    "limits": dict,
    "project": str,
}
"""The keys of ``[tool.kitaru]`` in ``pyproject.toml``, and the types of their values."""

_EXPECTED: Mapping[type | tuple[type, ...], str] = {
    str: "a text",
    int: "a whole number",
    bool: "true or false",
    dict: "a table",
    (str, dict): "a text or a table",
}
_SQLITE = "sqlite:///"
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")

SNAPSHOT = "KITARU_SNAPSHOT"
"""Tells a process which snapshot it was started from: set by whoever starts it."""

SNAPSHOTS = "snapshots"
"""The folder of the home in which snapshots are laid out."""

ENVIRONMENTS = "environments"
"""The folder of the home in which environments are built."""

WHEELS = "wheels"
"""The folder of the home with the Kitaru that they are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a process needs to know before it opens a store.

    Attributes:
        home: Folder of the embedded store, its artifacts and its locks.
        store: URL of the store.
        artifacts: Path or URL of the artifact store.
        allow_pickle: Whether values may be pickled (S4.2).
        max_threads: Most threads for submitted calls in this process.
        max_flows: Most top-level flows that this process runs at once; the others are ``pending``.
        project: What tells the executions of this project from others in the same store: a name, where one is
            given; else the folder of the nearest ``pyproject.toml`` or ``.kitaru``, else the working directory.
        limits: Named limits as this process declares them: ``at_once``, ``per_minute`` or both, by name.
        snapshot: The snapshot that this process was started from; None where it runs the source at hand.
    """

    home: Path
    store: str
    artifacts: str
    allow_pickle: bool
    max_threads: int
    max_flows: int
    project: str
    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    snapshot: str | None = None

    @property
    def store_name(self) -> str:
        """The store as messages name it: with no password."""
        return masked_url(self.store)


class Given(NamedTuple):
    """A value, and the layer that gives it."""

    value: Any
    source: str


DEFAULT = "default"


def read_settings(overrides: Mapping[str, Any]) -> Settings:
    """The settings in force: ``overrides`` over the environment over the project over the defaults.

    Raises:
        KitaruUsageError: ``[tool.kitaru]`` holds an unknown key or a wrong type.
    """
    values: dict[str, Any] = {name: given.value for name, given in settings_given(overrides).items()}
    values["home"] = Path(values["home"])
    return Settings(**values, snapshot=os.environ.get(SNAPSHOT) or None)


def settings_given(overrides: Mapping[str, Any]) -> dict[str, Given]:
    """The settings of ``read_settings`` by name, each with its source."""
    home = _first(_override(overrides, "home"), _variable("home"), Given(str(_default_home()), DEFAULT))
    home = home._replace(value=str(Path(home.value).expanduser().absolute()))
    defaults = {
        "store": f"{_SQLITE}{Path(home.value) / 'kitaru.db'}",
        "artifacts": str(Path(home.value) / "artifacts"),
        "allow_pickle": False,
        "max_threads": 512,
        "max_flows": 64,
    }
    project = project_settings()
    given = {"home": home}
    for name, default in defaults.items():
        variable = _variable(name)
        of_project = Given(project[name], project_source()) if name in project else None
        given[name] = _first(_override(overrides, name), variable, of_project, Given(default, DEFAULT))
    for name in ("max_threads", "max_flows"):
        positive(given[name].value, given[name].source)  # only the variable is not checked yet
    of_project = Given(project["project"], project_source()) if "project" in project else None
    folder = Given(str(project_folder()), "working directory")
    name_of_project = _first(_variable("project"), of_project, folder)
    return {**given, "limits": _limits(overrides, project), "project": name_of_project}


def _limits(overrides: Mapping[str, Any], project: Mapping[str, Any]) -> Given:
    """Those of the project, and over them those of ``kitaru.configure``, by name."""
    given: dict[str, Mapping[str, int]] = {**project.get("limits", {}), **(overrides.get("limits") or {})}
    source = "kitaru.configure()" if overrides.get("limits") else project_source() if given else DEFAULT
    return Given(given, source)


def _first(*layers: Given | None) -> Given:
    return next(layer for layer in layers if layer is not None)


def _override(overrides: Mapping[str, Any], name: str) -> Given | None:
    value = overrides.get(name)
    return None if value is None else Given(value, "kitaru.configure()")


def _variable(name: str) -> Given | None:
    variable = f"KITARU_{name.upper()}"
    text = os.environ.get(variable)
    if not text:
        return None
    wanted = PROJECT_KEYS.get(name, str)
    value: Any = text
    if wanted is bool:
        value = true_or_false(text, variable)
    elif wanted is int:
        value = int(text) if text.isdecimal() else text  # what is no number is refused with the others
    return Given(value, variable)


def true_or_false(text: str, variable: str) -> bool:
    """What a variable says, as people write it; ``KitaruUsageError`` where it is neither."""
    if text.lower() not in _TRUE + _FALSE:
        raise KitaruUsageError(f"{variable}={text!r}: one of {', '.join(_TRUE + _FALSE)} is expected.")
    return text.lower() in _TRUE


def positive(value: object, name: str) -> int:
    """Return a count of 1 or more, else raise ``KitaruUsageError``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise KitaruUsageError(f"{name}={value!r}: a whole number, 1 or more, is expected.")
    return value


def project_settings() -> Mapping[str, Any]:
    """``[tool.kitaru]`` of the nearest ``pyproject.toml``; empty where there is none."""
    return _project_settings(os.getcwd())  # noqa: PTH109  # a path costs ten times as much, and each run asks


def project_source() -> str:
    """Where ``project_settings`` come from, as it is shown."""
    return f"{_nearest(Path.cwd(), 'pyproject.toml')} [tool.kitaru]"


@lru_cache(maxsize=16)
def _project_settings(folder: str) -> Mapping[str, Any]:
    file = _nearest(Path(folder), "pyproject.toml")
    if file is None:
        return {}
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("kitaru", {})
    except (OSError, ValueError) as error:
        raise KitaruUsageError(f"{file} cannot be read: {error}.") from error
    for key, value in table.items():
        if key not in PROJECT_KEYS:
            near = get_close_matches(key, list(PROJECT_KEYS), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"The keys are {', '.join(PROJECT_KEYS)}."
            raise KitaruUsageError(f"{file}: [tool.kitaru] has no key {key!r}; {hint}")
        kind = PROJECT_KEYS[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise KitaruUsageError(
                f"{file}: [tool.kitaru] {key} = {value!r} has the wrong type: {_EXPECTED[kind]} is expected."
            )
    return {key: _checked(key, value, file) for key, value in table.items()}


def _checked(key: str, value: Any, file: Path) -> Any:
    """A value of the right type, where it is in its range too; of ``image``, the settings.

    Paths are meant from the folder of the file, so that a project has one store wherever in it a
    process is started.
    """
    owner = f"{file}: [tool.kitaru]"
    if key == "store" and value.startswith(_SQLITE):
        return f"{_SQLITE}{file.parent / Path(value.removeprefix(_SQLITE)).expanduser()}"
    if key == "artifacts" and "://" not in value:
        return str(file.parent / Path(value).expanduser())
    if key == "retries":
        return check_retries(value, owner)
    if key == "image":
        return ImageSettings.parse(value, owner)
    if key == "limits":
        return parse_limits(value, owner)
    if key in ("max_threads", "max_flows"):
        return positive(value, f"{owner} {key}")
    return value


def _default_home() -> Path:
    folder = _nearest(Path.cwd(), ".kitaru")
    if folder is not None:
        return folder
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local").expanduser() / "kitaru"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/kitaru").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "kitaru"


def project_folder() -> Path:
    """The folder of the nearest ``pyproject.toml`` or ``.kitaru``, else the working directory."""
    marker = _nearest(Path.cwd(), "pyproject.toml") or _nearest(Path.cwd(), ".kitaru")
    return marker.parent if marker is not None else Path.cwd()


def _nearest(folder: Path, name: str) -> Path | None:
    for place in (folder, *folder.parents):
        if (place / name).exists():
            return place / name
    return None
