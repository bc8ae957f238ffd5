"""Deploying, invoking by name, tags, secrets, limits, cleaning, and why."""

from __future__ import annotations

from tests.cli.shell import Shell


def test_deploy_invoke_tag_and_delete(shell: Shell) -> None:
    shell.write("pyproject.toml", "[project]\nname = 'x'\n")
    first = shell.item("deploy", "agent.py:research", "--input", '{"topic": "owls"}')
    assert (first["version"], first["tags"], first["default_inputs"]["topic"]) == (1, ["default"], "owls")
    assert shell.item("build", "agent.py:research")["tags"] == []
    assert shell.item("flow", "tag", "research", "2", "beta", "--exclusive")["tags"] == ["beta"]

    (shell.folder / "agent.py").unlink()
    done = shell.run("invoke", "research", "--input", '{"factor": 3}', "--id", "i")
    assert done.out.splitlines() == ["i", '{"sizes": [12, 12]}']
    assert "planning owls" in done.err
    assert shell.item("invoke", "research", "--tag", "beta", "-i", '{"topic": "ox"}', "--wait")["result"] == {
        "sizes": [2, 2]
    }

    assert "Invoke: kitaru invoke research" in shell.run("flow", "show", "research").out
    assert shell.run("flow", "list", "-o", "json").data["items"] == [
        {"flow": "research", "versions": 2, "newest": 2, "tags": {"default": 1, "beta": 2}}
    ]
    assert [one["version"] for one in shell.run("flow", "deployments", "list", "-o", "json").data["items"]] == [2, 1]
    page = shell.run("flow", "deployments", "list", "--limit", "1", "-o", "json").data
    assert (page["count"], page["next"]) == (1, "research:2")
    rest = shell.run("flow", "deployments", "list", "--after", page["next"], "-o", "json").data
    assert ([one["version"] for one in rest["items"]], rest["next"]) == ([1], None)
    assert "beta" in shell.run("flow", "deployments", "delete", "research", "2", code=1).err
    assert "no tags" in shell.run("flow", "untag", "research", "2", "beta").out
    assert shell.item("flow", "deployments", "delete", "research", "2")["deleted"]
    shell.run("flow", "deployments", "show", "research", "2", code=1)


def test_invoke_refuses_what_is_not_there(shell: Shell) -> None:
    shell.write("pyproject.toml", "[project]\nname = 'x'\n")
    shell.run("deploy", "agent.py:research", "--input", '{"topic": "owls"}')
    assert "research" in shell.run("invoke", "reserch", code=1).err
    assert "version" in shell.run("invoke", "research", "--version", "7", code=1).err
    assert "default" in shell.run("invoke", "research", "--tag", "defalt", code=1).err
    wrong = shell.run("invoke", "research", "-i", '{"factor": "x", "topic": 1}', code=2).err
    assert "factor" in wrong
    assert "topic" in wrong
    assert shell.run("executions", "list", "-o", "json").data["count"] == 0


def test_a_dockerfile_is_printed_and_the_wheel_named_beside_it(shell: Shell) -> None:
    done = shell.run("image", "render", "--image", '{"requirements": ["rich"], "base_image": "python:3.12"}')
    assert done.out.startswith("FROM python:3.12\n")
    assert "rich" in done.out
    assert ".whl" in done.err
    assert "did you mean" in shell.run("image", "render", "--image", '{"requirement": []}', code=2).err


def test_a_secret_is_read_from_stdin_and_never_shown_unasked(shell: Shell) -> None:
    shell.run("secrets", "set", "API_KEY", stdin="s3cret-value\n")
    assert shell.run("secrets", "list", "-o", "json").data["items"][0]["name"] == "API_KEY"
    assert "s3cret" not in shell.run("secrets", "show", "API_KEY").out
    assert shell.run("secrets", "show", "API_KEY", "--reveal").out == "s3cret-value\n"
    assert "API_KEY" in shell.run("secrets", "show", "API_KY", code=1).err
    shell.run("secrets", "set", "9", stdin="long enough", code=2)
    for output in ("text", "json"):
        done = shell.run("secrets", "set", "API_KEY", "s3cret-value", "-o", output, code=2)
        assert "no argument" in done.err
        assert "s3cret" not in done.err + done.out
    shell.run("secrets", "delete", "API_KEY")
    assert shell.run("secrets", "list").out == "no secrets\n"


def test_a_secret_is_asked_for_without_an_echo(shell: Shell) -> None:
    screen = shell.terminal("secrets", "set", "API_KEY")
    screen.expect_exact("Value of API_KEY")
    screen.sendline("s3cret-value")
    screen.expect_exact("kept API_KEY")
    assert "s3cret" not in str(screen.before)
    assert shell.run("secrets", "show", "API_KEY", "--reveal").out == "s3cret-value\n"


def test_why_and_limits_and_clean(shell: Shell) -> None:
    shell.write("pyproject.toml", "[tool.kitaru.limits]\nopenai = { at_once = 2, per_minute = 10 }\n")
    shell.run("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a")
    told = shell.run("why", "a").out
    assert "kitaru executions input a --wait approve --value ..." in told
    assert "executions.input(" not in told
    assert shell.item("executions", "explain", "a")["reasons"][0]["cause"] == "answer"
    assert shell.item("why", "a", "plan")["reasons"][0]["cause"] == "first"
    assert "plan" in shell.run("why", "a", "plann", code=1).err
    assert "0 of 2 at once, 0 of 10 a minute" in shell.run("limits").out
    assert shell.run("limits", "-o", "json").data["items"][0]["name"] == "openai"
    shell.run("executions", "cancel", "a")
    assert shell.item("clean", "--older-than", "30d")["executions"] == 0
    assert "would delete 1 execution " in shell.run("clean", "--older-than", "0s", "--dry-run").out
    assert shell.item("clean", "--older-than", "0s", "--status", "cancelled")["executions"] == 1
    assert "duration" in shell.run("clean", "--older-than", "30 days", code=2).err


def test_check_tells_what_edited_code_makes_of_a_parked_execution(shell: Shell) -> None:
    shell.run("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a")
    assert "1 resumes" in shell.run("check", "agent.py:approval", "--fail-on", "rerun").out
    assert shell.item("executions", "resume", "a", "--dry-run")["verdict"] == "resumes"
    text = (shell.folder / "agent.py").read_text()
    (shell.folder / "agent.py").write_text(text.replace('plan("cost")', 'plan("price")'))
    found = shell.run("check", "agent.py:approval", "--fail-on", "drift", "-o", "json", code=1).data
    assert [(one["exec_id"], one["code_changed"]) for one in found["items"]] == [("a", True)]
    assert {call["call_id"]: call["step"] for call in found["items"][0]["calls"]}["plan_2"] == "rerun"
    assert "The code has changed" in shell.run("check", "approval").out
    assert "Did you mean" in shell.run("check", "agent.py:aproval", code=2).err


def test_resume_says_that_the_code_has_changed_before_it_goes_on(shell: Shell) -> None:
    child = shell.popen("run", "agent.py:hangs", "--id", "h")
    shell.until((shell.folder / "held").exists)
    child.kill()
    child.communicate()
    text = (shell.folder / "agent.py").read_text()
    (shell.folder / "agent.py").write_text(text.replace("    time.sleep(60)", "    return 'edited'"))
    done = shell.run("executions", "resume", "h")
    assert done.out == "h\nnull\n"
    assert "The code has changed since it was started" in done.err
