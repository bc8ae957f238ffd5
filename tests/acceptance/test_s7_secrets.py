"""Secrets: kept encrypted, read by name, and refused where they cannot be one (S7.1)."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import ImageSettings, KitaruClient, KitaruNotFoundError, KitaruUsageError
from kitaru.services import wiring as process
from kitaru.services.secrets import secret_environment
from tests.acceptance.runs import Program

VALUE = "sk-live-Zq8wTq2"

pytestmark = pytest.mark.usefixtures("home")


def new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


@pytest.fixture
def secrets() -> Any:
    return KitaruClient().secrets


def test_s7_1_a_secret_is_set_read_listed_and_deleted(secrets: Any) -> None:
    began = datetime.now(UTC)
    secrets.set("OPENAI_API_KEY", VALUE)
    secrets.set("DB_PASSWORD", "päss\nwörd")
    assert secrets.get("OPENAI_API_KEY") == VALUE
    assert kitaru.secret("DB_PASSWORD") == "päss\nwörd"
    listed = secrets.list()
    assert [one.name for one in listed] == ["DB_PASSWORD", "OPENAI_API_KEY"]
    assert all(began <= one.changed_at <= datetime.now(UTC) for one in listed)
    assert VALUE not in repr(listed)
    secrets.delete("DB_PASSWORD")
    assert [one.name for one in secrets.list()] == ["OPENAI_API_KEY"]


def test_s7_1_setting_a_secret_again_replaces_it(secrets: Any) -> None:
    secrets.set("TOKEN", "the first one")
    secrets.set("TOKEN", "the second one")
    assert kitaru.secret("TOKEN") == "the second one"


def test_s7_1_each_project_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "pyproject.toml").touch()
        monkeypatch.chdir(folder)
        process.reset()
        KitaruClient().secrets.set("TOKEN", f"that of {name}")
    assert kitaru.secret("TOKEN") == "that of two"
    monkeypatch.chdir(tmp_path / "one")
    process.reset()
    assert kitaru.secret("TOKEN") == "that of one"


@kitaru.checkpoint(cache=False)
def length_of_token() -> int:
    return len(kitaru.secret("TOKEN"))


@kitaru.flow
def counts_token() -> int:
    return length_of_token()


def test_a_flow_reads_the_secrets_of_the_project_that_it_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kitaru.KitaruUserCodeError, match="there is no secret TOKEN"):
        counts_token.run(execution_id="exec").wait(timeout=30)
    KitaruClient().secrets.set("TOKEN", VALUE)
    monkeypatch.chdir(elsewhere)
    process.reset()
    assert KitaruClient().executions.retry("exec").wait(timeout=30) == len(VALUE)


def _ask(name: str) -> Callable[[Any], Any]:
    return lambda secrets: secrets.get(name)


BAD: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "unknown": (_ask("OPENAI_KEY"), KitaruNotFoundError, "no secret OPENAI_KEY in .*Did you mean OPENAI_API_KEY"),
    "unknown, not near": (_ask("XXXXX"), KitaruNotFoundError, "There are: OPENAI_API_KEY"),
    "delete unknown": (lambda secrets: secrets.delete("OPENAI_KEY"), KitaruNotFoundError, "Did you mean"),
    "delete no name": (lambda secrets: secrets.delete("a b"), KitaruUsageError, "'a b' is no name of a secret"),
    "name with a dash": (lambda secrets: secrets.set("A-B", VALUE), KitaruUsageError, "'A-B' is no name"),
    "name with a digit first": (lambda secrets: secrets.set("1A", VALUE), KitaruUsageError, "'1A' is no name"),
    "name with a line end": (lambda secrets: secrets.set("A\n", VALUE), KitaruUsageError, "is no name"),
    "name not ASCII": (lambda secrets: secrets.set("Ä", VALUE), KitaruUsageError, "is no name"),
    "name too long": (lambda secrets: secrets.set("A" * 101, VALUE), KitaruUsageError, "is no name"),
    "name empty": (_ask(""), KitaruUsageError, "'' is no name"),
    "name no string": (lambda secrets: secrets.set(3, VALUE), KitaruUsageError, "3 is no name"),
    "value too short": (lambda secrets: secrets.set("A", " abc "), KitaruUsageError, "fewer than 4 characters"),
    "value empty": (lambda secrets: secrets.set("A", ""), KitaruUsageError, "fewer than 4 characters"),
    "value too long": (lambda secrets: secrets.set("A", "x" * 65_537), KitaruUsageError, "longer than 64 KiB"),
    "value no string": (lambda secrets: secrets.set("A", b"bytes"), KitaruUsageError, "not a bytes"),
    "value with zero": (lambda secrets: secrets.set("A", "ab\0cd"), KitaruUsageError, "zero character"),
    "value no text": (lambda secrets: secrets.set("A", "abcd\ud800"), KitaruUsageError, "lone surrogates"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_kept(secrets: Any, case: str) -> None:
    act, error, message = BAD[case]
    secrets.set("OPENAI_API_KEY", VALUE)
    with pytest.raises(error, match=message):
        act(secrets)
    assert [one.name for one in secrets.list()] == ["OPENAI_API_KEY"]


def test_a_refused_value_is_not_in_the_message(secrets: Any) -> None:
    with pytest.raises(KitaruUsageError) as caught:
        secrets.set("A", "xyz")
    assert "xyz" not in str(caught.value)


# ── the key ──────────────────────────────────────────────────────────────────────────────────────


def test_the_key_is_made_with_the_first_secret_and_only_its_owner_may_read_it(secrets: Any, home: Path) -> None:
    assert secrets.list() == ()
    with pytest.raises(KitaruNotFoundError, match="There are none"):
        secrets.get("TOKEN")
    assert not (home / "secret.key").exists()
    secrets.set("TOKEN", VALUE)
    assert stat.S_IMODE((home / "secret.key").stat().st_mode) == 0o600
    assert [path.name for path in home.glob(".secret*")] == []


def test_a_key_that_others_can_read_is_refused_until_it_is_closed(secrets: Any, home: Path) -> None:
    secrets.set("TOKEN", VALUE)
    key = home / "secret.key"
    key.chmod(0o640)
    for act in (lambda: secrets.get("TOKEN"), lambda: secrets.set("TOKEN", VALUE)):
        with pytest.raises(KitaruUsageError, match=f"is open to others .mode 0640.. Close it: chmod 600 {key}"):
            act()
    assert secrets.list()[0].name == "TOKEN"  # the names need no key
    key.chmod(0o600)
    assert secrets.get("TOKEN") == VALUE


def test_a_key_in_the_environment_is_used_alone(secrets: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITARU_SECRET_KEY", new_key())
    secrets.set("TOKEN", VALUE)
    assert secrets.get("TOKEN") == VALUE
    assert not (home / "secret.key").exists()


def test_another_key_is_an_error_that_says_so(secrets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets.set("TOKEN", VALUE)
    monkeypatch.setenv("KITARU_SECRET_KEY", new_key())
    with pytest.raises(KitaruUsageError, match="TOKEN cannot be read: .* another key than that of KITARU_SECRET_KEY"):
        secrets.get("TOKEN")


def test_a_project_does_not_come_to_have_two_keys(secrets: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets.set("TOKEN", VALUE)
    with monkeypatch.context() as patch:
        patch.setenv("KITARU_SECRET_KEY", new_key())
        with pytest.raises(KitaruUsageError, match="TOKEN cannot be read"):
            secrets.set("OTHER", VALUE)
    (home / "secret.key").rename(home / "elsewhere")
    with pytest.raises(KitaruUsageError, match=r"there is no key, neither in KITARU_SECRET_KEY nor in .*secret\.key"):
        secrets.set("OTHER", VALUE)
    assert [one.name for one in secrets.list()] == ["TOKEN"]
    assert not (home / "secret.key").exists()


def test_who_has_lost_the_key_can_start_anew(secrets: Any, home: Path) -> None:
    secrets.set("TOKEN", VALUE)
    (home / "secret.key").unlink()
    secrets.set("TOKEN", "another value")  # the only one, so none is left behind
    assert secrets.get("TOKEN") == "another value"


def test_a_key_is_changed_by_putting_the_new_one_first(secrets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = new_key(), new_key()
    monkeypatch.setenv("KITARU_SECRET_KEY", old)
    secrets.set("TOKEN", VALUE)
    monkeypatch.setenv("KITARU_SECRET_KEY", f"{new}, {old}")
    assert secrets.get("TOKEN") == VALUE
    secrets.set("TOKEN", secrets.get("TOKEN"))
    monkeypatch.setenv("KITARU_SECRET_KEY", new)
    assert secrets.get("TOKEN") == VALUE


@pytest.mark.parametrize("text", ["hunter2-hunter2", "x" * 44, " , ", "ü" * 44])
def test_what_is_no_key_is_refused_and_not_repeated(
    secrets: Any, home: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("KITARU_SECRET_KEY", text)
        with pytest.raises(KitaruUsageError, match=r"KITARU_SECRET_KEY holds no key.*Make one with: python") as caught:
            secrets.set("TOKEN", VALUE)
        assert text.strip(" ,") == "" or text not in str(caught.value)
    home.mkdir(exist_ok=True)
    (home / "secret.key").write_text(text)
    (home / "secret.key").chmod(0o600)
    with pytest.raises(KitaruUsageError, match=r"secret\.key holds no key"):
        secrets.set("TOKEN", VALUE)
    assert secrets.list() == ()


def test_a_home_that_cannot_be_written_is_told(secrets: Any, home: Path) -> None:
    (home / "secret.key").mkdir()
    with pytest.raises(KitaruUsageError, match="cannot be read: Is a directory"):
        secrets.set("TOKEN", VALUE)


def test_processes_that_make_the_key_at_once_agree_on_one(tmp_path: Path, secrets: Any) -> None:
    program = Program(
        tmp_path,
        "import sys, kitaru\n"
        "secrets = kitaru.KitaruClient().secrets\n"
        "sys.stdin.readline()\n"  # all are ready by then
        "secrets.set(sys.argv[1], 'value of ' + sys.argv[1])\n",
    )
    names = [f"TOKEN_{number}" for number in range(6)]
    children = [
        subprocess.Popen(
            [sys.executable, str(program.path), name],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    failed = [(child.communicate(timeout=60)[1], child.returncode) for child in children]
    assert all(code == 0 for _, code in failed), failed
    read = Program(
        tmp_path,
        "import kitaru\n"
        "secrets = kitaru.KitaruClient().secrets\n"
        "print([secrets.get(one.name) for one in secrets.list()])\n",
        "read.py",
    ).run()
    assert read.stdout.strip() == str([f"value of {name}" for name in names]), read.stderr


def test_without_the_package_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        "import sys\n"
        "sys.modules['cryptography'] = None\n"  # as if it were not installed
        "import kitaru\n"
        "assert kitaru.KitaruClient().secrets.list() == ()\n"
        "try:\n"
        "    kitaru.KitaruClient().secrets.set('TOKEN', 'a value')\n"
        "except kitaru.KitaruUsageError as error:\n"
        "    print(error)\n",
    ).run()
    assert program.stdout == (
        "Secrets need the package cryptography, which cannot be loaded here. Install it: pip install cryptography\n"
    ), program.stderr


# ── images ───────────────────────────────────────────────────────────────────────────────────────


def test_s8_5_the_environment_of_a_child_process_gets_the_secrets_that_its_image_names(secrets: Any) -> None:
    secrets.set("TOKEN", VALUE)
    secrets.set("OTHER", "not asked for")
    image = ImageSettings(secret_environment_from=("TOKEN",))
    assert secret_environment(process.wiring(), image) == {"TOKEN": VALUE}
    assert secret_environment(process.wiring(), ImageSettings()) == {}
    assert secret_environment(process.wiring(), None) == {}
    with pytest.raises(KitaruNotFoundError, match="no secret TOKE .*Did you mean TOKEN"):
        secret_environment(process.wiring(), ImageSettings(secret_environment_from=("TOKE",)))


def test_s8_5_a_list_of_names_is_expected_and_the_next_layer_replaces_it() -> None:
    with pytest.raises(KitaruUsageError, match=r"image\.secret_environment_from='TOKEN': a list of strings"):
        ImageSettings(secret_environment_from="TOKEN")  # type: ignore[arg-type]
    lower = ImageSettings(secret_environment_from=("A",), environment={"X": "1"})
    assert ImageSettings(secret_environment_from=("B",)).over(lower).secret_environment_from == ("B",)


@kitaru.flow
def idle() -> None:
    return None


def test_a_secret_in_the_plain_environment_of_an_image_is_refused_before_it_is_recorded(secrets: Any) -> None:
    secrets.set("TOKEN", VALUE)
    process.reset()  # a process that has not read it
    image = {"environment": {"URL": f"https://x:{VALUE}@example.com"}}
    with pytest.raises(
        KitaruUsageError, match=r"image\.environment\['URL'\] holds the value of secret TOKEN"
    ) as caught:
        idle.run(image=image)
    assert VALUE not in str(caught.value)
    with pytest.raises(KitaruUsageError, match="image holds the value of secret TOKEN"):
        idle.run(image={"requirements": [f"private @ https://x:{VALUE}@example.com/private.whl"]})
    assert not list(KitaruClient().executions.list())
    idle.run(image={"environment": {"URL": "https://example.com"}, "secret_environment_from": ["TOKEN"]}).wait()
