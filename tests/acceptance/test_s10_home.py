"""S10: where state is kept, and which settings are in force."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, flow
from kitaru.services.wiring import wiring
from tests.acceptance.gates import PATIENCE
from tests.acceptance.processes import Scripts

LARGE = "x" * 300_000


@flow
def keeps(value: str = "small") -> str:
    return value


def place_of_state() -> Path:
    """The home that a run makes use of, told by the files that are there afterwards."""
    keeps.run(LARGE).wait(PATIENCE)
    home = wiring().settings.home
    assert (home / "kitaru.db").is_file()
    assert any((home / "artifacts").rglob("*"))
    return home


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with no KITARU_HOME."""
    folder = tmp_path / "project"
    (folder / "inner" / "most").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("KITARU_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    return folder


def test_s10_kitaru_home_is_the_first_choice(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".kitaru").mkdir()
    monkeypatch.setenv("KITARU_HOME", str(tmp_path / "chosen"))
    assert place_of_state() == tmp_path / "chosen"
    assert list((project / ".kitaru").iterdir()) == []


def test_s10_a_relative_home_is_one_place_wherever_the_process_goes(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_HOME", "state")
    assert place_of_state() == project / "state"
    monkeypatch.chdir(project / "inner")
    assert place_of_state() == project / "state"
    assert not (project / "inner" / "state").exists()


@pytest.mark.parametrize("folder", [".", "inner", "inner/most"])
def test_s10_the_nearest_kitaru_folder_upwards_comes_next(
    project: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (project / ".kitaru").mkdir()
    (project / "inner" / ".kitaru").mkdir()
    monkeypatch.chdir(project / folder)
    assert place_of_state() == (project / ".kitaru" if folder == "." else project / "inner" / ".kitaru")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="another place there")
def test_s10_the_users_data_directory_comes_last(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place_of_state() == tmp_path / "data" / "kitaru"
    kitaru.services.wiring.reset()
    monkeypatch.delenv("XDG_DATA_HOME")
    assert place_of_state() == tmp_path / "user" / ".local" / "share" / "kitaru"


def test_s10_an_empty_variable_is_one_that_is_not_set(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "STORE", "STACK", "RETRIES", "CACHE", "IMAGE"):
        monkeypatch.setenv(f"KITARU_{name}", "")
    (project / ".kitaru").mkdir()
    assert place_of_state() == project / ".kitaru"


def test_s10_configure_is_stronger_than_the_environment(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITARU_HOME", str(tmp_path / "environment"))
    kitaru.configure(home=tmp_path / "configured")
    assert place_of_state() == tmp_path / "configured"
    assert not (tmp_path / "environment").exists()


def stores_used() -> str:
    keeps.run().wait(PATIENCE)
    return wiring().settings.store


def test_s10_kitaru_store_names_another_store(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'flows.db'}"
    monkeypatch.setenv("KITARU_STORE", url)
    assert stores_used() == url
    assert (tmp_path / "elsewhere" / "flows.db").is_file()


def test_s10_the_store_by_layers(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project_store, environment_store, configured_store = (
        f"sqlite:///{tmp_path / name}.db" for name in ("project", "environment", "configured")
    )
    (project / "pyproject.toml").write_text(f'[tool.kitaru]\nstore = "{project_store}"\n')
    monkeypatch.chdir(project / "inner")
    assert stores_used() == project_store
    kitaru.services.wiring.reset()
    monkeypatch.setenv("KITARU_STORE", environment_store)
    assert stores_used() == environment_store
    kitaru.services.wiring.reset()
    kitaru.configure(store=configured_store)
    assert stores_used() == configured_store


@pytest.mark.parametrize("folder", [".", "inner/most"])
def test_s10_paths_in_pyproject_are_meant_from_its_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """One project, one store, from whichever of its folders a script is started."""
    (project / "pyproject.toml").write_text(
        '[tool.kitaru]\nstore = "sqlite:///state/flows.db?synchronous=normal"\nartifacts = "state/values"\n'
    )
    monkeypatch.chdir(project / folder)
    keeps.run(LARGE).wait(PATIENCE)
    assert (project / "state" / "flows.db").is_file()
    assert any((project / "state" / "values").rglob("*"))


@pytest.mark.parametrize("url", ["mysql://host/db", "kitaru.db", "sqlite:/x.db", "sqlite:///x.db?mode=fast", "://"])
def test_s10_a_store_that_is_not_known_is_refused_with_what_is(
    project: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("KITARU_STORE", url)
    with pytest.raises(kitaru.KitaruUsageError, match=r"sqlite:///|synchronous=normal") as caught:
        KitaruClient()
    assert repr(url) in str(caught.value)


WRONG_TABLES: list[tuple[str, str]] = [
    ('stak = "x"', "'stak'.*'stack'"),
    ("nothing_like_it = 1", "'nothing_like_it'.*stack, retries"),
    ('retries = "3"', "retries = '3'"),
    ("retries = true", "retries = True"),
    ("cache = 1", "cache = 1"),
    ("store = 5", "store = 5"),
    ("max_flows = 0", "max_flows=0"),
    ("this is no toml", "cannot be read"),
]


@pytest.mark.parametrize(("line", "said"), WRONG_TABLES)
def test_s10_a_wrong_tool_kitaru_table_names_the_file_and_the_key(project: Path, line: str, said: str) -> None:
    (project / "pyproject.toml").write_text(f"[tool.kitaru]\n{line}\n")
    with pytest.raises(kitaru.KitaruUsageError, match=said) as caught:
        KitaruClient()
    assert str(project / "pyproject.toml") in str(caught.value)


def test_s10_a_pyproject_without_a_table_is_fine(project: Path) -> None:
    (project / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert KitaruClient().executions.list().items == ()


def test_s10_importing_kitaru_and_declaring_flows_touches_no_disk(project: Path, tmp_path: Path) -> None:
    scripts = Scripts(project)
    scripts.write(
        "declare.py",
        """
        import kitaru
        from kitaru import checkpoint, flow, configure

        @checkpoint
        def step() -> None: ...

        @flow(retries=2, image="python:3.12")
        def agent() -> None:
            step()

        configure(retries=1)
        """,
    )
    scripts.run("declare.py")
    assert not (tmp_path / "data").exists()
    assert sorted(path.name for path in project.iterdir()) == ["declare.py", "inner"]


def test_s10_two_processes_with_one_home_see_each_others_executions(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write(
        "agent.py",
        """
        from kitaru import flow

        @flow
        def agent(x: int) -> int:
            return 2 * x

        print(agent.run(4, execution_id="a").wait())
        """,
    )
    assert scripts.run("agent.py") == ["8"]
    assert KitaruClient().executions.get("a").result == 8


@pytest.mark.parametrize("kind", ["corrupt", "a folder", "newer", "foreign"])
def test_s10_a_home_that_cannot_be_used_is_a_sentence_and_is_left_as_it_is(home: Path, kind: str) -> None:
    import sqlite3

    path = home / "kitaru.db"
    home.mkdir()
    if kind == "corrupt":
        path.write_bytes(b"this is no database" * 1000)
    elif kind == "a folder":
        path.mkdir()
    else:
        connection: Any = sqlite3.connect(path)
        connection.execute("CREATE TABLE something (x)")
        if kind == "newer":
            connection.execute("PRAGMA user_version = 999")
        connection.commit()
        connection.close()
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(kitaru.KitaruStoreError) as caught:
        keeps.run()
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before
