"""S9: the exceptions, where failures come from, and what the messages say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import kitaru
from kitaru import FailureOrigin, KitaruClient, checkpoint, errors, flow
from kitaru.core.clock import SystemClock
from kitaru.core.mutations import Commit, Refusal
from kitaru.core.ports import Store
from kitaru.services import wiring as process
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring
from kitaru.store import open_store
from tests.acceptance.gates import PATIENCE, Gate, until

TREE: dict[str, tuple[type, ...]] = {
    "KitaruError": (Exception,),
    "KitaruUsageError": (errors.KitaruError, ValueError),
    "KitaruContextError": (errors.KitaruError, RuntimeError),
    "KitaruStateError": (errors.KitaruError, RuntimeError),
    "KitaruSerializationError": (errors.KitaruError, TypeError),
    "KitaruNotFoundError": (errors.KitaruError, LookupError),
    "KitaruStoreError": (errors.KitaruError,),
    "KitaruExecutionError": (errors.KitaruError,),
    "KitaruUserCodeError": (errors.KitaruExecutionError,),
    "KitaruDivergenceError": (errors.KitaruExecutionError,),
    "KitaruCancelledError": (errors.KitaruExecutionError,),
    "KitaruWaitValidationError": (errors.KitaruUsageError,),
    "KitaruWaitAbortedError": (errors.KitaruError,),
}


@pytest.mark.parametrize("name", TREE)
def test_s9_the_tree(name: str) -> None:
    found = getattr(kitaru, name)
    assert found is getattr(errors, name)
    assert found.__bases__ == TREE[name]


def test_s9_there_are_no_others() -> None:
    own = [value for value in vars(errors).values() if isinstance(value, type)]
    defined = {value.__name__ for value in own if value.__module__ == errors.__name__}
    assert defined == {*TREE, "FailureOrigin"}


def test_s9_the_origins() -> None:
    assert [str(origin) for origin in FailureOrigin] == [
        "user_code",
        "runtime",
        "store",
        "divergence",
        "timeout",
        "infrastructure",
    ]


def test_s9_the_signal_of_a_cancellation_is_no_exception_that_user_code_catches_by_habit() -> None:
    assert issubclass(kitaru.KitaruCancelled, BaseException)
    assert not issubclass(kitaru.KitaruCancelled, Exception)


# ── origins ──────────────────────────────────────────────────────────────────────────────────────


def failure_of(run: kitaru.FlowHandle[Any]) -> kitaru.KitaruExecutionError:
    with pytest.raises(kitaru.KitaruExecutionError) as caught:
        run.wait(PATIENCE)
    assert caught.value.failure_origin is KitaruClient().executions.get(run.exec_id).failure_origin
    return caught.value


LOOKALIKES: list[Exception] = [
    ValueError("no"),
    TimeoutError("step took longer than 5 s"),
    OSError("The store kitaru.db cannot be written: KitaruStoreError: database or disk is full"),
    kitaru.KitaruSerializationError("result cannot be recorded exactly"),
    kitaru.KitaruDivergenceError("it diverged", exec_id="x", status="running", failure_origin=FailureOrigin.DIVERGENCE),
    kitaru.KitaruExecutionError("store", exec_id="x", status="failed", failure_origin=FailureOrigin.STORE),
    kitaru.KitaruContextError("not here"),
]


@pytest.mark.parametrize("where", ["body", "checkpoint", "submitted"])
@pytest.mark.parametrize("error", LOOKALIKES, ids=lambda error: type(error).__name__)
def test_s9_what_user_code_raises_is_user_code_whatever_it_looks_like(error: Exception, where: str) -> None:
    @checkpoint
    def breaks() -> None:
        raise error

    @flow
    def my_agent() -> None:
        if where == "body":
            raise error
        elif where == "checkpoint":
            breaks()
        else:
            breaks.submit().result()

    told = failure_of(my_agent.run())
    assert type(told) is kitaru.KitaruUserCodeError
    assert told.failure_origin is FailureOrigin.USER_CODE
    assert told.__cause__ is error


@pytest.mark.parametrize("where", ["body", "checkpoint", "submitted"])
def test_s9_a_value_that_cannot_be_recorded_is_a_failure_of_the_runtime(where: str) -> None:
    @checkpoint
    def opaque() -> Any:
        return threading.Lock()

    @flow
    def my_agent() -> Any:
        if where == "body":
            return threading.Lock()
        return opaque() if where == "checkpoint" else opaque.submit().result()

    told = failure_of(my_agent.run())
    assert type(told) is kitaru.KitaruExecutionError
    assert told.failure_origin is FailureOrigin.RUNTIME
    assert isinstance(told.__cause__, kitaru.KitaruSerializationError)


@pytest.mark.parametrize("is_async", [False, True])
def test_s9_an_attempt_that_overran_its_timeout_is_a_timeout(is_async: bool) -> None:
    gate = Gate()

    @checkpoint(timeout=0.05)
    def slow() -> None:
        gate.pass_()

    @checkpoint(timeout=0.05)
    async def slow_async() -> None:
        import asyncio

        await asyncio.Event().wait()

    @flow
    async def my_agent() -> None:
        if is_async:
            await slow_async()
        else:
            slow()

    told = failure_of(my_agent.run())
    gate.open()
    assert type(told) is kitaru.KitaruExecutionError
    assert told.failure_origin is FailureOrigin.TIMEOUT
    assert isinstance(told.__cause__, TimeoutError)
    assert "0.05 s" in str(told)


def test_s9_a_timeout_that_the_body_turns_into_an_error_of_its_own_is_user_code() -> None:
    gate = Gate()

    @checkpoint(timeout=0.05)
    def slow() -> None:
        gate.pass_()

    @flow
    def my_agent() -> None:
        try:
            slow()
        except TimeoutError as error:
            raise ValueError("gave up") from error

    told = failure_of(my_agent.run())
    gate.open()
    assert told.failure_origin is FailureOrigin.USER_CODE


def test_s9_a_call_that_no_longer_matches_its_record_is_a_divergence() -> None:
    runs: list[int] = []

    @checkpoint(on_drift="fail")
    def pay(amount: int) -> int:
        return amount

    @flow
    def my_agent() -> None:
        runs.append(1)
        pay(len(runs))
        raise ValueError("once")

    handle = my_agent.run()
    assert failure_of(handle).failure_origin is FailureOrigin.USER_CODE
    told = failure_of(KitaruClient().executions.retry(handle.exec_id))
    assert type(told) is kitaru.KitaruDivergenceError
    assert (told.exec_id, told.failure_origin) == (handle.exec_id, FailureOrigin.DIVERGENCE)
    assert "amount was 1 and is 2" in str(told)


class FailingStore:
    """A real store, whose commits are refused while ``broken``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, commits: Sequence[Commit]) -> Sequence[Refusal | None]:
        if self.broken:
            raise kitaru.KitaruStoreError("the store x.db cannot be written: the disk is full. Make room.")
        return self._store.commit(commits)


