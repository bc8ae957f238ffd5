"""S8.2, S8.4: a version is frozen, and an execution of it runs from there to its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kitaru import KitaruClient, KitaruExecutionError, KitaruUsageError, KitaruUserCodeError, create_stack
from kitaru.services.wiring import wiring
from tests.acceptance.asking import asked
from tests.acceptance.deployed import Project
from tests.acceptance.gates import PATIENCE, until


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path)
    monkeypatch.setenv("EFFECTS", str(made.effects_file))
    return made


def test_s8_2_a_version_is_invoked_by_name_after_its_source_was_deleted(project: Project) -> None:
    assert project.deploy("hello") == ["1", "default"]
    shutil.rmtree(project.folder)
    handle = KitaruClient().deployments.invoke("hello", {"times": 2})
    assert handle.wait(PATIENCE) == "v1 ada v1 ada"
    execution = KitaruClient().executions.get(handle.exec_id)
    assert (execution.flow, execution.status, dict(execution.inputs)) == (
        "hello",
        "completed",
        {"name": "ada", "times": 2},
    )
    assert project.effects == ["v1:ada"]


def test_s8_2_a_version_is_not_changed_by_edits(project: Project) -> None:
    project.deploy("hello")
    project.edit("v2")
    assert project.deploy("hello", "tag='next'") == ["2", "next"]
    project.edit("v3")
    deployments = KitaruClient().deployments
    assert deployments.invoke("hello").wait(PATIENCE) == "v1 ada"
    assert deployments.invoke("hello", {"name": "bob"}, tag="next").wait(PATIENCE) == "v2 bob"
    assert deployments.get("hello", version=1).snapshot != deployments.get("hello", version=2).snapshot


def test_s8_2_the_same_tree_is_the_same_snapshot(project: Project) -> None:
    project.deploy("hello")
    (project.folder / "agents.py").touch()
    project.deploy("hello")
    first, second = KitaruClient().deployments.list("hello")
    assert first.snapshot == second.snapshot


def test_s8_2_what_git_knows_or_would_is_frozen(project: Project) -> None:
    project.scripts.write(".gitignore", "secret.txt\n")
    project.scripts.write(".kitaruignore", "data/\n")
    project.scripts.write("secret.txt", "x")
    project.scripts.write("data/large", "x")
    project.git("init", "-q")
    project.git("add", ".")
    project.git("commit", "-qm", "first")
    project.deploy("hello")
    clean = KitaruClient().deployments.get("hello")
    assert (clean.commit, clean.dirty) == (project.git("rev-parse", "HEAD"), False)
    project.scripts.write("new.txt", "untracked")
    project.deploy("hello")
    dirty = KitaruClient().deployments.get("hello", version=2)
    assert (dirty.commit, dirty.dirty) == (clean.commit, True)
    tree = Path(os.environ["KITARU_HOME"], "snapshots", dirty.snapshot, "tree")
    frozen = {path.name for path in tree.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert frozen == {".gitignore", ".kitaruignore", "agents.py", "pyproject.toml", "new.txt"}


def test_s8_2_a_version_says_what_its_flow_takes(project: Project) -> None:
    project.deploy("hello")
    deployed = KitaruClient().deployments.get("hello")
    assert deployed.input_schema["properties"] == {
        "name": {"type": "string"},
        "times": {"type": "integer", "default": 1},
    }
    assert deployed.input_schema["required"] == ["name"]
    assert dict(deployed.default_inputs) == {"name": "ada", "times": 1}
    assert (deployed.stack, deployed.entrypoint, deployed.retries, deployed.cache) == ("local", "agents:hello", 0, True)


def test_s8_2_options_are_frozen_with_the_version(project: Project) -> None:
    project.deploy("broken", "'ada', retries=2, cache=False, image={'environment': {'EXTRA': '1'}}")
    handle = KitaruClient().deployments.invoke("broken")
    with pytest.raises(KitaruUserCodeError):
        handle.wait(PATIENCE)
    execution = KitaruClient().executions.get(handle.exec_id)
    assert (execution.retries, execution.cache, len(execution.attempts)) == (2, False, 3)


def test_s8_5_the_environment_of_the_image_becomes_variables(project: Project) -> None:
    effects = project.effects_file.with_name("others")
    project.deploy("hello", f"name='ada', image={{'environment': {{'EFFECTS': {str(effects)!r}}}}}")
    KitaruClient().deployments.invoke("hello").wait(PATIENCE)
    assert effects.read_text() == "v1:ada\n"


def test_s8_5_what_no_process_can_honour_is_told_in_one_warning(project: Project) -> None:
    create_stack("apart", kind="process")
    image = "{'base_image': 'python:3.12', 'apt_packages': ['git'], 'environment': {'A': '1'}}"
    told = project.python(
        "import agents, kitaru, warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        f"    made = agents.hello.deploy('ada', stack='apart', image={image})\n"
        "    made.invoke().wait()\n"
        "print(*(f'{one.filename}: {one.message}' for one in caught), sep='\\n')\n"
        "print(made.image.base_image, made.image.apt_packages)"
    )
    words = "recorded, but it has no effect: deployments run in processes here."
    assert told == [f"<string>: image.base_image, image.apt_packages: {words}", "python:3.12 ('git',)"]


def test_s8_4_an_execution_that_waits_finishes_on_the_version_that_it_was_started_with(project: Project) -> None:
    project.deploy("approved")
    handle = KitaruClient().deployments.invoke("approved")
    asked(handle, "ok")
    project.edit("v2")
    assert project.deploy("approved", "name='ada', tag='default'") == ["2", "default"]
    # The process that gives the answer has the new code loaded, and must not run it.
    project.python(
        "import agents, kitaru; executions = kitaru.KitaruClient().executions\n"
        f"executions.input({handle.exec_id!r}, 'yes'); print(executions.handle({handle.exec_id!r}).wait(30))"
    )
    assert handle.wait(PATIENCE) == "v1 ada yes v1 ada again v1"
    assert project.effects == ["v1:ada", "v1:ada again"]
    assert KitaruClient().executions.get(handle.exec_id).deployment_version == 1


def test_s8_4_a_timer_wakes_an_execution_on_its_version_in_a_process_of_another_project(project: Project) -> None:
    project.deploy("late")
    handle = KitaruClient().deployments.invoke("late")
    until(lambda: handle.status == "waiting")
    project.edit("v2")
    assert handle.wait(PATIENCE) == "v1 ada v1"


def test_s8_4_a_retry_runs_on_the_version(project: Project) -> None:
    project.deploy("broken")
    handle = KitaruClient().deployments.invoke("broken")
    with pytest.raises(KitaruExecutionError, match="broken v1"):
        handle.wait(PATIENCE)
    project.edit("v2")
    project.effects_file.with_name("effects.mended").touch()
    retried = project.python(
        f"import agents, kitaru; print(kitaru.KitaruClient().executions.retry({handle.exec_id!r}).wait(30))"
    )
    assert retried == ["v1"]
    assert project.effects == ["v1:ada"]


def test_s8_4_a_replay_runs_on_the_version_with_no_source_at_hand(project: Project) -> None:
    project.deploy("hello")
    handle = KitaruClient().deployments.invoke("hello")
    handle.wait(PATIENCE)
    shutil.rmtree(project.folder)
    replayed = KitaruClient().executions.replay(handle.exec_id, times=3)
    assert replayed.wait(PATIENCE) == "v1 ada v1 ada v1 ada"
    assert project.effects == ["v1:ada"]


def test_s8_4_a_child_flow_runs_from_its_parents_snapshot(project: Project) -> None:
    project.deploy("parent")
    project.edit("v2")
    assert KitaruClient().deployments.invoke("parent").wait(PATIENCE) == "v1 ada by parent"


def test_s8_4_an_execution_whose_process_was_killed_goes_on_on_its_version(project: Project) -> None:
    project.deploy("approved")
    handle = KitaruClient().deployments.invoke("approved")
    asked(handle, "ok")
    project.edit("v2")
    code = (
        "import kitaru, os; executions = kitaru.KitaruClient().executions\n"
        f"executions.input({handle.exec_id!r}, 'yes'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project.folder, check=False)
    assert done.returncode == -signal.SIGKILL
    assert handle.wait(PATIENCE) == "v1 ada yes v1 ada again v1"
    assert project.effects == ["v1:ada", "v1:ada again"]


def test_s8_2_an_execution_that_kills_its_process_again_and_again_fails(project: Project) -> None:
    project.deploy("dies")
    with pytest.raises(KitaruExecutionError, match="exit code 7") as caught:
        KitaruClient().deployments.invoke("dies").wait(PATIENCE)
    assert caught.value.failure_origin == "infrastructure"


def test_s6_8_a_deployed_execution_is_cancelled(project: Project) -> None:
    project.deploy("approved")
    handle = KitaruClient().deployments.invoke("approved")
    asked(handle, "ok")
    handle.cancel()
    assert handle.status == "cancelled"


def test_s8_2_a_script_is_deployed_too(project: Project) -> None:
    project.scripts.write(
        "tools/app.py",
        """
        import kitaru, agents

        @kitaru.checkpoint
        def shout(text: str) -> str:
            return text.upper()

        @kitaru.flow
        def script(name: str) -> str:
            return shout(agents.greet.fn(name))

        if __name__ == "__main__":
            print(script.deploy(name="ada").entrypoint)
        """,
    )
    os.environ["PYTHONPATH"] = str(project.folder)
    try:
        assert project.scripts.run("tools/app.py") == ["./tools/app.py:script"]
    finally:
        del os.environ["PYTHONPATH"]
    shutil.rmtree(project.folder)
    assert KitaruClient().deployments.invoke("script").wait(PATIENCE) == "V1 ADA"


def test_s8_2_several_processes_that_deploy_at_once_get_a_version_each(project: Project) -> None:
    code = "import agents; print(agents.hello.deploy(name='ada', tag='live', exclusive=True).version)"
    children = [project.scripts.popen("-c", code) for _ in range(4)]
    printed = [child.communicate(timeout=60) for child in children]
    assert sorted(int(out) for out, _ in printed) == [1, 2, 3, 4], printed
    tagged = [one.version for one in KitaruClient().deployments.list("hello") if "live" in one.tags]
    assert len(tagged) == 1


@pytest.mark.parametrize("failed", [False, True], ids=["resumed", "retried"])
def test_s8_4_it_runs_from_its_snapshot_too_where_no_worker_of_its_stack_lives(project: Project, failed: bool) -> None:
    create_stack("far", "worker")
    project.deploy("broken" if failed else "hello", "name='ada', stack='far'")
    project.edit("v2")
    client = KitaruClient()
    exec_id = client.deployments.invoke("broken" if failed else "hello").exec_id
    resumed = project.python(f"import kitaru; print(kitaru.KitaruClient().executions.resume({exec_id!r}).settle())")
    assert resumed == ["failed" if failed else "completed"]
    if failed:
        Path(f"{project.effects_file}.mended").touch()
        client.executions.retry(exec_id).wait(PATIENCE)
    assert client.executions.get(exec_id).result == ("v1" if failed else "v1 ada")
    assert project.effects == ["v1:ada"]


def test_s8_2_nothing_is_registered_where_the_snapshot_cannot_be_loaded(project: Project) -> None:
    project.scripts.write(".kitaruignore", "needed.py\n")
    project.scripts.write("needed.py", "X = 1\n")
    agents = project.folder / "agents.py"
    agents.write_text("import needed\n" + agents.read_text())
    code = "import agents\ntry: agents.hello.deploy()\nexcept Exception as error: print(type(error).__name__, error)"
    printed = "\n".join(project.python(code))
    assert printed.startswith("KitaruUsageError agents:hello cannot be loaded from the snapshot of its source tree")
    assert "No module named 'needed'" in printed
    assert "importlib" not in printed
    assert KitaruClient().deployments.list() == ()


def test_s8_2_a_flow_that_no_other_process_can_import_is_refused(project: Project) -> None:
    from kitaru import flow

    @flow
    def inner() -> int:
        return 1

    with pytest.raises(KitaruUsageError, match="no other process can import"):
        inner.deploy()


def test_s8_2_a_version_that_is_invoked_again_has_a_process_that_waits_for_it(project: Project) -> None:
    project.scripts.write("who.py", "import os, kitaru\n@kitaru.flow\ndef pid() -> int:\n    return os.getpid()\n")
    project.python("import who; who.pid.deploy()")
    deployments = KitaruClient().deployments
    first, second = (deployments.invoke("pid").wait(PATIENCE) for _ in range(2))
    (spare,) = wiring().spares.pids()
    third = deployments.invoke("pid").wait(PATIENCE)
    assert third == spare
    assert len({first, second, third, *wiring().spares.pids()}) == 4  # each runs one execution
    (spare,) = wiring().spares.pids()
    os.kill(spare, signal.SIGKILL)  # one that has died is no loss
    assert deployments.invoke("pid").wait(PATIENCE) not in (first, second, third, spare)
    (spare,) = wiring().spares.pids()
    wiring().spares.close()
    with pytest.raises(ProcessLookupError):
        os.kill(spare, 0)


@pytest.mark.parametrize("kind", ["process", "worker"])
def test_s8_4_a_version_runs_from_its_snapshot_on_other_stacks_too(project: Project, kind: str) -> None:
    create_stack("other", kind=kind)
    project.deploy("hello", "name='ada', stack='other'")
    project.edit("v2")
    handle = KitaruClient().deployments.invoke("hello")
    if kind == "worker":
        with project.scripts.started("-m", "kitaru", "worker", "--stack", "other"):
            assert handle.wait(PATIENCE) == "v1 ada"
    assert handle.wait(PATIENCE) == "v1 ada"
    assert project.effects == ["v1:ada"]
