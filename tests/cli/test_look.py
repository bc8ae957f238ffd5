"""Looking at executions, stacks and settings; and what bad input gets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.shell import COMMAND, PATIENCE, Shell


def test_get_draws_the_calls_as_a_tree_with_a_bar_for_each_duration(shell: Shell) -> None:
    shell.run("run", "agent.py:research", "-i", '{"topic": "owls"}', "--id", "r")
    lines = shell.run("executions", "get", "r").out.splitlines()
    assert lines[0] == "✓ research  r  completed"
    assert 'topic = "owls"' in lines[2]
    calls = {line.split()[1]: line for line in lines if line.startswith("  ✓")}
    assert list(calls) == ["plan", "fetch", "fetch_2"]
    assert "✦ llm" in calls["plan"]
    assert "tokens=12" in calls["plan"]
    assert "⚙ tool" in calls["fetch"]
    assert "at attempt 2" in calls["fetch_2"]
    assert any("attempt 1" in line and "ConnectionError: away" in line for line in lines)
    assert any("█" in line for line in calls.values())


def test_a_child_is_shown_under_its_parent_and_latest_is_the_parent(shell: Shell) -> None:
    shell.write("token", "")
    shell.run("run", "agent.py:parent", "--id", "mine")
    lines = shell.run("executions", "get", "latest").out.splitlines()
    assert lines[0].startswith("✓ parent  mine")
    assert [line.strip().split()[:3] for line in lines if "newsletter" in line or "publish " in line][1][:2] == [
        "└",
        "✓",
    ]


def test_a_large_fan_out_is_summed_up(shell: Shell) -> None:
    shell.run("run", "agent.py:fan", "-i", '{"count": 50}', "--id", "f")
    text = shell.run("executions", "get", "f").out
    assert "… 47 more unit" in text
    assert "47 completed" in text
    assert shell.run("executions", "get", "f", "--all").out.count("✓ unit") == 50


def test_list_filters_and_pages(shell: Shell) -> None:
    for number in range(3):
        shell.run("run", "agent.py:fan", "-i", '{"count": 1}', "--id", f"f{number}", "--tag", "nightly")
    shell.run("run", "agent.py:newsletter", "-i", '{"text": "t"}', "--id", "n", code=3)
    page = shell.run("executions", "list", "--flow", "fan", "--limit", "2", "-o", "json").data
    assert [one["exec_id"] for one in page["items"]] == ["f2", "f1"]
    assert page["count"] == 2
    rest = shell.run("executions", "list", "--flow", "fan", "--after", page["next"], "-o", "json").data
    assert ([one["exec_id"] for one in rest["items"]], rest["next"]) == (["f0"], None)
    text = shell.run("executions", "list", "--status", "failed").out
    assert "PermissionError: token expired" in text
    assert "fan" not in text
    assert shell.run("executions", "list", "--since", "2999-01-01").out == "no executions\n"
    assert "Did you mean --flow fan?" in shell.run("executions", "list", "--flow", "fann").err


def test_statistics(shell: Shell) -> None:
    shell.run("run", "agent.py:fan", "-i", '{"count": 1}')
    found = shell.run("executions", "statistics", "--by", "flow", "--metric", "checkpoints.sum", "-o", "json").data
    assert found["items"] == [{"group": {"flow": "fan"}, "metrics": {"checkpoints.sum": 1.0}}]
    assert "checkpoints.sum" in shell.run("executions", "statistics", "--metric", "checkpoints.sum").out
    assert "did you mean" in shell.run("executions", "statistics", "--by", "flw", code=2).err.lower()


def test_status_shows_what_waits_and_what_failed(shell: Shell) -> None:
    assert "no executions yet" in shell.run("status").out
    shell.run("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a")
    shell.run("run", "agent.py:newsletter", "-i", '{"text": "t"}', "--id", "n", code=3)
    text = shell.run("status").out
    assert "1 waiting · 1 failed" in text
    assert "Pay 5?" in text
    assert "token expired" in text
    data = shell.item("status")
    assert data["executions"]["failed"] == 1
    assert data["waits"][0]["wait_id"] == "approve"


def test_init_makes_a_folder_that_git_ignores(shell: Shell) -> None:
    del shell.env["KITARU_HOME"]
    assert shell.item("init")["created"] is True
    assert shell.item("init")["created"] is False
    shell.run("run", "agent.py:fan", "-i", '{"count": 1}')
    assert (shell.folder / ".kitaru" / "kitaru.db").exists()
    assert (shell.folder / ".kitaru" / ".gitignore").read_text() == "*\n"
    assert "working directory" in shell.run("info").out or ".kitaru" in shell.run("info").out


def test_stacks(shell: Shell) -> None:
    assert shell.item("stack", "current")["name"] == "local"
    assert [one["name"] for one in shell.run("stack", "list", "-o", "json").data["items"]] == ["local"]
    assert "local" in shell.run("stack", "use", "loca", code=1).err


BAD = [
    (("executons",), 2, "Did you mean executions?"),
    (("executions", "gt", "x"), 2, "Did you mean get?"),
    (("executions", "list", "--flw", "x"), 2, "--flow"),
    (("executions", "get"), 2, "ID"),
    (("executions", "get", "owls-2"), 1, "Did you mean owls-"),
    (("executions", "get", "owls"), 1, "owls-1, owls-3"),
    (("executions", "get", "nothing-like-it"), 1, "there is no execution"),
    (("run", "agent.py:reserch"), 2, "Did you mean agent.py:research?"),
    (("run", "agnt.py:research"), 2, "Did you mean agent.py?"),
    (("run", "agnt:research"), 2, "Did you mean agent.py?"),
    (("run", "agent.py"), 2, "agent.py:research"),
    (("run", "agent.py:no_flow"), 2, "is no flow"),
    (("run", "agent.py:research", "-i", '{"topic": }'), 2, "line 1, column 11"),
    (("run", "agent.py:research", "-i", "[1]"), 2, "JSON object"),
    (("run", "agent.py:research", "-i", "@nowhere.json"), 2, "nowhere.json cannot be read"),
    (("run", "agent.py:research", "-i", "{}"), 2, "topic is missing"),
    (("run", "agent.py:research", "-i", '{"topic": "a", "factr": 1}'), 2, "factr"),
    (("run", "agent.py:research", "-i", '{"topic": "a", "stack": 1}'), 2, "option of `run`"),
    (("run", "agent.py:research", "-i", '{"topic": "a"}', "--stack", "lcal"), 2, "local"),
    (("run", "agent.py:research", "-i", '{"topic": "a"}', "--retries", "-1"), 2, "--retries"),
    (("executions", "replay", "owls-1", "--override", "fetch"), 2, "KEY=JSON"),
    (("executions", "replay", "owls-1", "--override", 'fetc={"output": 1}'), 2, "fetch"),
    (("executions", "logs", "owls-1", "--call", "fetsh"), 1, "fetch"),
    (("executions", "list", "--since", "yesterday"), 2, "--since"),
    (("executions", "list", "--status", "done"), 2, "completed"),
    (("executions", "list", "--limit", "many"), 2, "'many' is not a valid number"),
    (("executions", "list", "--limit", "0"), 2, "--limit"),
    (("executions", "input"), 2, "--interactive"),
    (("why",), 2, "ID is missing."),
    (("stack", "create"), 2, "NAME is missing."),
    (("clean", "--status", "failed"), 2, "--older-than"),
    (("check", "reserch"), 1, "did you mean 'research'?"),
    (("flow", "deployments", "list", "--after", "2"), 2, "FLOW:VERSION"),
]


@pytest.fixture(scope="module")
def old_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("bad"))
    for name in ("owls-1", "owls-3"):
        shell.run("run", "agent.py:research", "-i", '{"topic": "owls"}', "--id", name)
    yield shell
    assert shell.run("executions", "list", "-o", "json").data["count"] == 2, "bad input has left an execution"


@pytest.mark.parametrize(("arguments", "code", "told"), BAD, ids=[" ".join(one[0]) for one in BAD])
def test_bad_input_gets_one_sentence(old_shell: Shell, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = old_shell.run(*arguments, code=code)
    assert told in done.err
    assert done.err.startswith("error: ")
    assert "Traceback" not in done.err
    assert done.out == ""
    as_json = old_shell.run(*arguments, "-o", "json", code=code)
    assert as_json.out == ""
    assert told in as_json.error["error"]["message"]
    assert as_json.error["error"]["type"]


def test_the_error_names_the_command(shell: Shell) -> None:
    assert shell.run("executions", "get", "x", "-o", "json", code=1).error["command"] == "executions get"
    assert shell.run("executions", "list", "--no", "-o", "json", code=2).error["command"] == "executions list"


def test_a_target_that_does_not_import_shows_the_users_own_traceback(shell: Shell) -> None:
    shell.write("broken.py", "import helper\n")
    shell.write("helper.py", "def f():\n    return 1 / 0\n\n\nf()\n")
    done = shell.run("run", "broken.py:x", code=1)
    assert "broken.py cannot be imported" in done.err
    assert "ZeroDivisionError" in done.err
    frames = [line.split('"')[1] for line in done.err.splitlines() if line.strip().startswith("File ")]
    assert [frame.rpartition("/")[2] for frame in frames] == ["broken.py", "helper.py", "helper.py"]
    shell.write("wrong.py", "def f(:\n")
    assert "SyntaxError" in shell.run("run", "wrong.py:x", code=1).err
    assert shell.run("run", "wrong.py:x", "-o", "json", code=1).error["error"]["type"] == "TargetError"


def test_help_needs_no_store_and_loads_nothing_but_click(shell: Shell) -> None:
    code = (
        "import sys; sys.argv = ['kitaru', '--help']\n"
        "from kitaru.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n"
        "    print(end.code, [name for name in sys.modules if name.startswith(('kitaru.', 'pydantic'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=shell.env)
    code, _, loaded = done.stdout.splitlines()[-1].partition(" ")
    assert code == "0"
    modules = {"cli", "cli.groups", "cli.main", "cli.output", "cli.terminal", "errors"}
    assert set(eval(loaded)) == {f"kitaru.{name}" for name in modules}
    assert not (shell.folder / "home").exists()


def test_python_m_kitaru_is_the_command(shell: Shell) -> None:
    command = [sys.executable, "-m", "kitaru", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == shell.run("--version").out


def test_short_help_is_help(shell: Shell) -> None:
    assert shell.run("executions", "get", "-h").out == shell.run("executions", "get", "--help").out


def test_a_store_out_of_reach_is_told_in_a_sentence_and_under_a_public_name(shell: Shell) -> None:
    shell.env["KITARU_STORE"] = f"postgresql://someone:hunter2@/db?host={shell.folder}"
    error = shell.run("status", "-o", "json", code=1).error["error"]
    assert error["type"] == "KitaruStoreError"
    assert "No such file or directory. Check that the server runs there" in error["message"]
    assert "hunter2" not in error["message"]


def test_a_closed_stdout_and_odd_columns_are_no_error(shell: Shell) -> None:
    shell.env["COLUMNS"] = "wide"
    shell.run("run", "agent.py:fan", "-i", '{"count": 2}', "--id", "f")
    assert "unit_2" in shell.run("executions", "get", "f").out
    closed = subprocess.run(
        ["/bin/sh", "-c", f"exec {COMMAND} run agent.py:fan -i '{{\"count\": 2}}' --id g >&-"],
        cwd=shell.folder, env=shell.env, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert closed.returncode == 0
    assert "completed" in closed.stderr
    assert "Traceback" not in closed.stderr
    assert shell.item("executions", "get", "g")["result"] == 1


def test_a_stack_or_tag_that_nothing_has_gets_the_nearest_one(shell: Shell) -> None:
    shell.run("run", "agent.py:fan", "-i", '{"count": 1}', "--tag", "nightly")
    assert "Did you mean --tag nightly?" in shell.run("executions", "list", "--tag", "nightlly").err
    assert "Did you mean --stack local?" in shell.run("executions", "list", "--stack", "lcal").err
    assert shell.run("executions", "list", "--stack", "local", "--status", "failed").err == ""


def test_events_tell_a_failure_as_people_write_it(shell: Shell) -> None:
    shell.run("run", "agent.py:newsletter", "-i", '{"text": "a"}', "--id", "n", code=3)
    told = shell.run("executions", "events", "n").out
    assert "call.failed  publish  PermissionError: token expired\n" in told
    assert "builtins" not in told


def test_ids_are_completed(shell: Shell) -> None:
    shell.run("run", "agent.py:fan", "-i", '{"count": 1}', "--id", "fan-1")
    shell.env |= {"_KITARU_COMPLETE": "bash_complete", "COMP_WORDS": "kitaru executions get fa", "COMP_CWORD": "3"}
    done = subprocess.run([COMMAND], cwd=shell.folder, env=shell.env, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,fan-1\n"


def test_a_number_of_lines_into_a_closed_pipe_is_no_error(shell: Shell) -> None:
    shell.run("run", "agent.py:fan", "-i", '{"count": 3000}', "--id", "f")
    done = subprocess.run(
        f"{COMMAND} executions events f | head -n 1; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=shell.folder, env=shell.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "141"
    assert done.stderr == ""


def test_texts_of_models_and_users_cannot_move_the_cursor(shell: Shell) -> None:
    shell.write("evil.py", "import kitaru\n\n\n@kitaru.flow\ndef evil(text: str):\n    print(text)\n    return text\n")
    shell.run("run", "evil.py:evil", "-i", '{"text": "a\\u001b[2Jb\\u001b]0;title\\u0007c"}', "--id", "e")
    for command in (("get", "e"), ("logs", "e"), ("events", "e")):
        assert "\x1b" not in shell.run("executions", *command).out
