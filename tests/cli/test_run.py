"""``kitaru run`` and what goes on with executions: answers, exit codes, what goes to stdout and what does not."""

from __future__ import annotations

import json
import signal

import pytest

from tests.cli.shell import PATIENCE, Shell


def test_run_prints_the_id_first_and_the_result_last(shell: Shell) -> None:
    done = shell.run("run", "agent.py:research", "--input", '{"topic": "owls"}', "--id", "first")
    assert done.out.splitlines() == ["first", '{"sizes": [4, 4]}']
    assert "begin" in done.err
    assert "completed" in done.err


def test_run_takes_a_module_as_well_as_a_file(shell: Shell) -> None:
    assert shell.item("run", "agent:research", "-i", '{"topic": "owls"}')["result"] == {"sizes": [4, 4]}


def test_the_json_answer_is_one_envelope_and_stdout_has_nothing_else(shell: Shell) -> None:
    done = shell.run("run", "agent.py:research", "-i", '{"topic": "owls"}', "-o", "json", "--wait")
    assert done.data["command"] == "run"
    item = done.data["item"]
    assert (item["flow"], item["status"], item["inputs"]) == ("research", "completed", {"topic": "owls", "factor": 1})
    assert [call["call_id"] for call in item["checkpoints"]] == ["plan", "fetch", "fetch_2"]
    assert [attempt["status"] for attempt in item["checkpoints"][2]["attempts"]] == ["failed", "completed"]
    assert item["checkpoints"][0]["metadata"] == {"tokens": 12}


@pytest.mark.parametrize("source", ["-", "@inputs.json"])
def test_inputs_come_from_stdin_or_a_file(shell: Shell, source: str) -> None:
    text = '{"topic": "bees", "factor": 2}'
    shell.write("inputs.json", text)
    done = shell.run("run", "agent.py:research", "--input", source, "-o", "json", stdin=text)
    assert done.data["item"]["result"] == {"sizes": [8, 8]}


@pytest.mark.parametrize("wait", [(), ("--wait",)])
def test_a_failed_execution_is_exit_code_3_with_the_users_frames_and_the_way_on(
    shell: Shell, wait: tuple[str, ...]
) -> None:
    done = shell.run("run", "agent.py:newsletter", "-i", '{"text": "t"}', "--id", "n", *wait, code=3)
    assert done.out == "n\n"
    assert "PermissionError: token expired" in done.err
    assert "in publish" in done.err
    assert "kitaru/engine" not in done.err
    assert "kitaru executions retry n" in done.err


def test_retry_goes_on_with_the_same_execution(shell: Shell) -> None:
    shell.run("run", "agent.py:newsletter", "-i", '{"text": "t"}', "--id", "n", code=3)
    assert shell.run("executions", "retry", "n", code=3).out == "n\n"
    shell.write("token", "")
    done = shell.run("executions", "retry", "n", "--wait")
    assert done.out.splitlines() == ["n", "published t"]
    assert "call.completed  publish" in done.err
    assert "failed" not in done.err  # what happened before is not told again
    assert "only a failed one can be retried" in shell.run("executions", "retry", "n", code=1).err


def test_without_wait_it_returns_when_the_execution_is_parked(shell: Shell) -> None:
    done = shell.run("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a")
    assert done.out == "a\n"
    assert "Pay 5?" in done.err
    assert "kitaru executions input a --wait approve --value 'true'" in done.err
    assert shell.item("executions", "get", "a")["waits"][0]["schema"] == {"type": "boolean"}


def test_input_is_checked_and_the_execution_goes_on_with_it(shell: Shell) -> None:
    shell.run("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a")
    wrong = shell.run("executions", "input", "a", "--value", '"perhaps"', code=2)
    assert "still waiting" in wrong.err
    assert shell.item("executions", "input", "a", "--value", "true")["status"] == "completed"
    assert shell.item("executions", "get", "a")["result"] == "paid"
    assert "first answer counts" in shell.run("executions", "input", "a", "--value", "true", code=1).err


def test_s5_2_a_parent_goes_on_in_the_process_that_answered_its_child(shell: Shell) -> None:
    done = shell.run("run", "agent.py:outer", "--id", "o")
    child = shell.run("executions", "list", "--parent", "o", "-o", "json").data["items"][0]["exec_id"]
    answer = f"kitaru executions input {child} --wait approve --value 'true'"
    assert answer in done.err
    assert answer in shell.run("executions", "get", "o").out
    assert "kitaru why o" in shell.run("executions", "input", "o", "--value", "true", code=1).err
    shell.run("executions", "input", child, "--value", "true")
    assert shell.item("executions", "get", "o")["result"] == "paid"


def test_abort_reaches_the_flow(shell: Shell) -> None:
    parked = shell.run("run", "agent.py:gate", "--id", "g").err
    assert "Continue: kitaru executions input g --wait go\n" in parked
    assert "Abort: kitaru executions abort g --wait go\n" in parked
    assert shell.item("executions", "abort", "g", "--reason", "no money")["status"] == "failed"
    assert "no money" in shell.run("executions", "get", "g").out


