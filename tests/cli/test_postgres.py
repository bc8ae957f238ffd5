"""The installed command on a store in PostgreSQL: deployments, stacks, a worker; and a store that cannot be used."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.postgres import needs_postgres, postgres_server

FLOWS = """
import os
import kitaru

LABEL = "{label}"


@kitaru.checkpoint(runtime="isolated", cache=False)
def apart():
    return os.getpid()


@kitaru.checkpoint
def draft(topic):
    return f"{{LABEL}} on {{topic}}"


@kitaru.flow
def approval(topic: str) -> str:
    text = draft(topic)
    kitaru.wait("approve", question="Publish?", schema=bool)
    return f"{{text}}, {{LABEL}}"


@kitaru.flow
def pids() -> list[int]:
    return [os.getpid(), apart()]
"""


@pytest.fixture
def on_postgres(shell: Shell) -> Shell:
    needs_postgres()
    shell.env["KITARU_STORE"] = postgres_server().database()
    shell.write("pyproject.toml", "[tool.kitaru.limits]\nopenai = { at_once = 2 }\n")
    shell.write("agents.py", FLOWS.format(label="v1"))
    return shell


def test_s8_4_a_deployment_from_its_first_version_to_cleaning(on_postgres: Shell) -> None:
    shell = on_postgres
    first = shell.item("deploy", "agents.py:approval", "-i", '{"topic": "owls"}')
    assert (first["version"], first["tags"]) == (1, ["default"])
    shell.run("invoke", "approval", "--id", "parked", "--priority", "3", "--label", "nightly")
    shell.write("agents.py", FLOWS.format(label="v2"))
    assert shell.item("deploy", "agents.py:approval", "--tag", "next")["version"] == 2

    assert "kitaru executions input parked --wait approve" in shell.run("why", "parked").out
    listed = shell.run("executions", "list", "--tag", "nightly", "-o", "json").data["items"]
    assert [(one["exec_id"], one["status"], one["deployment_version"]) for one in listed] == [("parked", "waiting", 1)]
    shell.run("executions", "input", "parked", "--value", "true")
    assert shell.item("executions", "get", "parked")["result"] == "v1 on owls, v1"
    assert "0 of 2 at once" in shell.run("limits").out
    cleaned = shell.item("clean", "--older-than", "0s")
    assert (cleaned["executions"], cleaned["blobs_kept"]) == (1, None)


def test_s8_1_a_process_stack_isolated_checkpoints_and_a_worker(on_postgres: Shell) -> None:
    shell = on_postgres
    shell.run("stack", "create", "apart", "--kind", "process")
    shell.run("stack", "create", "pool", "--kind", "worker")
    done = shell.item("run", "agents.py:pids", "--stack", "apart", "--wait")
    assert len({*done["result"]}) == 2
    assert shell.item("run", "agents.py:pids", "--stack", "pool", "--id", "pooled")["status"] == "pending"
    worker = shell.popen("worker", "--stack", "pool")
    try:
        inline, isolated = shell.item("executions", "watch", "pooled")["result"]
        assert inline == worker.pid
        assert isolated not in (inline, *done["result"])
    finally:
        worker.send_signal(signal.SIGTERM)
        _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0, errors


def test_s9_a_store_that_cannot_be_used_is_told_in_a_sentence(shell: Shell, tmp_path: Path) -> None:
    told = [
        (f"postgresql://me:s3cret@/db?host={tmp_path}", 1, "Check that the server runs there and takes connections"),
        ("postgresql://host/db?bogus=1", 2, "is no URL of PostgreSQL"),
        ("mysql://me:s3cret@host/db", 2, "The store '...@host/db' is not known. Possible are"),
    ]
    for url, code, words in told:
        shell.env["KITARU_STORE"] = url
        done = shell.run("executions", "list", code=code)
        assert words in done.err, url
        assert done.err.startswith("error: ")
        assert len(done.err.splitlines()) == 1, done.err
        assert "?." not in done.err
        assert "s3cret" not in done.err
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "psycopg.py").write_text("raise ModuleNotFoundError('No module named psycopg')")
    shell.env |= {"KITARU_STORE": "postgresql://host/db", "PYTHONPATH": str(tmp_path / "hidden")}
    done = shell.run("executions", "list", code=1)
    assert "needs the package psycopg" in done.err
    assert len(done.err.splitlines()) == 1
