"""S8.3: tags route, and what is wrong with an invocation is told before anything is recorded."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import (
    KitaruClient,
    KitaruContextError,
    KitaruExecutionError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
)
from kitaru.services.wiring import wiring
from tests.acceptance.asking import asked
from tests.acceptance.deployed import Project
from tests.acceptance.gates import PATIENCE


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path)
    monkeypatch.setenv("EFFECTS", str(made.effects_file))
    return made


@pytest.fixture
def three(project: Project) -> Project:
    """Three versions of ``hello``."""
    project.python("import agents\nfor n in range(3): agents.hello.deploy(name=f'v{n + 1}')")
    return project


def tags() -> dict[int, tuple[str, ...]]:
    return {one.version: one.tags for one in reversed(KitaruClient().deployments.list("hello"))}


def test_s8_3_the_default_route_is_that_of_the_first_version_until_it_is_moved(three: Project) -> None:
    deployments = KitaruClient().deployments
    assert tags() == {1: ("default",), 2: (), 3: ()}
    assert deployments.get("hello").version == 1
    assert deployments.tag("hello", 3, "default").tags == ("default",)
    assert tags() == {1: (), 2: (), 3: ("default",)}
    assert deployments.invoke("hello").wait(PATIENCE) == "v1 v3"


def test_s8_3_a_shared_tag_means_its_newest_version(three: Project) -> None:
    deployments = KitaruClient().deployments
    for version in (1, 2):
        deployments.tag("hello", version, "stable")
    assert deployments.get("hello", tag="stable").version == 2
    deployments.get("hello", version=2).remove_tag("stable")
    assert deployments.get("hello", tag="stable").version == 1


def test_s8_3_an_exclusive_tag_moves(three: Project) -> None:
    first = KitaruClient().deployments.get("hello", version=1).add_tag("live", exclusive=True)
    assert first.tags == ("default", "live")
    KitaruClient().deployments.tag("hello", 2, "live")
    assert tags() == {1: ("default",), 2: ("live",), 3: ()}
    with pytest.raises(KitaruUsageError, match="is exclusive and stays so"):
        KitaruClient().deployments.tag("hello", 3, "live", exclusive=False)


def test_s8_3_default_cannot_be_removed_or_shared(three: Project) -> None:
    deployments = KitaruClient().deployments
    with pytest.raises(KitaruUsageError, match="cannot be removed"):
        deployments.untag("hello", 1, "default")
    with pytest.raises(KitaruUsageError, match="always at one version"):
        deployments.tag("hello", 2, "default", exclusive=False)
    assert tags()[1] == ("default",)


def test_s8_3_what_is_needed_is_not_deleted(project: Project) -> None:
    deployments = KitaruClient().deployments
    project.python("import agents\nfor n in range(2): agents.approved.deploy(name='ada')")
    handle = deployments.invoke("approved", version=2)
    asked(handle, "ok")
    with pytest.raises(KitaruStateError, match=f"not finished: {handle.exec_id}"):
        deployments.delete("approved", 2)
    with pytest.raises(KitaruStateError, match="is what tag 'default' points to"):
        deployments.delete("approved", 1)
    handle.cancel()
    deployments.delete("approved", 2)
    assert [one.version for one in deployments.list("approved")] == [1]
    with pytest.raises(KitaruNotFoundError, match="has no version 2; its versions are 1"):
        deployments.delete("approved", 2)


@pytest.mark.parametrize(
    ("flow", "route", "told"),
    [
        ("helo", {}, "flow 'helo' is not deployed in .*; did you mean 'hello'"),
        ("hello", {"version": 7}, "has no version 7; its versions are 3, 2, 1"),
        ("hello", {"tag": "defult"}, "no version with tag 'defult'; did you mean 'default'"),
    ],
)
def test_s8_3_what_is_not_there_is_told_with_the_nearest_names(
    three: Project, flow: str, route: dict[str, Any], told: str
) -> None:
    with pytest.raises(KitaruNotFoundError, match=told):
        KitaruClient().deployments.invoke(flow, **route)
    assert KitaruClient().executions.list().items == ()


def test_s8_3_all_that_is_wrong_with_the_inputs_is_told_at_once_and_nothing_is_recorded(three: Project) -> None:
    with pytest.raises(KitaruUsageError) as caught:
        KitaruClient().deployments.invoke("hello", {"name": 3, "times": "twice", "tims": 1})
    told = str(caught.value)
    assert "there is no input 'tims' (did you mean 'times'?)" in told
    assert "name: 3 is not of type 'string'" in told
    assert "times: 'twice' is not of type 'integer'" in told
    assert KitaruClient().executions.list().items == ()


def test_s8_3_a_required_input_that_is_given_nowhere_is_missing(project: Project) -> None:
    project.deploy("hello", "")
    with pytest.raises(KitaruUsageError, match="name is missing"):
        KitaruClient().deployments.invoke("hello")
    assert KitaruClient().deployments.invoke("hello", {"name": "bob"}).wait(PATIENCE) == "v1 bob"


def test_s8_2_a_representative_input_that_does_not_fit_is_refused(project: Project) -> None:
    code = "import agents\ntry: agents.hello.deploy(name=1, tims=2)\nexcept ValueError as error: print(error)"
    assert "unexpected keyword argument 'tims'" in project.python(code)[0]
    code = "import agents\ntry: agents.hello.deploy(name=1)\nexcept ValueError as error: print(error)"
    assert "name: 1 is not of type 'string'" in project.python(code)[0]
    assert KitaruClient().deployments.list() == ()


def test_s8_3_a_tag_that_makes_no_sense_is_refused_before_anything_is_made(project: Project, home: Path) -> None:
    code = (
        "import agents\n"
        "for options in ({'tag': 'no tag'}, {'exclusive': True}, {'tag': 'default', 'exclusive': False}):\n"
        "    try: agents.hello.deploy(**options)\n"
        "    except ValueError as error: print(error)"
    )
    wrong, without, shared = project.python(code)
    assert "tag='no tag'" in wrong
    assert "exclusive=True says nothing without tag=" in without
    assert "is exclusive and stays so" in shared
    assert not (home / "snapshots").exists()
    assert KitaruClient().deployments.list() == ()


def test_s8_3_inputs_that_came_as_json_are_what_the_signature_says(project: Project) -> None:
    project.scripts.write(
        "typed.py",
        """
        from dataclasses import dataclass
        from datetime import date
        from pathlib import Path
        import kitaru

        @dataclass
        class Report:
            title: str
            due: date

        @kitaru.flow
        def show(report: Report, where: Path = Path("x"), *rest: int, **more: float) -> str:
            return f"{report.due:%d.%m.%y} {where.name} {sum(rest)} {sorted(more)}"
        """,
    )
    project.python("import typed; typed.show.deploy()")
    inputs = {"report": {"title": "t", "due": "2026-02-01"}, "where": "a/b", "extra": 1.5}
    assert KitaruClient().deployments.invoke("show", inputs).wait(PATIENCE) == "01.02.26 b 0 ['extra']"


def test_s8_3_an_id_of_ones_own_means_the_first_invocation(three: Project) -> None:
    deployments = KitaruClient().deployments
    first = deployments.invoke("hello", execution_id="mine", tags=["nightly"])
    assert first.wait(PATIENCE) == "v1 v1"
    assert deployments.invoke("hello", execution_id="mine").wait(PATIENCE) == "v1 v1"
    assert three.effects == ["v1:v1"]
    assert KitaruClient().executions.get("mine").tags == ("nightly",)
    with pytest.raises(KitaruUsageError, match="is taken"):
        deployments.invoke("hello", {"name": "other"}, execution_id="mine")


def test_s8_3_a_body_cannot_invoke_but_a_checkpoint_can(three: Project) -> None:
    @kitaru.checkpoint
    def start() -> str:
        key = kitaru.idempotency_key()[:16]
        return KitaruClient().deployments.invoke("hello", execution_id=key).exec_id

    @kitaru.flow
    def body(wrongly: bool) -> str:
        return KitaruClient().deployments.invoke("hello").exec_id if wrongly else start()

    with pytest.raises(KitaruExecutionError) as caught:
        body.run(True).wait(PATIENCE)
    assert isinstance(caught.value.__cause__, KitaruContextError)
    assert KitaruClient().executions.handle(body.run(False).wait(PATIENCE)).wait(PATIENCE) == "v1 v1"


@pytest.mark.parametrize("name", ["", "with space", "-x", 3])
def test_s8_3_what_cannot_be_a_tag_is_refused(three: Project, name: object) -> None:
    with pytest.raises(KitaruUsageError, match="tag="):
        KitaruClient().deployments.tag("hello", 1, name)  # type: ignore[arg-type]


def test_s8_3_a_priority_and_tags_are_recorded_however_a_version_is_invoked(project: Project) -> None:
    project.deploy("hello")
    given: dict[str, Any] = {"priority": 7, "tags": ["nightly", "nightly"]}
    KitaruClient().deployments.invoke("hello", execution_id="client", **given).wait(PATIENCE)
    KitaruClient().deployments.get("hello").invoke(execution_id="record", **given).wait(PATIENCE)
    project.python(f"import agents; agents.hello.invoke(execution_id='flow', **{given}).wait()")
    for exec_id in ("client", "record", "flow"):
        row = wiring().store.executions.get(exec_id)
        assert row is not None
        assert (row.priority, row.tags) == (7, ("nightly",))


def test_s8_3_options_of_an_invocation_that_make_no_sense_are_refused(project: Project) -> None:
    project.deploy("hello")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"priority": "high"}, "priority='high'"),
        ({"priority": True}, "priority=True"),
        ({"tags": "nightly"}, "tags='nightly': a list of words is expected"),
        ({"tags": [1]}, r"tags=\[1\]: a list of words is expected"),
        ({"execution_id": "no id"}, "no id"),
    ]
    for options, told in wrong:
        with pytest.raises(KitaruUsageError, match=told):
            KitaruClient().deployments.invoke("hello", **options)
    assert KitaruClient().executions.list().items == ()


def test_s8_3_a_misspelt_option_is_told_with_its_right_name(project: Project) -> None:
    code = (
        "import agents\n"
        "for call in ((lambda: agents.hello.deploy(retrys=2)), (lambda: agents.hello.invoke(verson=2))):\n"
        "    try: call()\n"
        "    except ValueError as error: print(error)"
    )
    deploy, invoke = project.python(code)
    assert "hello.deploy() has no option 'retrys'" in deploy
    assert "did you mean retries=?" in deploy
    assert "hello.invoke() has no option 'verson'" in invoke
    assert KitaruClient().deployments.list() == ()


def deleted_while(project: Project, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> kitaru.Cleaned:
    """Version 2 is invoked; when that comes to this function, the version is deleted, and what nobody names removed."""
    project.edit("v2")
    project.deploy("hello")
    artifacts = Path(os.environ["KITARU_HOME"], "artifacts")
    at = time.time() - 5400
    for path in artifacts.iterdir():
        os.utime(path, (at, at))
    cleaned: list[kitaru.Cleaned] = []
    whole = getattr(owner, name)

    def deleting(*args: Any, **kwargs: Any) -> Any:
        if not cleaned:
            KitaruClient().deployments.delete("hello", 2)
            cleaned.append(KitaruClient().clean())
        return whole(*args, **kwargs)

    monkeypatch.setattr(owner, name, deleting)
    try:
        KitaruClient().deployments.invoke("hello", version=2).wait(PATIENCE)
    finally:
        assert cleaned
    return cleaned[0]


def test_s8_3_a_version_that_is_deleted_while_it_is_invoked_keeps_its_source(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.deploy("hello")
    assert deleted_while(project, monkeypatch, wiring().committer, "commit").blobs == 0
    assert project.effects == ["v2:ada"]


def test_s8_3_a_version_that_was_deleted_just_before_it_is_invoked_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.deploy("hello")
    with pytest.raises(KitaruNotFoundError, match="has no version 2; its versions are 1"):
        deleted_while(project, monkeypatch, wiring().values, "encode_inputs")
    assert KitaruClient().executions.list().items == ()


def test_s8_3_a_version_whose_source_is_gone_is_refused(project: Project) -> None:
    project.deploy("hello")
    Path(os.environ["KITARU_HOME"], "artifacts", KitaruClient().deployments.get("hello").snapshot).unlink()
    with pytest.raises(KitaruNotFoundError, match="the source of version 1 of flow 'hello' is not in the artifact"):
        KitaruClient().deployments.invoke("hello")
    assert KitaruClient().executions.list().items == ()
