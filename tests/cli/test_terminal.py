"""On a terminal: the live view, the walk through open questions, colours."""

from __future__ import annotations

import pexpect

from tests.cli.shell import Shell

GREEN = "\x1b[32m"


def test_the_live_view_shows_counts_and_progress_and_leaves_the_result(shell: Shell) -> None:
    screen = shell.terminal("run", "agent.py:held", "--id", "h", "--wait")
    screen.expect_exact("h\r\n")
    screen.expect(r"unit .*40/40")
    screen.expect("until_go .*waiting for the file 40 %")
    shell.write("go", "")
    screen.expect_exact("completed")
    screen.expect_exact("gone\r\n")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0


def test_what_the_flow_prints_stays_above_the_live_view(shell: Shell) -> None:
    screen = shell.terminal("run", "agent.py:research", "-i", '{"topic": "owls"}', "--wait")
    screen.expect_exact("planning owls\r\n")
    screen.expect_exact('{"sizes": [4, 4]}')
    screen.expect(pexpect.EOF)


def test_ctrl_c_while_watching_ends_the_watching_only(shell: Shell) -> None:
    shell.run("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a")
    screen = shell.terminal("executions", "watch", "a")
    screen.expect_exact("Pay 5?")
    screen.sendintr()
    screen.expect_exact("\x1b[?25h")  # the cursor is back
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 130
    assert shell.item("executions", "get", "a")["status"] == "waiting"


def test_input_interactive_walks_through_all_open_questions(shell: Shell) -> None:
    shell.run("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a")
    shell.run("run", "agent.py:gate", "--id", "g")
    shell.run("run", "agent.py:approval", "-i", '{"amount": 7}', "--id", "b")
    screen = shell.terminal("executions", "input", "--interactive")
    screen.expect_exact("Pay 5?")
    screen.expect_exact("(y/n): ")
    screen.sendline("perhaps")
    screen.expect_exact("y or n is expected")
    screen.sendline("yes")
    screen.expect_exact("answered")
    screen.expect_exact("Go on?")
    screen.expect_exact("(y/n): ")
    screen.sendeof()
    screen.expect_exact("Pay 7?")
    screen.expect_exact("(y/n): ")
    screen.sendline("no")
    screen.expect_exact("2 answered")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
    assert shell.item("executions", "get", "a")["result"] == "paid"
    assert shell.item("executions", "get", "b")["result"] == "kept"
    assert shell.item("executions", "get", "g")["status"] == "waiting"


def test_an_answer_from_elsewhere_ends_the_asking(shell: Shell) -> None:
    shell.run("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a")
    screen = shell.terminal("executions", "input", "a", "--interactive")
    screen.expect_exact("(y/n): ")
    screen.send("hal")
    shell.run("executions", "input", "a", "--value", "true")
    screen.expect_exact("needs no answer from here any more")
    screen.expect_exact("0 answered")
    screen.expect(pexpect.EOF)


def test_colours_are_for_terminals_only_and_not_with_no_color(shell: Shell) -> None:
    shell.run("run", "agent.py:fan", "-i", '{"count": 1}', "--id", "f")
    assert GREEN not in shell.run("executions", "list").out
    screen = shell.terminal("executions", "list")
    screen.expect(pexpect.EOF)
    assert GREEN in str(screen.before)
    shell.env["NO_COLOR"] = "1"
    screen = shell.terminal("executions", "list")
    screen.expect(pexpect.EOF)
    assert "\x1b[" not in str(screen.before)


def test_delete_asks_on_a_terminal(shell: Shell) -> None:
    shell.run("run", "agent.py:fan", "-i", '{"count": 1}', "--id", "f")
    screen = shell.terminal("executions", "delete", "f")
    screen.expect_exact("Delete 1 execution for good?")
    screen.sendline("n")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 130
    shell.run("executions", "get", "f")


def test_run_wait_asks_on_the_terminal_and_goes_on_with_the_answer(shell: Shell) -> None:
    screen = shell.terminal("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a", "--wait")
    screen.expect_exact("Pay 5?")
    screen.expect_exact("leaves it open")
    screen.expect_exact("(y/n): ")
    screen.sendline("true")
    screen.expect_exact("answered")
    screen.expect_exact("paid\r\n")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
    assert shell.item("executions", "get", "a")["waits"][0]["answered_via"] == "terminal"


def test_s5_4_run_wait_asks_what_a_child_asks(shell: Shell) -> None:
    screen = shell.terminal("run", "agent.py:outer", "--id", "o", "--wait")
    screen.expect_exact("Pay 5?")
    screen.expect_exact("(y/n): ")
    screen.sendline("y")
    screen.expect_exact("answered")
    screen.expect_exact("paid\r\n")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0


def test_what_child_processes_print_stays_above_the_live_view_and_out_of_the_answer(shell: Shell) -> None:
    shell.write(
        "loud.py",
        """
        import subprocess
        import kitaru

        @kitaru.flow
        def loud():
            subprocess.run(["echo", "from a child"])
            return 1
        """,
    )
    assert shell.run("run", "loud.py:loud", "--id", "a").out.splitlines() == ["a", "1"]
    screen = shell.terminal("run", "loud.py:loud", "--wait")
    screen.expect_exact("from a child\r\n")
    screen.expect_exact("1\r\n")
    screen.expect(pexpect.EOF)


def test_a_question_that_is_answered_elsewhere_is_taken_back(shell: Shell) -> None:
    screen = shell.terminal("run", "agent.py:approval", "-i", '{"amount": 5}', "--id", "a", "--wait")
    screen.expect_exact("leaves it open")
    shell.run("executions", "input", "a", "--value", "false")
    screen.expect_exact("needs no answer from here any more")
    screen.expect_exact("kept\r\n")
    screen.expect(pexpect.EOF)
