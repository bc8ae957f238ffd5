"""Settings, read from real files and variables (S10). Where they end up is tested in tests/acceptance."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitaru.services.settings import PROJECT_KEYS, read_settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "project" / "inner"
    made.mkdir(parents=True)
    monkeypatch.chdir(made)
    return made


def test_the_defaults(home: Path, folder: Path) -> None:
    settings = read_settings({})
    assert settings.home == home
    assert settings.store == f"sqlite:///{home / 'kitaru.db'}"
    assert settings.artifacts == str(home / "artifacts")
    assert (settings.allow_pickle, settings.max_threads, settings.max_flows) == (False, 512, 64)
    assert not home.exists()  # reading settings makes nothing


def test_every_key_of_the_project_is_taken_over(folder: Path) -> None:
    (folder / "pyproject.toml").write_text(
        "[tool.kitaru]\n"
        'stack = "local"\nretries = 2\ncache = false\nimage = "x"\nstore = "sqlite:////a/b.db"\n'
        'artifacts = "s3://bucket/values"\nallow_pickle = true\nmax_threads = 3\nmax_flows = 4\n'
        'project = "refunds"\nlimits = { api = { at_once = 2 } }\n'
    )
    settings = read_settings({})
    assert settings.store == "sqlite:////a/b.db"
    assert settings.artifacts == "s3://bucket/values"
    assert (settings.allow_pickle, settings.max_threads, settings.max_flows) == (True, 3, 4)
    assert settings.project == "refunds"
    assert settings.limits == {"api": {"at_once": 2}}
    assert len(PROJECT_KEYS) == 11


def test_overrides_come_before_the_environment_and_that_before_the_project(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text('[tool.kitaru]\nartifacts = "/of/project"\nmax_flows = 4\n')
    assert read_settings({}).artifacts == "/of/project"
    monkeypatch.setenv("KITARU_ARTIFACTS", "/of/environment")
    assert read_settings({}).artifacts == "/of/environment"
    assert read_settings({"artifacts": "/configured", "max_flows": 9}).artifacts == "/configured"
    assert read_settings({"max_flows": 9}).max_flows == 9
    assert read_settings({"max_flows": None}).max_flows == 4


def test_a_project_is_the_folder_of_the_nearest_pyproject_or_of_kitaru_or_the_working_directory(folder: Path) -> None:
    assert read_settings({}).project == str(folder)
    (folder.parent / ".kitaru").mkdir()
    assert read_settings({}).project == str(folder.parent)
    (folder / "pyproject.toml").write_text("")
    assert read_settings({}).project == str(folder)


def test_only_the_nearest_pyproject_counts(folder: Path) -> None:
    (folder.parent / "pyproject.toml").write_text("[tool.kitaru]\nmax_flows = 4\n")
    (folder / "pyproject.toml").write_text("[project]\n")
    assert read_settings({}).max_flows == 64


def test_a_tilde_is_the_users_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/me")
    monkeypatch.setenv("KITARU_HOME", "~/state")
    (folder / "pyproject.toml").write_text('[tool.kitaru]\nstore = "sqlite:///~/x.db"\nartifacts = "~/values"\n')
    settings = read_settings({})
    assert settings.home == Path("/users/me/state")
    assert settings.store == "sqlite:////users/me/x.db"
    assert settings.artifacts == "/users/me/values"


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:s3cret@db.example.com:5432/kitaru", "postgresql://me@db.example.com/kitaru?password=s3cret"],
)
def test_a_store_is_named_without_its_password(url: str) -> None:
    settings = read_settings({"store": url})
    assert settings.store == url
    assert "s3cret" not in settings.store_name
    assert "db.example.com" in settings.store_name
