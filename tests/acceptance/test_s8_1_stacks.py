"""S8.1: stacks are registered, chosen and forgotten; what bad input gets."""

from __future__ import annotations

from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, KitaruNotFoundError, KitaruStateError, KitaruUsageError, Stack, flow
from tests.acceptance.gates import PATIENCE, Gate
from tests.acceptance.processes import Scripts


def names() -> list[str]:
    return [stack.name for stack in kitaru.list_stacks()]


def test_s8_1_local_always_exists_and_is_active_at_first() -> None:
    local = Stack(name="local", kind="local", active=True)
    assert kitaru.list_stacks() == (local,)
    assert kitaru.current_stack() == local
    assert KitaruClient().stacks.get("local") == local


def test_s8_1_a_stack_is_created_used_and_deleted() -> None:
    made = kitaru.create_stack("dev", "local")
    assert made == Stack(name="dev", kind="local")
    assert names() == ["local", "dev"]
    assert kitaru.use_stack("dev") == Stack(name="dev", kind="local", active=True)
    assert kitaru.current_stack().name == "dev"
    kitaru.use_stack("local")
    kitaru.delete_stack("dev")
    assert names() == ["local"]


def test_s8_1_the_active_stack_is_the_stores_and_not_the_process(tmp_path: Any) -> None:
    kitaru.create_stack("dev", "local")
    kitaru.use_stack("dev")
    scripts = Scripts(tmp_path / "scripts")
    scripts.write("look.py", "import kitaru\nprint(kitaru.current_stack().name)\n")
    assert scripts.run("look.py") == ["dev"]


def test_s8_1_a_flow_runs_on_a_stack_of_kind_local_and_records_it() -> None:
    kitaru.create_stack("dev", "local")

    @flow(stack="dev")
    def where() -> str:
        return KitaruClient().executions.get(kitaru.current_execution_id()).stack

    assert where.run().wait(PATIENCE) == "dev"
    assert kitaru.current_stack().name == "local"


def test_s8_1_a_stack_that_is_made_anew_with_another_kind_is_the_new_one_at_once() -> None:
    @flow
    def where() -> str:
        return "here"

    kitaru.create_stack("dev", "local")
    assert where.run(stack="dev").wait(PATIENCE) == "here"
    kitaru.delete_stack("dev")
    kitaru.create_stack("dev", "worker")
    with pytest.raises(KitaruUsageError, match="uses other processes"):
        where.run(stack="dev")
    kitaru.delete_stack("dev")
    kitaru.create_stack("dev", "local")
    assert where.run(stack="dev").wait(PATIENCE) == "here"


@pytest.mark.parametrize("name", ["local", "dev"])
def test_s8_1_a_taken_name_is_refused(name: str) -> None:
    kitaru.create_stack("dev", "local")
    with pytest.raises(KitaruStateError, match=f"stack '{name}' already"):
        kitaru.create_stack(name, "local")


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "a" * 64, 5, None])
def test_s8_1_a_name_that_cannot_be_one_is_refused(name: Any) -> None:
    with pytest.raises(KitaruUsageError, match="cannot be the name of a stack"):
        kitaru.create_stack(name, "local")
    assert names() == ["local"]


def test_s8_1_an_unknown_kind_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(KitaruUsageError, match=r"no kind of stack 'locl'; did you mean 'local'\?"):
        kitaru.create_stack("dev", "locl")
    with pytest.raises(KitaruUsageError, match=r"no kind of stack 'xyz'; the kinds are .*local"):
        kitaru.create_stack("dev", "xyz")
    assert names() == ["local"]


def test_s8_1_an_option_that_the_kind_does_not_have_is_refused() -> None:
    with pytest.raises(KitaruUsageError, match=r"stack dev: kind 'local' has no option 'speed'"):
        kitaru.create_stack("dev", "local", speed=5)
    with pytest.raises(KitaruUsageError, match=r"stack dev: kind 'local' .* takes no artifact_store"):
        kitaru.create_stack("dev", "local", artifact_store="s3://bucket")
    assert names() == ["local"]


def test_s8_1_a_stack_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    kitaru.create_stack("production", "local")
    for call in (kitaru.use_stack, kitaru.delete_stack, KitaruClient().stacks.get):
        with pytest.raises(KitaruNotFoundError, match=r"no stack 'producton'\. Did you mean 'production'\?"):
            call("producton")


def test_s8_1_local_cannot_be_deleted() -> None:
    with pytest.raises(KitaruStateError, match="'local' always exists"):
        kitaru.delete_stack("local")


def test_s8_1_the_active_stack_is_not_deleted() -> None:
    kitaru.create_stack("dev", "local")
    kitaru.use_stack("dev")
    with pytest.raises(KitaruStateError, match="'dev' is the active one"):
        kitaru.delete_stack("dev")
    assert names() == ["local", "dev"]


def test_s8_1_a_stack_that_an_unfinished_execution_needs_is_not_deleted_and_the_execution_is_named() -> None:
    kitaru.create_stack("dev", "local")
    gate = Gate()

    @flow(stack="dev")
    def busy() -> None:
        gate.pass_()

    handle = busy.run()
    gate.await_reached()
    with pytest.raises(KitaruStateError, match=rf"'dev' is needed by .*: {handle.exec_id} \(running\)"):
        kitaru.delete_stack("dev")
    gate.open()
    handle.wait(PATIENCE)
    kitaru.delete_stack("dev")
    assert names() == ["local"]
    assert KitaruClient().executions.get(handle.exec_id).stack == "dev"


def test_s1_8_a_misspelt_stack_of_a_run_is_refused_with_the_nearest_one() -> None:
    kitaru.create_stack("production", "local")

    @flow
    def my_agent() -> None: ...

    with pytest.raises(KitaruUsageError, match=r"no stack 'prodution'. Did you mean 'production'\?"):
        my_agent.run(stack="prodution")
    assert len(KitaruClient().executions.list()) == 0
