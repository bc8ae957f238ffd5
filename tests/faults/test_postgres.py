"""PostgreSQL: what breaks, who meets whom, and what is said about it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg
import pytest

from kitaru.core.clock import SystemClock
from kitaru.core.mutations import (
    CallRecorded,
    Claimed,
    Commit,
    ExecutionCreated,
    Fenced,
    ProgressMade,
    Refusal,
    StatusChanged,
    Suspended,
)
from kitaru.core.ports import Store
from kitaru.core.states import Status
from kitaru.errors import KitaruStoreError
from kitaru.store import open_store, postgres
from kitaru.store.postgres_pipeline import Lost, Pipeline
from tests.acceptance.gates import until
from tests.contract.stores import START, call, commit, create, execution, runner, start
from tests.postgres import Server, needs_postgres, postgres_server

CLOCK = SystemClock()


@pytest.fixture
def server() -> Server:
    needs_postgres()
    return postgres_server()


@pytest.fixture
def url(server: Server) -> str:
    return server.database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url, CLOCK)
    yield opened
    opened.close()


def cut(server: Server) -> int:
    """End every connection of every store."""
    return len(
        server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'kitaru' AND pid <> pg_backend_pid()"
        )
    )


# ── connections that break ───────────────────────────────────────────────────────────────────────


def test_connections_that_were_cut_while_idle_are_replaced_and_nobody_notices(store: Store, server: Server) -> None:
    epoch = start(store)
    assert cut(server) > 0
    assert commit(store, epoch, CallRecorded(call())) is None
    assert cut(server) > 0
    assert [row.call_id for row in store.calls.memo("exec")] == ["step"]


@contextmanager
def _back_soon(server: Server) -> Iterator[None]:
    """The server crashes, and is back half a second later.

    Its thread lasts as long as the block: the kernel takes the end of the thread that started a server for
    that of its process, and ends the server.
    """
    done = threading.Event()

    def start_again() -> None:
        done.wait(0.5)
        server.start()
        done.wait()

    server.stop("immediate")
    back = threading.Thread(target=start_again)
    back.start()
    try:
        yield
    finally:
        done.set()
        back.join()


def test_a_server_that_crashes_and_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_postgres()
    monkeypatch.setattr(postgres, "RETRY_SECONDS", 60)  # however long this machine takes to start a server
    monkeypatch.setattr("kitaru.store.store.RETRY_SECONDS", 60)
    server = Server()
    try:
        store = open_store(server.database(), CLOCK)
        epoch = start(store)
        with _back_soon(server):
            assert commit(store, epoch, CallRecorded(call())) is None
        with _back_soon(server):
            assert [row.call_id for row in store.calls.memo("exec")] == ["step"]
        store.close()
    finally:
        server.remove()


def test_a_server_that_stays_away_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_postgres()
    monkeypatch.setattr(postgres, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr("kitaru.store.store.RETRY_SECONDS", 0.2)
    server = Server()
    try:
        store = open_store(server.database(), CLOCK)
        epoch = start(store)
        server.stop("immediate")
        with pytest.raises(KitaruStoreError, match="cannot be reached"):
            store.calls.memo("exec")
        with pytest.raises(KitaruStoreError, match="cannot be reached"):
            commit(store, epoch, CallRecorded(call()))
        server.start()
        assert commit(store, epoch, CallRecorded(call())) is None
        store.close()
    finally:
        server.remove()


def _break(pipeline: Pipeline) -> NoReturn:
    """Close a connection, and wait until the server has done what was sent over it."""
    backend = pipeline._pg.backend_pid
    pipeline._connection.close()
    until(lambda: not postgres_server().sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [backend]))
    raise Lost("cut by the test")


class Breaking:
    """Cuts the connection before or after the answers to the statement that contains ``word``, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, word: str, *, after: bool) -> None:
        self.cuts = 0
        answers = Pipeline.answers

        def breaking(pipeline: Pipeline) -> Any:
            hit = not self.cuts and any(one is not None and word in one.statement for one in pipeline._sent)
            if not hit:
                return answers(pipeline)
            self.cuts += 1
            if after:
                answers(pipeline)
            _break(pipeline)

        monkeypatch.setattr(Pipeline, "answers", breaking)


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_whose_connection_breaks_before_it_commits_is_written_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    epoch = start(store)
    breaking = Breaking(monkeypatch, "INSERT INTO calls", after=after)
    assert commit(store, epoch, CallRecorded(call())) is None
    assert breaking.cuts == 1
    assert len(store.calls.memo("exec")) == 1
    assert [event.kind for event in store.events.after("exec", 0, limit=99)].count("call.completed") == 1


