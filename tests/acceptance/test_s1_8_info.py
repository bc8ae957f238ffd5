"""S1.8: every setting in force, and the layer that it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

import kitaru
from kitaru import KitaruClient, KitaruUsageError
from kitaru.core.masking import looks_secret, masked_url


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


def shown(name: str) -> tuple[object, str]:
    setting = kitaru.info()[name]
    return setting.value, setting.source


def test_s1_8_without_any_layer_every_setting_is_a_default(home: Path, folder: Path) -> None:
    assert {one.name: (one.value, one.source) for one in kitaru.info()} == {
        "home": (str(home), "KITARU_HOME"),
        "store": (f"sqlite:///{home / 'kitaru.db'}", "default"),
        "artifacts": (str(home / "artifacts"), "default"),
        "allow_pickle": (False, "default"),
        "max_threads": (512, "default"),
        "max_flows": (64, "default"),
        "limits": ("{}", "default"),
        "project": (str(folder), "working directory"),
        "stack": ("local", "default"),
        "retries": (0, "default"),
        "cache": (True, "default"),
        "image": (None, "default"),
    }


def test_s1_8_each_layer_is_named_the_stronger_one_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pyproject.toml").write_text("[tool.kitaru]\nretries = 1\nstack = 'p'\ncache = false\nmax_flows = 3\n")
    project = f"{folder / 'pyproject.toml'} [tool.kitaru]"
    monkeypatch.setenv("KITARU_STACK", "e")
    monkeypatch.setenv("KITARU_RETRIES", "2")
    kitaru.configure(retries=3)
    assert shown("cache") == (False, project)
    assert shown("stack") == ("e", "KITARU_STACK")
    assert shown("retries") == (3, "kitaru.configure()")
    assert shown("max_flows") == (3, project)


def test_s1_8_the_active_stack_is_a_layer() -> None:
    kitaru.create_stack("dev", "local")
    kitaru.use_stack("dev")
    assert shown("stack") == ("dev", "active stack")


def test_s1_8_an_image_is_shown_by_field_and_its_environment_by_key_with_secrets_masked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KITARU_IMAGE", '{"base_image": "b", "environment": {"A": "weak", "OPENAI_API_KEY": "sk-1"}}')
    kitaru.configure(image={"environment": {"A": "strong"}})
    image = {one.name: (one.value, one.source) for one in kitaru.info() if one.name.startswith("image")}
    assert image == {
        "image.base_image": ("b", "KITARU_IMAGE"),
        "image.environment.A": ("strong", "kitaru.configure()"),
        "image.environment.OPENAI_API_KEY": ("***", "KITARU_IMAGE"),
    }
    assert "sk-1" not in str(kitaru.info())


def test_s1_8_it_prints_as_a_table_and_the_client_gives_the_same() -> None:
    lines = str(kitaru.info()).splitlines()
    assert lines[0].split() == ["setting", "value", "from"]
    assert lines[1].split() == ["version", kitaru.__version__, "installed"]
    assert KitaruClient().info() == kitaru.info()


def test_s1_8_a_wrong_value_is_named_with_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITARU_CACHE", "perhaps")
    with pytest.raises(KitaruUsageError, match="KITARU_CACHE='perhaps'"):
        kitaru.info()


def test_s1_8_what_changed_after_the_store_was_opened_is_not_shown_as_in_force(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    KitaruClient()
    monkeypatch.setenv("KITARU_HOME", str(tmp_path / "other"))
    assert shown("home") == (str(home), "this process, when it began")


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "db_password", "TOKEN", "aws-secret-access-key"])
def test_names_that_look_like_secrets(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["MONKEY", "REGION", "KEYBOARD", "AUTHOR"])
def test_names_that_do_not(name: str) -> None:
    assert not looks_secret(name)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://me:pass@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p@ss@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
        ("/a:b@c", "/a:b@c"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, masked: str) -> None:
    assert masked_url(url) == masked
