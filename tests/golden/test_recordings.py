"""What an earlier version has recorded, this one resumes and retries (S3.2, S4.1, S6.3, S6.4)."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import kitaru
from kitaru import Execution, KitaruClient
from kitaru.core.states import CallStatus, Status
from tests.golden.flows import Page, Refused, executed
from tests.golden.record import URL

FOLDER = Path(__file__).parent
VERSIONS = sorted(path.parent.name for path in FOLDER.glob("*/kitaru.db"))

PAGE = Page(URL, Decimal("9.90"), datetime(2024, 2, 29, 12, tzinfo=UTC), ("a", "b"))
CALLS = ["kitaru.uuid4", "kitaru.now", "fetch", "body_of", "size", "size_2", "refuse", "child"]


@pytest.fixture(params=VERSIONS)
def client(request: pytest.FixtureRequest, home: Path) -> KitaruClient:
    """A client on a copy of the recording."""
    shutil.copytree(FOLDER / request.param, home)
    executed.clear()
    return KitaruClient()


def test_there_is_a_recording_of_a_version() -> None:
    assert VERSIONS


def _by_id(execution: Execution) -> dict[str, object]:
    return {call.call_id: call.output for call in execution.checkpoints if call.status is CallStatus.COMPLETED}


def _check_result(execution: Execution, before: dict[str, object], answer: int) -> None:
    assert execution.status is Status.COMPLETED
    assert execution.result == {
        "name": before["kitaru.uuid4"],
        "at": before["kitaru.now"],
        "page": PAGE,
        "sizes": [len(URL) * 2_000 * 2.0] * 2,
        "code": 7,
        "child": 6,
        "answer": answer,
        "last": 7.0,
    }
    assert before.items() <= _by_id(execution).items()
    assert execution.drift == ()


def test_s6_4_a_failed_execution_of_an_earlier_version_is_retried(client: KitaruClient) -> None:
    failed = client.executions.get("failed")
    before = _by_id(failed)
    assert failed.status is Status.FAILED
    assert [call.call_id for call in failed.checkpoints] == [*CALLS, "call_service"]

    client.executions.retry("failed").wait(timeout=30)

    assert executed == ["call_service", "size"]
    _check_result(client.executions.get("failed"), before, answer=40)


def test_s6_3_an_orphan_of_an_earlier_version_is_resumed(client: KitaruClient) -> None:
    orphan = client.executions.get("orphan")
    before = _by_id(orphan)
    assert orphan.status is Status.RUNNING
    assert [call.call_id for call in orphan.checkpoints] == CALLS

    client.executions.resume("orphan").wait(timeout=30)

    assert executed == ["size"]
    _check_result(client.executions.get("orphan"), before, answer=0)


def test_s7_2_what_an_earlier_version_recorded_is_shown(client: KitaruClient) -> None:
    failed = client.executions.get("failed")
    calls = {call.call_id: call for call in failed.checkpoints}
    assert failed.inputs == {"url": URL, "ask_service": True}
    assert failed.failure is not None
    assert failed.failure.type == "builtins:ConnectionError"
    assert calls["fetch"].type == "tool_call"
    assert calls["fetch"].metadata == {"length": len(URL)}
    assert calls["fetch"].output == PAGE
    assert calls["body_of"].inputs == {"page": PAGE}
    assert calls["body_of"].output == URL * 2_000
    assert calls["size"].inputs["weights"] == {(1, 2): 0.5, (3, 4): 1.5}
    assert calls["refuse"].failure is not None
    assert calls["refuse"].failure.type == f"{Refused.__module__}:Refused"
    assert [attempt.status for attempt in calls["call_service"].attempts] == ["failed", "failed"]
    assert kitaru.load("failed", "page") == PAGE
    assert calls["child"].child_exec_id is not None
    assert client.executions.get(calls["child"].child_exec_id).result == 6