def test_a_replay_is_planned_and_run_with_overrides(shell: Shell) -> None:
    shell.run("run", "agent.py:research", "-i", '{"topic": "owls"}', "--id", "r")
    plan = shell.item("executions", "replay", "r", "--from", "fetch_2", "--dry-run")
    assert [(call["call_id"], call["action"]) for call in plan["calls"]] == [
        ("plan", "reuse"),
        ("fetch", "reuse"),
        ("fetch_2", "rerun"),
    ]
    made = shell.item("executions", "replay", "r", "--override", 'fetch_2={"output": 100}', "--input", '{"factor": 2}')
    assert made["result"] == {"sizes": [8, 200]}
    assert made["original_exec_id"] == "r"
    diff = shell.item("executions", "diff", "r", made["exec_id"])
    assert {call["call_id"]: call["change"] for call in diff["calls"]}["fetch_2"] == "changed"
    assert "fetch_2" in shell.run("executions", "diff", "r", made["exec_id"]).out


def test_cancel_and_delete(shell: Shell) -> None:
    shell.run("run", "agent.py:gate", "--id", "g")
    assert "waiting" in shell.run("executions", "delete", "g", "--yes", code=1).err
    assert shell.item("executions", "cancel", "g")["status"] == "cancelled"
    assert shell.run("executions", "watch", "g", code=3).out == ""
    assert shell.run("executions", "delete", "g", "--yes", "-o", "json").data["items"] == ["g"]
    shell.run("executions", "get", "g", code=1)


def test_ctrl_c_ends_run_quietly_with_130_and_the_execution_can_be_resumed(shell: Shell) -> None:
    child = shell.popen("run", "agent.py:hangs", "--id", "h", "--wait")
    assert child.stdout is not None
    assert child.stdout.readline() == "h\n"
    shell.until((shell.folder / "held").exists)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "kitaru executions resume h" in err
    assert shell.item("executions", "get", "h")["status"] == "pending"
    shell.run("executions", "cancel", "h")


def test_a_closed_pipe_ends_quietly_and_the_flow_finishes(shell: Shell) -> None:
    child = shell.popen("run", "agent.py:research", "-i", '{"topic": "owls"}', "--id", "p")
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline() == "p\n"
    child.stdout.close()
    err = child.stderr.read()
    child.stderr.close()
    assert child.wait(PATIENCE) == 141
    assert "BrokenPipe" not in err
    assert shell.item("executions", "get", "p")["status"] == "completed"


def test_watch_off_a_terminal_prints_a_line_for_each_thing_that_happens(shell: Shell) -> None:
    shell.run("run", "agent.py:research", "-i", '{"topic": "owls"}', "--id", "r")
    done = shell.run("executions", "watch", "r")
    assert done.out == '{"sizes": [4, 4]}\n'
    assert "\x1b" not in done.err
    assert "call.completed  plan" in done.err
    assert "planning owls" in done.err


def test_follow_gives_a_json_line_for_each_entry(shell: Shell) -> None:
    shell.run("run", "agent.py:research", "-i", '{"topic": "owls"}', "--id", "r")
    lines = [
        json.loads(line) for line in shell.run("executions", "logs", "r", "--follow", "-o", "json").out.splitlines()
    ]
    assert [line["item"]["message"] for line in lines] == ["begin", "planning owls"]
    assert {line["command"] for line in lines} == {"executions logs"}
    events = shell.run("executions", "events", "r", "-o", "json").data
    assert events["items"][0]["kind"] == "execution.created"
    assert events["count"] == len(events["items"])


def test_a_worker_runs_what_was_left_to_it_and_ends_in_good_order(shell: Shell) -> None:
    shell.run("stack", "create", "fleet", "--kind", "worker")
    done = shell.run("run", "agent.py:research", "-i", '{"topic": "owls"}', "--stack", "fleet", "--id", "w")
    assert done.out == "w\n"
    assert "kitaru worker --stack fleet" in done.err
    assert "fleet" in shell.run("worker", "--stack", "fleat", code=1).err
    worker = shell.popen("worker", "--stack", "fleet")
    assert shell.run("executions", "watch", "w").out == '{"sizes": [4, 4]}\n'
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0


def test_s6_3_a_module_that_configures_its_limits_is_loaded_by_processes_that_have_a_store_already(
    shell: Shell,
) -> None:
    shell.write(
        "bounded.py",
        """
        import kitaru

        kitaru.configure(limits={"api": {"at_once": 1}}, store="sqlite:///elsewhere.db", max_threads=8)


        @kitaru.checkpoint(limit="api", cache=False)
        def call():
            return 1


        @kitaru.flow
        def bounded():
            return call()
        """,
    )
    shell.env["KITARU_STORE"] = f"sqlite:///{shell.folder / 'elsewhere.db'}"
    shell.run("stack", "create", "apart", "--kind", "process")
    assert shell.item("run", "bounded.py:bounded", "--stack", "apart", "--id", "a")["result"] == 1
    assert [one["name"] for one in shell.run("limits", "-o", "json").data["items"]] == ["api"]
    assert shell.item("executions", "replay", "a", "--from", "call")["result"] == 1


def test_an_execution_in_a_child_process_prints_beside_the_answer_too(shell: Shell) -> None:
    shell.run("stack", "create", "apart", "--kind", "process")
    done = shell.run("run", "agent.py:research", "-i", '{"topic": "owls"}', "--stack", "apart", "--id", "c")
    assert done.out.splitlines() == ["c", '{"sizes": [4, 4]}']
    assert "planning owls" in done.err
