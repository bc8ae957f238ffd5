"""A secret that a process has read is in nothing that it records (S4.1, S4.2, S7.1)."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import kitaru
from kitaru import KitaruClient, KitaruSerializationError, KitaruUsageError, checkpoint, flow
from kitaru.services import wiring as process
from tests.acceptance import apart
from tests.acceptance.gates import until
from tests.acceptance.runs import TIMEOUT, Breakage, Program, failure_of, record, retried

pytestmark = pytest.mark.usefixtures("home")

TOKEN = 'sk-live-"Zq8w\\Tq2/é'
MARK = "***TOKEN***"
LONG = "so long that it becomes a file of its own. " * 1000


@pytest.fixture(autouse=True)
def token() -> None:
    KitaruClient().secrets.set("TOKEN", TOKEN)
    process.reset()  # what follows is a process that has read no secret yet


def secret() -> str:
    return kitaru.secret("TOKEN")


@dataclass
class Request:
    url: str
    headers: dict[str, str]


class Settings(BaseModel):
    token: str


class Refused(Exception):
    def __init__(self, message: str, header: str) -> None:
        super().__init__(message)
        self.header = header


def _use(token: str) -> str:
    """All that a checkpoint can do with a secret that it should not have written down."""
    print("the token is", token)
    print(repr(token), json.dumps({"token": token}))
    for part in token:
        print(part, end="")
    print()
    logging.getLogger("agent").warning("calling with %s", token)
    try:
        raise Refused(f"401 for {token}", header=f"Bearer {token}")
    except Refused:
        logging.getLogger("agent").exception("failed")
    kitaru.progress(f"using {token}", percent=50)
    kitaru.log(header=f"Bearer {token}", nested={"a": [token]}, **{token: 1})
    kitaru.save("request", Request(f"https://example.com/?key={urllib.parse.quote(token, safe='')}", {"auth": token}))
    kitaru.save("long", LONG + token)
    kitaru.save("bytes", LONG.encode() + token.encode())
    kitaru.save("basic", base64.b64encode(f"user:{token}".encode()))
    return token


@checkpoint(cache=False)
def use() -> str:
    return _use(secret())


@checkpoint(cache=False)
async def use_async() -> dict[str, Any]:
    return {"token": _use(secret()), "model": Settings(token=secret()), secret(): (1, {secret()})}


@checkpoint(cache=False, retries=1)
def fail() -> None:
    token = secret()
    try:
        raise ValueError(f"cause {token}")
    except ValueError as cause:
        raise Refused(f"401 for {token}", header=f"Bearer {token}") from cause


@checkpoint(cache=False)
def call_with(token: str, settings: Settings, data: bytes) -> int:
    assert token == settings.token == data.decode()
    return len(token)


@flow
def sync_flow() -> Any:
    print("body", secret())
    kitaru.log(body=secret())
    kitaru.save("body", secret())
    lengths = call_with.map([secret()], Settings(token=secret()), secret().encode()).result()
    return [use(), lengths, LONG + secret()]


@flow
async def async_flow() -> Any:
    first, second = await asyncio.gather(use_async(), use_async())
    return [first, second]


@flow
def failing_flow() -> Any:
    try:
        fail()
    except Refused as error:
        print("caught", error)
    print("now it ends", secret())
    raise RuntimeError(f"the flow's own {secret()}")


@flow
def asking_flow() -> str:
    kitaru.wait("ok", question=f"Use {secret()}?", metadata={"token": secret()}, timeout=0)
    return "asked"


def traces(home: Path, value: str = TOKEN) -> list[str]:
    """Where in the files and tables of a home a secret is, in any form."""
    data = value.encode()
    forms = {
        data,
        json.dumps(value)[1:-1].encode(),
        json.dumps(value, ensure_ascii=False)[1:-1].encode(),
        repr(value)[1:-1].encode(),
        urllib.parse.quote(value, safe="").encode(),
        # What is in the middle of the three ways in which base64 can cut it.
        *(base64.b64encode(b"0" * before + data)[4:-4] for before in range(3)),
    }
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert home / "kitaru.db" in files
    found = [f"{path}: {form!r}" for path, content in files.items() for form in forms if form in content]
    with sqlite3.connect(home / "kitaru.db") as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f"SELECT * FROM {table}"):
                text = "\0".join(str(column) for column in row).encode()
                found += [f"{table}: {form!r}" for form in forms if form in text]
    database.close()
    return found


@pytest.fixture
def leaves_no_trace(home: Path) -> Iterator[None]:
    yield
    process.reset()  # everything is written
    assert traces(home) == []


def test_the_search_finds_a_secret_that_was_recorded(home: Path) -> None:
    @flow
    def careless() -> list[Any]:
        return [TOKEN, TOKEN.encode()]  # this process has not read it

    careless.run().wait(timeout=TIMEOUT)
    process.reset()
    assert len(traces(home)) >= 2


@pytest.mark.usefixtures("leaves_no_trace")
def test_a_sync_flow_leaves_no_trace() -> None:
    handle = sync_flow.run()
    assert handle.wait(timeout=TIMEOUT) == [MARK, [len(TOKEN)], LONG + MARK]
    call = next(call for call in record(handle).checkpoints if call.name == "call_with")
    assert call.inputs == {"token": MARK, "settings": Settings(token=MARK), "data": MARK.encode()}
    lines = [entry.message for entry in KitaruClient().executions.logs(handle.exec_id)]
    assert f"the token is {MARK}" in lines
    assert f"calling with {MARK}" in lines
    assert f"body {MARK}" in lines
    assert any(f"Refused: 401 for {MARK}" in line for line in lines)
    assert lines.count(MARK) == 1, "printed by the character"
    assert kitaru.load(handle.exec_id, "request") == Request(f"https://example.com/?key={MARK}", {"auth": MARK})
    assert kitaru.load(handle.exec_id, "long") == LONG + MARK
    assert kitaru.load(handle.exec_id, "bytes") == (LONG + MARK).encode()


@pytest.mark.usefixtures("leaves_no_trace")
def test_an_async_flow_leaves_no_trace() -> None:
    result = async_flow.run().wait(timeout=TIMEOUT)
    assert result == [{"token": MARK, "model": Settings(token=MARK), MARK: (1, {MARK})}] * 2


@pytest.mark.usefixtures("leaves_no_trace")
def test_a_failing_flow_leaves_no_trace() -> None:
    handle = failing_flow.run()
    error = failure_of(handle)
    assert str(error).endswith(f"RuntimeError: the flow's own {MARK}")
    (call,) = record(handle).checkpoints
    assert len(call.attempts) == 2
    for attempt in call.attempts:
        assert attempt.failure is not None
        assert attempt.failure.message == f"401 for {MARK}"
        assert f"cause {MARK}" in str(attempt.failure.traceback)


@flow
def isolated_flow(fails: bool) -> Any:
    try:
        return apart.uses_secret(fails=fails)
    except apart.Refused as error:
        return str(error)


@pytest.mark.usefixtures("leaves_no_trace")
@pytest.mark.parametrize(("fails", "expected"), [(False, {"token": MARK}), (True, f"401: for {MARK}")])
def test_an_isolated_checkpoint_leaves_no_trace(fails: bool, expected: Any) -> None:
    handle = isolated_flow.run(fails)
    assert handle.wait(timeout=TIMEOUT) == expected
    lines = [entry.message for entry in KitaruClient().executions.logs(handle.exec_id)]
    assert f"the token is {MARK}" in lines
    assert f"calling with {MARK}" in lines


PROCESS_STACK = """
import os
import kitaru


