"""Every exception that Kitaru raises, and what to do about it.

::

    KitaruError                          anything below
     ├─ KitaruUsageError (ValueError)    the call is wrong: fix the arguments, nothing was recorded
     │   └─ KitaruWaitValidationError    an answer that does not fit the wait's schema: answer again
     ├─ KitaruContextError (RuntimeError)   right call, wrong place (outside a flow, inside a checkpoint)
     ├─ KitaruStateError (RuntimeError)  not possible from the present status: look at the status first
     ├─ KitaruSerializationError (TypeError)  a value cannot be carried exactly: its path is in the message
     ├─ KitaruNotFoundError (LookupError)     no such execution, call, artifact, stack ...
     ├─ KitaruStoreError                 the store cannot be used: the message says which file and why
     ├─ KitaruExecutionError             an execution ended without a result
     │   ├─ KitaruUserCodeError          the flow's own code raised
     │   ├─ KitaruDivergenceError        a resumed call no longer matches its record (``on_drift="fail"``)
     │   └─ KitaruCancelledError         the execution was cancelled
     └─ KitaruWaitAbortedError           a person aborted a wait; the flow body may catch it

``KitaruCancelled``, which a flow body sees when its execution is cancelled, is none of these: it
derives from ``BaseException`` (see ``kitaru.engine.signals``).
"""

from __future__ import annotations

from enum import StrEnum


class FailureOrigin(StrEnum):
    """Where a failure was raised (S9). Decided by the place that raised it, never by its text."""

    USER_CODE = "user_code"
    RUNTIME = "runtime"
    STORE = "store"
    DIVERGENCE = "divergence"
    TIMEOUT = "timeout"
    INFRASTRUCTURE = "infrastructure"


class KitaruError(Exception):
    """The root of everything that Kitaru raises."""


class KitaruUsageError(KitaruError, ValueError):
    """A wrong argument or option. Raised before anything is recorded; correct the call."""


class KitaruWaitValidationError(KitaruUsageError):
    """An answer does not fit the wait's schema (S5.1). The execution still waits: answer again."""


class KitaruContextError(KitaruError, RuntimeError):
    """A call in a place where it has no meaning: a checkpoint outside a flow, or inside another one."""


class KitaruStateError(KitaruError, RuntimeError):
    """The present status does not allow this. The message names the status."""


class KitaruSerializationError(KitaruError, TypeError):
    """A value cannot be recorded, or read back, exactly (S4.2).

    Return a supported type instead, or register a codec for the type that the message names.
    """


class KitaruNotFoundError(KitaruError, LookupError):
    """Nothing is recorded under the id or name that was given."""


class KitaruStoreError(KitaruError):
    """The store cannot be read or written. The message says which store, why, and the remedy."""


class KitaruExecutionError(KitaruError):
    """An execution ended without a result (S1.5).

    Attributes:
        exec_id: The execution.
        status: Its final status, ``"failed"`` or ``"cancelled"``.
        failure_origin: Where the failure came from; None for a cancelled execution.
    """

    def __init__(
        self,
        message: str,
        *,
        exec_id: str,
        status: str,
        failure_origin: FailureOrigin | None = None,
    ) -> None:
        super().__init__(message)
        self.exec_id = exec_id
        self.status = status
        self.failure_origin = failure_origin


class KitaruUserCodeError(KitaruExecutionError):
    """The flow's own code raised. The original exception is the ``__cause__`` where it is at hand."""


class KitaruDivergenceError(KitaruExecutionError):
    """A resumed call differs from its record and its checkpoint says ``on_drift="fail"`` (S3.3)."""


class KitaruCancelledError(KitaruExecutionError):
    """The execution was cancelled before it finished."""


class KitaruWaitAbortedError(KitaruError):
    """A person aborted the wait (S5.6). The flow body may catch it and go on."""
