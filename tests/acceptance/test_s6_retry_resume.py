"""S6.1, S6.4, S6.4a, S6.7: the verbs, the statuses from which they are possible, and what they do again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kitaru
from kitaru import KitaruClient, Status, checkpoint, flow
from kitaru.core.mutations import Commit, StatusChanged
from kitaru.services.wiring import wiring
from tests.acceptance.gates import PATIENCE, Gate, until
from tests.acceptance.processes import Scripts

gate = Gate()


@pytest.fixture(autouse=True)
def new_gate() -> None:
    global gate
    gate = Gate()


@flow
def held(fails: bool = False) -> int:
    gate.pass_()
    if fails:
        raise ValueError("no")
    return 7


def pending() -> str:
    kitaru.configure(max_flows=1)
    held.run()
    handle = held.run()
    assert handle.status == "pending"
    return handle.exec_id


def running() -> str:
    return held.run().exec_id


def waiting() -> str:
    """As ``kitaru.wait`` will leave it."""
    row = wiring().store.executions.get(running())
    assert row is not None
    parked = StatusChanged(Status.WAITING, wiring().clock.now())
    assert wiring().store.commit([Commit(row.execution_id, row.epoch, [parked])]) == [None]
    return row.execution_id


def completed() -> str:
    gate.open()
    handle = held.run()
    handle.wait(PATIENCE)
    return handle.exec_id


def failed() -> str:
    gate.open()
    handle = held.run(fails=True)
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    return handle.exec_id


def cancelled() -> str:
    handle = held.run()
    handle.cancel()
    return handle.exec_id


STATUSES: dict[Status, Callable[[], str]] = {
    Status.PENDING: pending,
    Status.RUNNING: running,
    Status.WAITING: waiting,
    Status.COMPLETED: completed,
    Status.FAILED: failed,
    Status.CANCELLED: cancelled,
}
ALLOWED: dict[str, set[Status]] = {
    "retry": {Status.FAILED},
    "resume": {Status.PENDING, Status.RUNNING},  # of a living owner: a no-op; see test_s6_orphans for the dead
    "cancel": {Status.PENDING, Status.RUNNING, Status.WAITING, Status.CANCELLED},
    "delete": {Status.COMPLETED, Status.FAILED, Status.CANCELLED},
}


def test_s6_1_the_statuses() -> None:
    assert [str(status) for status in Status] == ["pending", "running", "waiting", "completed", "failed", "cancelled"]
    assert set(STATUSES) == set(Status)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("verb", ALLOWED)
def test_s6_4a_a_call_that_the_present_status_does_not_allow_names_it_and_changes_nothing(
    verb: str, status: Status
) -> None:
    exec_id = STATUSES[status]()
    executions = KitaruClient().executions
    assert executions.get(exec_id).status is status
    call = getattr(executions, verb)
    if status in ALLOWED[verb]:
        answer = call(exec_id)
        assert (answer is None) == (verb in ("cancel", "delete"))
    else:
        with pytest.raises(kitaru.KitaruStateError, match=f"{exec_id} is {status}"):
            call(exec_id)
        assert executions.get(exec_id).status is status
    gate.open()


@pytest.mark.parametrize("verb", ["get", "retry", "resume", "cancel", "delete", "handle"])
def test_s6_4a_an_unknown_execution_is_not_found_by_any_verb(verb: str) -> None:
    with pytest.raises(kitaru.KitaruNotFoundError, match="'nothing'"):
        getattr(KitaruClient().executions, verb)("nothing")


@pytest.mark.parametrize("verb", ["get", "retry", "resume", "cancel", "delete", "handle"])
def test_s6_4a_what_is_no_id_is_refused_by_every_verb(verb: str) -> None:
    handle = kitaru.flow(lambda: 1).run()
    handle.wait(timeout=PATIENCE)
    for wrong, hint in ((handle, "take its exec_id"), (None, "a string is expected")):
        with pytest.raises(kitaru.KitaruUsageError, match=hint):
            getattr(KitaruClient().executions, verb)(wrong)


def test_s6_4_retry_goes_on_in_the_same_execution_and_returns_its_handle_at_once() -> None:
    steps: list[str] = []

    @checkpoint
    def fetch() -> str:
        steps.append("fetch")
        return "page"

    @checkpoint
    def parse(page: str) -> str:
        steps.append("parse")
        if steps.count("parse") == 1:
            raise ValueError("bad page")
        gate.pass_()
        return page.upper()

    @flow
    def my_agent() -> str:
        return parse(fetch())

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    before = KitaruClient().executions.get(handle.exec_id)
    again = KitaruClient().executions.retry(handle.exec_id)
    assert isinstance(again, kitaru.FlowHandle)
    assert (again.exec_id, again.status) == (handle.exec_id, "running")
    during = KitaruClient().executions.get(handle.exec_id)
    assert (during.failure, during.ended_at, during.created_at) == (None, None, before.created_at)
    with pytest.raises(kitaru.KitaruStateError, match="is running"):
        KitaruClient().executions.retry(handle.exec_id)
    gate.open()
    assert again.wait(PATIENCE) == "PAGE"
    assert handle.wait(PATIENCE) == "PAGE"  # the first handle is one of the same execution
    assert steps == ["fetch", "parse", "parse"]
    after = KitaruClient().executions.get(handle.exec_id)
    assert [(call.call_id, len(call.attempts)) for call in after.checkpoints] == [("fetch", 1), ("parse", 2)]
    assert len(KitaruClient().executions.list()) == 1


def test_s6_4_a_retry_may_fail_again_and_be_retried_again() -> None:
    runs: list[int] = []

    @flow
    def my_agent() -> int:
        runs.append(1)
        if len(runs) < 4:
            raise ValueError(f"run {len(runs)}")
        return len(runs)

    handle: kitaru.FlowHandle[Any] = my_agent.run()
    for number in (1, 2, 3):
        with pytest.raises(kitaru.KitaruUserCodeError, match=f"run {number}"):
            handle.wait(PATIENCE)
        handle = KitaruClient().executions.retry(handle.exec_id)
    assert handle.wait(PATIENCE) == 4
    attempts = KitaruClient().executions.get(handle.exec_id).attempts
    assert [attempt.failure and attempt.failure.message for attempt in attempts] == ["run 1", "run 2", "run 3"]


def test_s6_4_retry_gives_the_flow_retries_anew() -> None:
    runs: list[int] = []

    @flow(retries=1)
    def my_agent() -> int:
        runs.append(1)
        if len(runs) < 4:
            raise ValueError(f"run {len(runs)}")
        return len(runs)

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError, match="run 2"):
        handle.wait(PATIENCE)
    assert KitaruClient().executions.retry(handle.exec_id).wait(PATIENCE) == 4


def test_s6_4_of_two_retries_at_once_one_runs() -> None:
    runs: list[int] = []

    @flow
    def my_agent() -> int:
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("no")
        gate.pass_()
        return len(runs)

    handle = my_agent.run()
    with pytest.raises(kitaru.KitaruUserCodeError):
        handle.wait(PATIENCE)
    start = threading.Barrier(8)
    refused = f"execution {handle.exec_id} is running"
    told: list[str] = []

    def retry() -> None:
        start.wait(PATIENCE)
        try:
            KitaruClient().executions.retry(handle.exec_id)
            told.append("mine")
        except kitaru.KitaruStateError as error:
            told.append(str(error)[: len(refused)])

    threads = [threading.Thread(target=retry) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    gate.open()
    assert handle.wait(PATIENCE) == 2
    assert sorted(told) == [*[refused] * 7, "mine"]


def test_s6_4_retry_in_a_process_that_has_never_seen_the_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = Scripts(tmp_path / "project")
    scripts.write(
        "agent.py",
        """
        import os
        from kitaru import KitaruUserCodeError, checkpoint, flow

        @checkpoint
        def step() -> str:
            with open("effects", "a") as file:
                file.write("step\\n")
            return "done"

        @flow
        def agent() -> str:
            done = step()
            if os.environ.get("FAIL"):
                raise ValueError("as told")
            return done

        if __name__ == "__main__":
            try:
                agent.run(execution_id="a").wait()
            except KitaruUserCodeError as error:
                print(error.__cause__)
        """,
    )
    scripts.write("retry.py", "from kitaru import KitaruClient\nprint(KitaruClient().executions.retry('a').wait())")
    monkeypatch.setenv("FAIL", "yes")
    assert scripts.run("agent.py") == ["as told"]
    monkeypatch.delenv("FAIL")
    assert scripts.run("retry.py") == ["done"]
    assert scripts.lines("effects") == ["step"]


def test_s6_4_a_prefix_that_only_one_execution_has_is_enough_for_every_verb() -> None:
    @flow
    def my_agent() -> int:
        raise ValueError("no")

    for exec_id in ("alpha-1", "alpha-2", "beta-1"):
        with pytest.raises(kitaru.KitaruUserCodeError):
            my_agent.run(execution_id=exec_id).wait(PATIENCE)
    executions = KitaruClient().executions
    assert executions.get("b").exec_id == "beta-1"
    assert executions.retry("beta").exec_id == "beta-1"
    until(lambda: executions.get("beta").status.finished)
    with pytest.raises(kitaru.KitaruNotFoundError, match=r"'alpha'.*alpha-1, alpha-2"):
        executions.get("alpha")
    executions.delete("be")
    assert [execution.exec_id for execution in executions.list()] == ["alpha-2", "alpha-1"]


# ── S6.7 ─────────────────────────────────────────────────────────────────────────────────────────


def test_s6_7_the_idempotency_key_is_the_same_for_all_attempts_of_one_call_and_no_other() -> None:
    keys: dict[str, list[str]] = {}

    @checkpoint(retries=2)
    def pay(amount: int) -> None:
        name = f"{kitaru.current_execution_id()} {amount}"
        keys.setdefault(name, []).append(kitaru.idempotency_key())
        if len(keys[name]) % 3:
            raise ConnectionError("again")

    @flow(retries=1)
    def my_agent() -> None:
        pay(1)
        pay(2)
        if not keys.get("failed"):
            keys["failed"] = ["yes"]
            raise ValueError("once")

    ids = []
    for _ in range(2):
        handle = my_agent.run(cache=False)
        handle.wait(PATIENCE)
        ids.append(handle.exec_id)
    del keys["failed"]
    assert [len(tried) for tried in keys.values()] == [3, 3, 3, 3]
    assert all(len(set(tried)) == 1 for tried in keys.values())
    assert len({tried[0] for tried in keys.values()}) == 4


def test_s6_7_two_equal_calls_have_two_keys_and_submitted_ones_too() -> None:
    @checkpoint
    def pay(amount: int) -> str:
        return kitaru.idempotency_key()

    @checkpoint
    async def pay_async(amount: int) -> str:
        return kitaru.idempotency_key()

    @flow
    async def my_agent() -> list[str]:
        return [pay(1), pay(1), await pay.submit(1), await pay_async(1), await pay_async(1)]

    keys = my_agent.run().wait(PATIENCE)
    assert len(set(keys)) == 5


def test_s6_7_the_key_survives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the effect and its record, which is when the key is needed."""
    scripts = Scripts(tmp_path / "project")
    scripts.write(
        "agent.py",
        """
        import os, threading, kitaru
        from kitaru import checkpoint, flow

        @checkpoint
        def pay(amount: int) -> str:
            with open("keys", "a") as file:
                file.write(kitaru.idempotency_key() + "\\n")
            if os.environ.get("STOP"):
                print("paid", flush=True)
                threading.Event().wait()
            return kitaru.idempotency_key()

        @flow
        def agent() -> str:
            return pay(5)

        print(agent.run(execution_id="a").wait())
        """,
    )
    monkeypatch.setenv("STOP", "yes")
    scripts.kill_at("paid", "agent.py")
    monkeypatch.delenv("STOP")
    (key,) = scripts.run("agent.py")
    assert scripts.lines("keys") == [key, key]


def test_s6_7_the_key_belongs_inside_a_checkpoint() -> None:
    with pytest.raises(kitaru.KitaruContextError, match="outside a flow"):
        kitaru.idempotency_key()

    @flow
    def my_agent() -> None:
        kitaru.idempotency_key()

    with pytest.raises(kitaru.KitaruUserCodeError, match="inside a checkpoint") as caught:
        my_agent.run().wait(PATIENCE)
    assert isinstance(caught.value.__cause__, kitaru.KitaruContextError)
