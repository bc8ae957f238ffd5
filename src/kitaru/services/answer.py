"""Answer or abort a wait (S5.2, S5.5), and see that its execution goes on."""

from __future__ import annotations

import getpass
import logging
import socket
from difflib import get_close_matches
from typing import Any

from kitaru.core.clock import to_datetime
from kitaru.core.mutations import Commit, Conflict, WaitAnswered
from kitaru.core.rows import ExecutionRow, WaitRow
from kitaru.core.states import Status, WaitStatus
from kitaru.engine.answers import misfits, misfits_of_type
from kitaru.engine.failures import failure_of
from kitaru.errors import (
    FailureOrigin,
    KitaruError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
    KitaruWaitAbortedError,
    KitaruWaitValidationError,
)
from kitaru.services.find import find
from kitaru.services.recover import recover
from kitaru.services.wiring import Wiring

_log = logging.getLogger("kitaru")


def answer(wiring: Wiring, execution_id: str, value: Any, *, wait: str | None, by: str | None, via: str) -> None:
    """Give the answer of a wait. The first valid one counts, and the execution goes on by itself.

    Args:
        wiring: The process.
        execution_id: The execution.
        value: The answer: JSON data that fits the wait's schema. Not looked at for a gate.
        wait: The wait's id or name; may be left out where only one is open.
        by: Who answers. Default: the user of this process.
        via: Through what: ``python``, ``cli``, ``terminal``, ``http`` ...

    Raises:
        KitaruNotFoundError: There is no such execution or wait.
        KitaruWaitValidationError: The answer does not fit the schema; the wait is still open.
        KitaruStateError: It has been answered, aborted or closed already, or the execution has ended.
        KitaruUsageError: Several waits are open and none is named.
    """
    row = find(wiring, execution_id)
    open_wait = _open_wait(wiring, row, wait)
    _validate(open_wait, value)
    given = True if open_wait.schema is None else value
    encoded = wiring.values.encode(given, f"the answer to wait {open_wait.wait_id}: answer")
    _close(
        wiring,
        row,
        WaitAnswered(
            open_wait.wait_id, WaitStatus.ANSWERED, wiring.clock.now(), answer=encoded, by=by or _user(), via=via
        ),
    )


def abort(wiring: Wiring, execution_id: str, *, wait: str | None, reason: str | None, by: str | None, via: str) -> None:
    """Abort a wait: its body gets ``KitaruWaitAbortedError``. Arguments and errors: see ``answer``."""
    row = find(wiring, execution_id)
    open_wait = _open_wait(wiring, row, wait)
    told = f": {reason}" if reason else ""
    error = KitaruWaitAbortedError(f"wait {open_wait.wait_id!r} was aborted{told}")
    _close(
        wiring,
        row,
        WaitAnswered(
            open_wait.wait_id,
            WaitStatus.ABORTED,
            wiring.clock.now(),
            answer=None if reason is None else wiring.values.encode(reason, "reason"),
            failure=failure_of(error, FailureOrigin.USER_CODE, wiring.values),
            by=by or _user(),
            via=via,
        ),
    )


def _open_wait(wiring: Wiring, row: ExecutionRow, wanted: str | None) -> WaitRow:
    waits = wiring.store.waits.of(row.execution_id)
    named = [one for one in waits if wanted is None or wanted in (one.wait_id, one.name)]
    open_ones = [one for one in named if one.status is WaitStatus.OPEN]
    exact = [one for one in open_ones if one.wait_id == wanted]
    if exact or len(open_ones) == 1:
        return (exact or open_ones)[0]
    if open_ones:
        listed = ", ".join(one.wait_id for one in open_ones)
        raise KitaruUsageError(f"execution {row.execution_id} has several open waits: {listed}. Name one: wait=...")
    if named:
        raise KitaruStateError(_closed(row, named[-1]))
    if wanted is not None and waits:
        near = get_close_matches(wanted, [one.wait_id for one in waits], 1)
        hint = f" Did you mean {near[0]!r}?" if near else f" It has {', '.join(one.wait_id for one in waits)}."
        raise KitaruNotFoundError(f"execution {row.execution_id} has no wait {wanted!r}.{hint}")
    hint = f" What it waits for says: kitaru why {row.execution_id}" if row.status is Status.WAITING else ""
    raise KitaruStateError(f"execution {row.execution_id} is {row.status} and has asked nothing.{hint}")


def _closed(row: ExecutionRow, wait: WaitRow) -> str:
    at = "" if wait.answered_at is None else f" at {to_datetime(wait.answered_at):%Y-%m-%d %H:%M:%S} UTC"
    by = "" if wait.by is None else f" by {wait.by}"
    return f"wait {wait.wait_id!r} of execution {row.execution_id} was {wait.status}{by}{at}; the first answer counts."


def _validate(wait: WaitRow, value: Any) -> None:
    if wait.schema is None:
        return
    errors = misfits(wait.schema, value)
    if not errors and wait.answer_type is not None:
        errors = misfits_of_type(wait.answer_type, wait.schema, value)
    if errors:
        told = "; ".join(errors[:5])
        raise KitaruWaitValidationError(
            f"the answer does not fit the schema of wait {wait.wait_id!r}: {told}. It is still waiting; answer again."
        )


def _close(wiring: Wiring, row: ExecutionRow, answered: WaitAnswered) -> None:
    try:
        wiring.committer.commit(Commit(row.execution_id, None, (answered,)))
    except Conflict as conflict:
        if conflict.status is None or conflict.status.finished:
            raise KitaruStateError(
                f"execution {row.execution_id} is {conflict.status or 'deleted'}; it needs no answer any more."
            ) from None
        waits = wiring.store.waits.of(row.execution_id)
        raise KitaruStateError(_closed(row, next(one for one in waits if one.wait_id == answered.wait_id))) from None
    current = wiring.store.executions.get(row.execution_id)
    if current is not None and current.status is Status.PENDING:
        # Its runner goes on with it while it lives; else this process does (S5.2), if it can find the flow.
        try:
            recover(wiring, current)
        except KitaruNotFoundError:
            pass
        except KitaruError:
            raise
        except (Exception, SystemExit):  # noqa: BLE001  # a user's module is imported; the answer is recorded already
            _log.warning(
                "The answer is recorded; flow %s cannot be loaded here, so another process has to go on with it.",
                current.flow_ref,
                exc_info=True,
            )


def _user() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"
