"""The statuses of an execution and the legal moves between them (S6.1).

The table below is the only place that says what may follow what. The store applies it inside the
transaction that writes the new status, as a compare-and-set.

* ``pending``    recorded, owned by nobody
* ``running``    owned by one runner, through a lease and an epoch
* ``waiting``    parked for a person or a timer, owned by nobody
* ``completed``  has a result; final
* ``failed``     ended by an exception; only a retry goes on from here
* ``cancelled``  stopped on request; final
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """The status of an execution."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """True where nothing happens any more unless somebody asks for it."""
        return self in FINISHED


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.RUNNING, Status.CANCELLED}),
    # running -> running is a takeover: another runner claims an orphan, with the next epoch.
    # running -> pending hands an execution back, so that another runner goes on with it.
    Status.RUNNING: frozenset(
        {
            Status.RUNNING,
            Status.PENDING,
            Status.WAITING,
            Status.COMPLETED,
            Status.FAILED,
            Status.CANCELLED,
        }
    ),
    Status.WAITING: frozenset({Status.RUNNING, Status.PENDING, Status.CANCELLED}),
    Status.FAILED: frozenset({Status.RUNNING, Status.PENDING}),
    Status.COMPLETED: frozenset(),
    Status.CANCELLED: frozenset(),
}

FINISHED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


def may_follow(before: Status, after: Status) -> bool:
    """True where an execution may go from ``before`` to ``after`` in one step."""
    return after in TRANSITIONS[before]


class CallStatus(StrEnum):
    """The status of one recorded call, and of one attempt at it."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


class CallKind(StrEnum):
    """What was called: a checkpoint, a child flow, a recorded value such as ``kitaru.now()``, or a wait."""

    CHECKPOINT = "checkpoint"
    FLOW = "flow"
    VALUE = "value"
    WAIT = "wait"
