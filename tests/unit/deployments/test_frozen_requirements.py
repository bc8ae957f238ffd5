"""S8.5: ``replicate_local_python_environment`` takes over what is installed, each where it came from."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from kitaru.deployments.environment import frozen_requirements


def install(site: Path, name: str, version: str, origin: dict[str, Any] | None = None) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))


def test_s8_5_each_package_is_pinned_to_where_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "my project"
    first, second = tmp_path / "first", tmp_path / "second"
    git = {"vcs": "git", "commit_id": "abc123"}
    install(first, "Plain", "1.0")
    install(first, "from-git", "2.0", {"url": "https://host/r.git", "vcs_info": git})
    install(first, "part", "2.0", {"url": "https://host/r.git", "vcs_info": git, "subdirectory": "part"})
    install(first, "archive", "3.0", {"url": "https://host/a.whl", "archive_info": {}})
    install(first, "elsewhere", "0.1", {"url": "file:///opt/elsewhere", "dir_info": {"editable": True}})
    install(first, "own", "0.1", {"url": (project / "packages").as_uri(), "dir_info": {"editable": True}})
    install(first, "kitaru", "9.9")
    install(second, "plain", "0.9")  # hidden by the first
    distributions = metadata.distributions

    def of_both() -> Any:
        return distributions(path=[str(first), str(second)])

    monkeypatch.setattr(metadata, "distributions", of_both)
    assert frozen_requirements(apart_from=project) == (
        "archive @ https://host/a.whl",
        "elsewhere @ file:///opt/elsewhere",
        "from-git @ git+https://host/r.git@abc123",
        "part @ git+https://host/r.git@abc123#subdirectory=part",
        "Plain==1.0",
    )