@kitaru.checkpoint(cache=False)
def use():
    print("the token is", os.environ["TOKEN"])
    return os.environ["TOKEN"]


@kitaru.flow
def uses():
    return use()


if __name__ == "__main__":
    kitaru.create_stack("apart", "process")
    print("result", uses.run(stack="apart", image={"secret_environment_from": ["TOKEN"]}).wait(timeout=60))
"""


@pytest.mark.usefixtures("leaves_no_trace")
def test_a_child_process_that_has_a_secret_in_its_environment_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "program"
    folder.mkdir()
    (tmp_path / "pyproject.toml").touch()
    program = Program(folder, PROCESS_STACK)
    # The child has not read the secret, it has found it: that counts as well.
    setting = Program(folder, f"import kitaru\nkitaru.KitaruClient().secrets.set('TOKEN', {TOKEN!r})\n", "setting.py")
    assert setting.run().returncode == 0
    assert f"result {MARK}" in (done := program.run()).stdout, done.stderr


@pytest.mark.usefixtures("leaves_no_trace")
def test_a_question_leaves_no_trace_and_is_found_again() -> None:
    handle = asking_flow.run()
    executions = KitaruClient().executions
    until(lambda: handle.status == "waiting")
    (wait,) = executions.pending_waits()
    assert wait.question == f"Use {MARK}?"
    assert wait.metadata == {"token": MARK}
    executions.input(handle.exec_id)
    assert handle.wait(timeout=TIMEOUT) == "asked"


# ── what the code gets ───────────────────────────────────────────────────────────────────────────

breakage: Breakage
seen: list[Any]


@pytest.fixture(autouse=True)
def fresh() -> None:
    global breakage, seen
    breakage, seen = Breakage(), []


@checkpoint(cache=False)
def returns_token() -> dict[str, str]:
    return {"authorization": f"Bearer {secret()}"}


@checkpoint(cache=False)
def breaks() -> None:
    breakage.check()


@flow
def passes_on() -> Any:
    seen.append(returns_token())
    seen.append(returns_token.submit().result())
    try:
        breaks()
    except ConnectionError:
        breakage.mend()
        raise
    return seen[-1]


def test_s4_1_a_result_that_holds_a_secret_is_the_same_at_first_and_after_a_resume() -> None:
    assert retried(passes_on.run()) == {"authorization": f"Bearer {MARK}"}
    assert seen == [{"authorization": f"Bearer {MARK}"}] * 4


def test_a_warning_with_the_call_tells_that_a_result_was_redacted(caplog: pytest.LogCaptureFixture) -> None:
    breakage.mend()
    handle = passes_on.run()
    handle.wait(timeout=TIMEOUT)
    expected = "the result of returns_token holds the value of secret TOKEN: recorded, and handed on, is the name."
    assert expected in caplog.messages
    assert expected in [entry.message for entry in KitaruClient().executions.logs(handle.exec_id)]


@checkpoint
def measured(token: str) -> int:
    seen.append(token)
    return len(token)


@flow
def measures() -> int:
    length = measured(secret())
    try:
        breaks()
    except ConnectionError:
        KitaruClient().secrets.set("TOKEN", "a new value")
        breakage.mend()
        raise
    return length


def test_s3_4_an_input_that_holds_a_secret_counts_by_its_name_and_is_not_reused_by_other_executions() -> None:
    assert retried(measures.run()) == len(TOKEN), "reused, although the secret has another value by now"
    assert seen == [TOKEN], "the function gets the value itself"
    assert measures.run().wait(timeout=TIMEOUT) == len("a new value")


@flow
def takes(options: dict[str, Any]) -> Any:
    return options


@flow
def asks_for_text() -> str:
    secret()
    return kitaru.wait("text", schema=str, timeout=0)


@flow
def has_default() -> str:
    return kitaru.wait("text", schema=str, expires_in=60, default=secret(), timeout=0)


def test_s4_2_what_has_to_come_back_exactly_is_refused_with_its_path_and_without_its_value() -> None:
    secret()
    with pytest.raises(KitaruSerializationError) as caught:
        takes.run({"headers": [{"x": f"Bearer {TOKEN}"}]})
    assert str(caught.value) == (
        'argument options["headers"][0]["x"] cannot be recorded exactly: it holds the value of secret TOKEN. '
        "Give the name instead, and call kitaru.secret('TOKEN') where the value is used."
    )
    assert not list(KitaruClient().executions.list())


def test_s5_1_an_answer_that_holds_a_secret_is_refused_and_may_be_given_again() -> None:
    handle = asks_for_text.run()
    executions = KitaruClient().executions
    until(lambda: handle.status == "waiting")
    with pytest.raises(KitaruSerializationError, match="holds the value of secret TOKEN"):
        executions.input(handle.exec_id, TOKEN)
    executions.input(handle.exec_id, "TOKEN")
    assert handle.wait(timeout=TIMEOUT) == "TOKEN"


def test_a_default_that_holds_a_secret_fails_before_it_is_asked_for(home: Path) -> None:
    assert "holds the value of secret TOKEN" in str(failure_of(has_default.run()))
    process.reset()
    assert traces(home) == []


# ── types ────────────────────────────────────────────────────────────────────────────────────────


@checkpoint(cache=False)
def makes(kind: str) -> Any:
    return MAKERS[kind]()


@flow
def makes_one(kind: str) -> Any:
    return makes(kind)


def _array() -> Any:
    import numpy as np

    return np.frombuffer(secret().encode(), dtype=np.uint8)


def _frame() -> Any:
    import polars as pl

    return pl.DataFrame({"token": [secret()]})


MAKERS: dict[str, Callable[[], Any]] = {"array": _array, "frame": _frame}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_secret_in_a_type_that_cannot_be_changed_is_refused(home: Path, kind: str) -> None:
    error = failure_of(makes_one.run(kind))
    assert "result cannot be recorded exactly: it holds the value of secret TOKEN. A " in str(error)
    assert TOKEN not in str(error)
    process.reset()
    assert traces(home) == []


def test_a_name_cannot_hold_a_secret(home: Path) -> None:
    @flow
    def saves() -> None:
        kitaru.save(f"answer to {secret()}", 1)

    assert "kitaru.save(): the name holds the value of secret TOKEN" in str(failure_of(saves.run()))
    with pytest.raises(KitaruUsageError, match="a tag holds the value of secret TOKEN"):
        takes.run({}, tags=[f"of {TOKEN}"])
    KitaruClient().secrets.set("PLAIN", "plain-secret")
    with pytest.raises(KitaruUsageError, match="execution_id= holds the value of secret PLAIN"):
        takes.run({}, execution_id="run-plain-secret")
    process.reset()
    assert traces(home) == []


@flow
def asks_by_secret() -> None:
    kitaru.wait(f"for {secret()}")


@flow
def asks_for_secret() -> None:
    kitaru.wait(schema={"enum": [secret()]})


@flow
def keyed_by_secret() -> int:
    keyed = call_with.with_options(key=f"user {secret()}")
    return keyed(secret(), Settings(token=secret()), secret().encode())


@pytest.mark.usefixtures("leaves_no_trace")
def test_what_a_wait_or_a_call_is_found_by_cannot_hold_a_secret() -> None:
    assert "kitaru.wait(): the name holds the value of secret TOKEN" in str(failure_of(asks_by_secret.run()))
    assert "kitaru.wait(): the schema holds the value of secret TOKEN" in str(failure_of(asks_for_secret.run()))
    assert keyed_by_secret.run().wait(timeout=TIMEOUT) == len(TOKEN)


def test_a_number_that_is_a_secret_is_refused() -> None:
    KitaruClient().secrets.set("PIN", "4711081512345")

    @flow
    def number() -> int:
        return int(kitaru.secret("PIN"))

    with pytest.raises(kitaru.KitaruExecutionError, match="holds the value of secret PIN"):
        number.run().wait(timeout=TIMEOUT)
