"""The compatibility gate: what new code would make of executions that are parked, without running anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import FlowHandle, KitaruClient, KitaruStateError, checkpoint, flow
from tests.acceptance.asking import asked
from tests.acceptance.gates import PATIENCE, until
from tests.acceptance.processes import Scripts
from tests.acceptance.runs import record

effects: list[str] = []


@pytest.fixture(autouse=True)
def _no_effects() -> None:
    effects.clear()


@checkpoint
def fetch(url: str) -> str:
    effects.append(f"fetch {url}")
    return f"page of {url}"


@checkpoint
def publish(text: str) -> str:
    effects.append(f"publish {text}")
    return text


@checkpoint(on_drift="fail")
def pay(amount: int) -> int:
    effects.append(f"pay {amount}")
    return amount


Body = Callable[[str], Any]


def parked(body: Body) -> tuple[FlowHandle[Any], Any]:
    """An execution of ``agent`` that waits, and its flow."""
    first = make(body)
    handle = first.run("u")
    until(lambda: handle.status == "waiting")
    return handle, first


def make(body: Body) -> Any:
    """A flow called ``agent`` with this body: the same flow, edited."""
    body.__name__ = body.__qualname__ = "agent"
    body.__module__ = __name__
    return flow(body)


def before(url: str) -> str:
    page = fetch(url)
    kitaru.wait("ok")
    return publish(page)


def checked(handle: FlowHandle[Any], body: Body) -> Any:
    """What the gate says of one execution, and that it has run and written nothing."""
    done, events = list(effects), len(list(KitaruClient().executions.events(handle.exec_id)))
    calls = [(call.call_id, call.status) for call in record(handle).checkpoints]
    (plan,) = KitaruClient().deployments.check(make(body))
    assert plan.exec_id == handle.exec_id
    assert effects == done
    assert len(list(KitaruClient().executions.events(handle.exec_id))) == events
    assert [(call.call_id, call.status) for call in record(handle).checkpoints] == calls
    return plan


def steps(plan: Any) -> list[tuple[str, str]]:
    return [(call.call_id, str(call.step)) for call in plan.calls]


def test_s8_2_code_that_is_the_same_resumes() -> None:
    handle, _ = parked(before)
    plan = checked(handle, before)
    assert (plan.verdict, plan.code_changed) == ("resumes", False)
    assert plan.reason == "All that is recorded is reused; then it waits for the answer to ok."
    assert steps(plan) == [("fetch", "reuse")]


def test_s8_2_a_change_behind_the_wait_resumes() -> None:
    def after(url: str) -> str:
        page = fetch(url)
        kitaru.wait("ok")
        return publish(page.upper())

    handle, _ = parked(before)
    plan = checked(handle, after)
    assert (plan.verdict, plan.code_changed) == ("resumes", True)


def test_s8_2_a_call_whose_inputs_have_changed_would_run_again_and_the_plan_says_which_input() -> None:
    def after(url: str) -> str:
        page = fetch(f"https://{url}")
        kitaru.wait("ok")
        return publish(page)

    handle, _ = parked(before)
    plan = checked(handle, after)
    assert plan.verdict == "reruns"
    assert steps(plan) == [("fetch_2", "rerun"), ("fetch", "left"), ("ok", "left")]
    assert plan.calls[0].reason == 'url was "u" and is "https://u"'
    assert "fetch_2" in plan.reason


def test_s8_2_a_new_call_in_front_of_recorded_ones_is_told() -> None:
    def after(url: str) -> str:
        publish("beginning")
        page = fetch(url)
        kitaru.wait("ok")
        return page

    handle, _ = parked(before)
    plan = checked(handle, after)
    assert plan.verdict == "reruns"
    assert steps(plan)[0] == ("publish", "run")
    assert plan.calls[0].reason == "nothing is recorded for it"


def test_s8_2_a_new_question_is_told() -> None:
    def after(url: str) -> str:
        page = fetch(url)
        kitaru.wait("budget", schema=int)
        return page

    handle, _ = parked(before)
    assert "it asks something new: budget" in checked(handle, after).reason


def test_s8_2_a_body_that_would_fail_is_told_with_its_error() -> None:
    def after(url: str) -> str:
        return {"known": fetch(url)}["unknown"]

    handle, _ = parked(before)
    plan = checked(handle, after)
    assert (plan.verdict, plan.reason) == ("fails", "The body ends with KeyError: 'unknown'")


def test_s8_2_a_signature_that_does_not_take_the_recorded_inputs_fails() -> None:
    def after(address: str) -> str:
        return address

    handle, _ = parked(before)
    assert "no longer takes the recorded inputs" in checked(handle, after).reason


def test_s8_2_drift_that_its_checkpoint_refuses_fails() -> None:
    def first(url: str) -> int:
        paid = pay(1)
        kitaru.wait("ok")
        return paid

    def after(url: str) -> int:
        paid = pay(2)
        kitaru.wait("ok")
        return paid

    handle, _ = parked(first)
    plan = checked(handle, after)
    assert plan.verdict == "fails"
    assert "amount was 1 and is 2" in plan.reason


def test_s8_2_code_that_ends_without_asking_resumes_and_names_what_it_leaves() -> None:
    def after(url: str) -> str:
        return "nothing"

    handle, _ = parked(before)
    plan = checked(handle, after)
    assert plan.verdict == "resumes"
    assert plan.reason == "It comes to its end with what is recorded. It does not ask for fetch any more."


def test_s8_2_a_fan_out_shows_all_its_calls_at_once() -> None:
    def after(url: str) -> list[str]:
        return fetch.map([url, "v", "w"]).result()

    handle, _ = parked(before)
    plan = checked(handle, after)
    assert [(call, step) for call, step in steps(plan) if step != "left"] == [
        ("fetch", "reuse"), ("fetch_2", "run"), ("fetch_3", "run"),
    ]  # fmt: skip


def test_s8_2_async_code_is_checked_too() -> None:
    async def after(url: str) -> list[str]:
        return await asyncio.gather(async_fetch(url), async_fetch("v"))

    handle, _ = parked(before)
    plan = checked(handle, after)
    assert plan.verdict == "reruns"
    assert [(call, step) for call, step in steps(plan) if step != "left"] == [
        ("async_fetch", "run"),
        ("async_fetch_2", "run"),
    ]


@checkpoint
async def async_fetch(url: str) -> str:
    effects.append(f"async {url}")
    return url


@flow
def child(url: str) -> str:
    return fetch(url)


def test_s8_2_a_child_flow_is_not_started() -> None:
    def after(url: str) -> str:
        return child.run(url + "2").wait()

    handle, _ = parked(before)
    plan = checked(handle, after)
    assert "it runs its child flow child (child)" in plan.reason
    assert KitaruClient().executions.list(flow="child").items == ()


def test_s8_2_a_child_flow_that_has_ended_is_found() -> None:
    def first(url: str) -> str:
        page = child.run(url).wait()
        kitaru.wait("ok")
        return page

    handle, _ = parked(first)
    plan = checked(handle, first)
    assert plan.verdict == "resumes"
    assert steps(plan) == [("child", "reuse")]


def test_s8_2_a_resume_can_be_planned() -> None:
    handle, _ = parked(before)
    plan = KitaruClient().executions.resume(handle.exec_id, dry_run=True)
    assert plan.verdict == "resumes"
    assert str(plan).startswith(f"{handle.exec_id}, flow agent, waiting: resumes.")
    KitaruClient().executions.input(handle.exec_id)
    handle.wait(PATIENCE)
    with pytest.raises(KitaruStateError, match="is completed"):
        KitaruClient().executions.resume(handle.exec_id, dry_run=True)


def test_s8_2_the_gate_sees_edits_of_files(tmp_path: Path) -> None:
    scripts = Scripts(tmp_path / "project")
    body = """
        import kitaru

        @kitaru.checkpoint
        def load(name: str) -> str:
            print("loaded", name)
            return name

        @kitaru.flow
        def agent(name: str) -> str:
            found = load({argument})
            kitaru.wait("ok")
            return found
        """
    scripts.write("agents.py", body.format(argument="name"))
    scripts.run("-c", "import agents; agents.agent.run('a', execution_id='parked')")
    handle = KitaruClient().executions.handle("parked")
    asked(handle, "ok")
    gate = "import kitaru; print(*[str(one) for one in kitaru.KitaruClient().deployments.check('agent')])"
    assert "resumes" in scripts.run("-c", gate)[0]
    scripts.write("agents.py", body.format(argument="name + '!'"))
    printed = scripts.run("-c", gate)
    assert "reruns" in printed[0]
    assert any('name was "a" and is "a!"' in line for line in printed)
    scripts.write("agents.py", "import gone\n")
    assert "fails. Its flow cannot be loaded: ModuleNotFoundError" in scripts.run("-c", gate)[0]