@pytest.fixture
def failing_store() -> Iterator[FailingStore]:
    settings = read_settings({})
    store = FailingStore(open_store(settings.store, SystemClock()))
    process.install(Wiring(settings, store=store))  # type: ignore[arg-type]  # it has all of a store
    yield store
    store.broken = False


@pytest.mark.parametrize("is_async", [False, True])
def test_s9_a_store_that_cannot_write_stops_the_execution_and_what_was_recorded_stays(
    failing_store: FailingStore, is_async: bool
) -> None:
    seen: list[str] = []

    @checkpoint
    def step(name: str) -> str:
        seen.append(name)
        if len(seen) == 2:
            failing_store.broken = True
        return name

    @flow
    def sync_agent() -> str:
        return step("a") + step("b") + step("c")

    @flow
    async def async_agent() -> str:
        return step("a") + step("b") + step("c")

    handle = (async_agent if is_async else sync_agent).run()
    with pytest.raises(kitaru.KitaruExecutionError, match=r"disk is full") as caught:
        handle.wait(PATIENCE)
    assert caught.value.failure_origin is FailureOrigin.STORE
    assert isinstance(caught.value.__cause__, kitaru.KitaruStoreError)
    assert seen == ["a", "b"]
    assert [call.output for call in KitaruClient().executions.get(handle.exec_id).checkpoints] == ["a"]
    failing_store.broken = False
    until(lambda: handle.status == "failed")  # its end is written once the store takes it
    assert KitaruClient().executions.get(handle.exec_id).failure_origin is FailureOrigin.STORE
    assert KitaruClient().executions.retry(handle.exec_id).wait(PATIENCE) == "abc"
    assert seen == ["a", "b", "b", "c"]