@pytest.mark.parametrize("after", [False, True])
def test_a_connection_that_breaks_while_it_commits_leaves_all_or_nothing_and_says_that_it_is_not_known(
    store: Store, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    epoch = start(store)
    Breaking(monkeypatch, "COMMIT", after=after)
    with pytest.raises(KitaruStoreError, match="lost while it committed"):
        commit(store, epoch, CallRecorded(call()))
    recorded = len(store.calls.memo("exec"))
    assert recorded == 1 if after else recorded in (0, 1)
    assert len(store.events.after("exec", 0, limit=99)) == 2 + recorded
    assert commit(store, epoch, CallRecorded(call("next"))) is None  # and the store goes on


def test_every_statement_of_a_commit_may_break_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S6.1: cut after each group of statements in turn, the state is one of the legal ones."""
    answers = Pipeline.answers
    for number in range(1, 12):
        name = f"e{number}"
        epoch = start(store, name, f"runner{number}")
        count = 0

        def breaking(pipeline: Pipeline, number: int = number) -> Any:
            nonlocal count
            count += 1
            if count == number:
                _break(pipeline)
            return answers(pipeline)

        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "answers", breaking)
            done = Commit(name, epoch, [CallRecorded(call()), StatusChanged(Status.COMPLETED, START, result="1")])
            with contextlib.suppress(KitaruStoreError):  # the outcome may be unknown: looked at below
                assert list(store.commit([done])) == [None]
        row = store.executions.get(name)
        assert row is not None
        assert (row.status, len(store.calls.memo(name))) in ((Status.RUNNING, 0), (Status.COMPLETED, 1))


# ── writers that meet ────────────────────────────────────────────────────────────────────────────


def _together(*works: Callable[[], None]) -> None:
    failures: list[BaseException] = []
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        gate.wait()
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_s7_1_a_cursor_misses_no_event_whoever_writes(url: str) -> None:
    """Two processes' worth of connections write events of one execution, while a reader follows it."""
    stores = [open_store(url, CLOCK) for _ in range(3)]
    epoch = start(stores[0])
    seen: list[int] = []
    stop = threading.Event()

    def write(store: Store, name: str) -> Callable[[], None]:
        def work() -> None:
            for number in range(100):
                assert commit(store, epoch, ProgressMade("", START, f"{name}{number}", None)) is None

        return work

    def follow() -> None:
        after = 0
        while True:
            last = stop.is_set()
            for event in stores[2].events.after("exec", after, limit=7):
                after = event.event_id
                seen.append(after)
            if last and not stores[2].events.after("exec", after, limit=1):
                return

    reader = threading.Thread(target=follow)
    reader.start()
    _together(write(stores[0], "a"), write(stores[1], "b"))
    stop.set()
    reader.join()
    assert len(seen) == 202
    assert seen == sorted(set(seen))
    for store in stores:
        store.close()


def test_s5_2_a_child_that_ends_while_its_parent_parks_is_never_missed(url: str) -> None:
    first, second = open_store(url, CLOCK), open_store(url, CLOCK)
    first.runners.register(runner("runner"), lease_seconds=600)
    for number in range(40):
        parent, child = f"parent{number}", f"a-child{number}" if number % 2 else f"z-child{number}"
        create(first, execution(parent, runner_id="runner"))
        create(first, execution(child, runner_id="runner", parent_id=parent))
        for one in (parent, child):
            assert commit(first, None, Claimed("runner", Status.PENDING, 0, 1), execution_id=one) is None
        # The child parks first, as a parent waits only for children that wait.
        due = CLOCK.now() + 10**9
        assert commit(first, 1, Suspended((), (), due), execution_id=child) is None
        answers: list[Refusal | None] = []

        def park(parent: str = parent, child: str = child) -> None:
            answers.append(commit(first, 1, Suspended((), (child,), None), execution_id=parent))  # noqa: B023

        def end(child: str = child) -> None:
            cancelled = StatusChanged(Status.CANCELLED, START, from_statuses=(Status.WAITING,))
            assert commit(second, None, cancelled, execution_id=child) is None

        _together(park, end)
        row = first.executions.get(parent)
        assert row is not None
        if answers[0] is None:
            assert row.status is Status.PENDING, "the parent sleeps although its child has ended"
        else:
            assert row.status is Status.RUNNING
    first.close()
    second.close()


def test_s6_8_cancelling_a_family_and_its_members_ending_do_not_block_each_other(url: str) -> None:
    stores = [open_store(url, CLOCK) for _ in range(4)]
    stores[0].runners.register(runner("runner"), lease_seconds=600)
    for number in range(15):
        root = f"m{number}"
        children = [f"{letter}{number}" for letter in "az"]
        create(stores[0], execution(root, runner_id="runner"))
        for child in children:
            create(stores[0], execution(child, runner_id="runner", parent_id=root))
        for one in (root, *children):
            assert commit(stores[0], None, Claimed("runner", Status.PENDING, 0, 1), execution_id=one) is None

        def cancel(root: str = root) -> None:
            moved = StatusChanged(Status.CANCELLED, START, from_statuses=(Status.RUNNING,), cascade=True)
            assert commit(stores[0], None, moved, execution_id=root) is None

        def complete(store: Store, child: str) -> Callable[[], None]:
            def work() -> None:
                answer = commit(store, 1, StatusChanged(Status.COMPLETED, START, result="1"), execution_id=child)
                assert answer is None or isinstance(answer, Fenced)

            return work

        _together(cancel, complete(stores[1], children[0]), complete(stores[2], children[1]))
        statuses = {one: stores[3].executions.status(one) for one in (root, *children)}
        assert statuses.pop(root) is Status.CANCELLED
        assert set(statuses.values()) <= {Status.CANCELLED, Status.COMPLETED}
        for child in children:
            ended = [e.kind for e in stores[3].events.after(child, 0, limit=99) if e.kind.startswith("execution.c")]
            assert len(ended) == 2, "made, and ended once"
    for store in stores:
        store.close()


def test_s1_2_of_fifty_starts_with_one_id_one_is_the_first(url: str) -> None:
    stores = [open_store(url, CLOCK) for _ in range(5)]
    answers: list[Refusal | None] = []

    def begin(store: Store) -> Callable[[], None]:
        return lambda: answers.extend(
            store.commit([Commit("one", None, [ExecutionCreated(execution("one"))])])[0] for _ in range(10)
        )

    _together(*(begin(store) for store in stores))
    assert answers.count(None) == 1
    assert len(answers) == 50
    for store in stores:
        store.close()


# ── what is said ─────────────────────────────────────────────────────────────────────────────────


def test_a_password_is_in_no_message(server: Server) -> None:
    for place in (f"host={server.folder}", "host=/nowhere", "host=localhost&port=1"):
        with pytest.raises(KitaruStoreError) as caught:
            open_store(f"postgresql://me:s3cret@/db?{place}", CLOCK)
        assert "s3cret" not in str(caught.value)
        assert "KITARU_STORE" in str(caught.value) or "createdb" in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@[::1/db", "postgresql://me:s3cret@host/db?nonsense=1"])
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="no URL of PostgreSQL") as caught:
        open_store(url, CLOCK)
    assert "s3cret" not in str(caught.value)


def test_a_database_that_is_absent_is_said_to_be_made_first(server: Server) -> None:
    with pytest.raises(KitaruStoreError, match="does not exist.*createdb"):
        open_store(server.url("absent"), CLOCK)


def test_a_newer_schema_is_left_alone(url: str) -> None:
    open_store(url, CLOCK).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE kitaru_schema SET version = 9999")
    with pytest.raises(KitaruStoreError, match="schema version 9999.*Upgrade Kitaru"):
        open_store(url, CLOCK)


def test_tables_of_another_program_are_left_alone(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE executions (mine TEXT)")
        with pytest.raises(KitaruStoreError, match="another program"):
            open_store(url, CLOCK)
        connection.execute("SELECT mine FROM executions")


def test_without_psycopg_the_error_names_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("kitaru.store.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(KitaruStoreError, match=r"pip install 'psycopg\[binary\]"):
        open_store(url, CLOCK)


def test_processes_that_open_a_new_database_together_make_its_tables_once(url: str) -> None:
    script = "import sys; from kitaru.core.clock import SystemClock; from kitaru.store import open_store\n"
    script += "open_store(sys.argv[1], SystemClock()).close()"
    children = [subprocess.Popen([sys.executable, "-c", script, url]) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    script = """
import os, sys, warnings
warnings.simplefilter("ignore")
from kitaru.core.clock import SystemClock
from kitaru.store import open_store
from tests.contract.stores import create, execution
store = open_store(sys.argv[1], SystemClock())
create(store, execution("before"))
for number in range(3):
    child = os.fork()
    if child == 0:
        assert store.executions.get("before") is not None
        create(store, execution(f"child{number}"))
        store.close()
        os._exit(0)
    create(store, execution(f"parent{number}"))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(len(store.executions.find("", limit=99)))
store.close()
"""
    result = subprocess.run(
        [sys.executable, "-c", script, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.stdout, result.returncode) == ("7\n", 0), result.stderr


def test_the_database_tells_the_time_unless_a_test_does(store: Store) -> None:
    store.runners.register(runner("r"), lease_seconds=60)
    (row,) = store.runners.list()
    assert abs(row.lease_until - 60_000_000 - CLOCK.now()) < 30_000_000