def test_s9_a_store_that_cannot_write_refuses_a_start_with_its_reason(failing_store: FailingStore) -> None:
    @flow
    def my_agent() -> None: ...

    KitaruClient()
    my_agent.run().wait(PATIENCE)
    failing_store.broken = True
    with pytest.raises(kitaru.KitaruStoreError, match="disk is full"):
        my_agent.run()


# ── messages ─────────────────────────────────────────────────────────────────────────────────────


@checkpoint
def fetch(url: str) -> str:
    return url


@checkpoint
def nests(url: str) -> str:
    return fetch(url)


@flow
def my_agent(url: str) -> str:
    return fetch(url)


@flow
def nesting_agent() -> str:
    return nests("x")


def _finished() -> str:
    handle = my_agent.run("x", execution_id="done")
    handle.wait(PATIENCE)
    return handle.exec_id


def _wrong_execution_id() -> None:
    _finished()
    my_agent.run("y", execution_id="done")


def _nested() -> None:
    with pytest.raises(kitaru.KitaruUserCodeError) as caught:
        nesting_agent.run().wait(PATIENCE)
    assert caught.value.__cause__ is not None
    raise caught.value.__cause__


MESSAGES: list[tuple[Callable[[], Any], type[Exception], list[str]]] = [
    (lambda: my_agent("x"), errors.KitaruUsageError, ["my_agent(...)", "without a record", "my_agent.run(...)"]),
    (my_agent.run, errors.KitaruUsageError, ["my_agent", "'url'", "my_agent(url: 'str')"]),
    (lambda: my_agent.run("x", stack="prod"), errors.KitaruUsageError, ["no stack", "'prod'", "local"]),
    (lambda: my_agent.run("x", execution_id="a b"), errors.KitaruUsageError, ["execution_id='a b'", "letters, digits"]),
    (_wrong_execution_id, errors.KitaruUsageError, ["'done'", "other inputs", "Use another id"]),
    (lambda: my_agent.run("x", retries=-1), errors.KitaruUsageError, ["my_agent.run()", "retries=-1", "0 or more"]),
    (lambda: flow(5), errors.KitaruUsageError, ["@flow", "5", "a function"]),  # type: ignore[call-overload]
    (lambda: fetch("x"), errors.KitaruContextError, ["fetch()", "outside a flow", ".fn()"]),
    (lambda: fetch.submit("x"), errors.KitaruContextError, ["fetch.submit()", "outside a flow", "@flow"]),
    (_nested, errors.KitaruContextError, ["fetch()", "inside the checkpoint nests", ".fn()"]),
    (lambda: kitaru.log(a=1), errors.KitaruContextError, ["kitaru.log()", "outside a flow", "in a flow's body"]),
    (lambda: KitaruClient().executions.get("zzz"), errors.KitaruNotFoundError, ["'zzz'", "kitaru.db"]),
    (lambda: KitaruClient().executions.list(limit=0), errors.KitaruUsageError, ["limit=0", "1 or more"]),
    (lambda: KitaruClient().executions.list(status="done"), errors.KitaruUsageError, ["'done'", "completed, failed"]),
    (lambda: KitaruClient().executions.retry(_finished()), errors.KitaruStateError, ["done is completed", "new exec"]),
    (lambda: KitaruClient().executions.resume(_finished()), errors.KitaruStateError, ["done is completed", "new exec"]),
    (
        lambda: KitaruClient().executions.cancel(_finished()),
        errors.KitaruStateError,
        ["done is completed", "cancelled"],
    ),
    (
        lambda: my_agent.run(threading.Lock()),
        errors.KitaruSerializationError,
        ["argument url", "lock", "register_codec"],
    ),  # type: ignore[arg-type]
    (lambda: kitaru.configure(max_flows=0), errors.KitaruUsageError, ["max_flows=0", "1 or more"]),
]


@pytest.mark.parametrize(("call", "kind", "said"), MESSAGES, ids=[said[0] for *_, said in MESSAGES])
def test_s9_a_message_says_what_was_wrong_where_and_what_to_do(
    call: Callable[[], Any], kind: type[Exception], said: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    message = str(caught.value)
    assert all(part in message for part in said), message
    assert message.endswith((".", ")")), message
