"""Durable execution for Python agents: work that was recorded is not done again.

The public names are resolved when they are first used, so that ``import kitaru`` does no I/O and
loads no database driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kitaru.client.client import KitaruClient as KitaruClient
    from kitaru.client.deployment import Deployment as Deployment
    from kitaru.client.handle import FlowHandle as FlowHandle
    from kitaru.core.artifact import Artifact as Artifact
    from kitaru.core.cleaned import Cleaned as Cleaned
    from kitaru.core.diff import CallDiff as CallDiff
    from kitaru.core.diff import ExecutionDiff as ExecutionDiff
    from kitaru.core.event import Event as Event
    from kitaru.core.event import EventKind as EventKind
    from kitaru.core.execution import Attempt as Attempt
    from kitaru.core.execution import CheckpointCall as CheckpointCall
    from kitaru.core.execution import Execution as Execution
    from kitaru.core.explanation import Change as Change
    from kitaru.core.explanation import Explanation as Explanation
    from kitaru.core.explanation import Reason as Reason
    from kitaru.core.failure import Failure as Failure
    from kitaru.core.image import ImageSettings as ImageSettings
    from kitaru.core.info import Info as Info
    from kitaru.core.isolated import Isolated as Isolated
    from kitaru.core.limit import Limit as Limit
    from kitaru.core.limit import Slot as Slot
    from kitaru.core.log_entry import LogEntry as LogEntry
    from kitaru.core.replay import PlannedCall as PlannedCall
    from kitaru.core.replay import ReplayPlan as ReplayPlan
    from kitaru.core.resume_plan import ResumePlan as ResumePlan
    from kitaru.core.retry import Retry as Retry
    from kitaru.core.secret import Secret as Secret
    from kitaru.core.stack import Stack as Stack
    from kitaru.core.states import Status as Status
    from kitaru.core.statistics import ExecutionStatistics as ExecutionStatistics
    from kitaru.core.wait import Wait as Wait
    from kitaru.engine.futures import CheckpointFuture as CheckpointFuture
    from kitaru.engine.futures import CheckpointFutures as CheckpointFutures
    from kitaru.engine.signals import KitaruCancelled as KitaruCancelled
    from kitaru.errors import FailureOrigin as FailureOrigin
    from kitaru.errors import KitaruCancelledError as KitaruCancelledError
    from kitaru.errors import KitaruContextError as KitaruContextError
    from kitaru.errors import KitaruDivergenceError as KitaruDivergenceError
    from kitaru.errors import KitaruError as KitaruError
    from kitaru.errors import KitaruExecutionError as KitaruExecutionError
    from kitaru.errors import KitaruNotFoundError as KitaruNotFoundError
    from kitaru.errors import KitaruSerializationError as KitaruSerializationError
    from kitaru.errors import KitaruStateError as KitaruStateError
    from kitaru.errors import KitaruStoreError as KitaruStoreError
    from kitaru.errors import KitaruUsageError as KitaruUsageError
    from kitaru.errors import KitaruUserCodeError as KitaruUserCodeError
    from kitaru.errors import KitaruWaitAbortedError as KitaruWaitAbortedError
    from kitaru.errors import KitaruWaitValidationError as KitaruWaitValidationError
    from kitaru.sdk.checkpoint import checkpoint as checkpoint
    from kitaru.sdk.config import configure as configure
    from kitaru.sdk.fan_out import unmapped as unmapped
    from kitaru.sdk.flow import flow as flow
    from kitaru.sdk.keep import current_execution_id as current_execution_id
    from kitaru.sdk.keep import idempotency_key as idempotency_key
    from kitaru.sdk.keep import is_replay as is_replay
    from kitaru.sdk.keep import load as load
    from kitaru.sdk.keep import log as log
    from kitaru.sdk.keep import save as save
    from kitaru.sdk.progress import progress as progress
    from kitaru.sdk.recorded import now as now
    from kitaru.sdk.recorded import random as random
    from kitaru.sdk.recorded import uuid4 as uuid4
    from kitaru.sdk.secret import secret as secret
    from kitaru.sdk.settings import info as info
    from kitaru.sdk.stacks import create_stack as create_stack
    from kitaru.sdk.stacks import current_stack as current_stack
    from kitaru.sdk.stacks import delete_stack as delete_stack
    from kitaru.sdk.stacks import list_stacks as list_stacks
    from kitaru.sdk.stacks import use_stack as use_stack
    from kitaru.sdk.wait import sleep as sleep
    from kitaru.sdk.wait import sleep_until as sleep_until
    from kitaru.sdk.wait import wait as wait
    from kitaru.sdk.wait import wait_any as wait_any
    from kitaru.values import register_codec as register_codec

__version__ = "0.1.0"

_HOME_OF = {
    "KitaruClient": "kitaru.client.client",
    "Deployment": "kitaru.client.deployment",
    "FlowHandle": "kitaru.client.handle",
    "Artifact": "kitaru.core.artifact",
    "Cleaned": "kitaru.core.cleaned",
    "CallDiff": "kitaru.core.diff",
    "ExecutionDiff": "kitaru.core.diff",
    "Event": "kitaru.core.event",
    "EventKind": "kitaru.core.event",
    "Attempt": "kitaru.core.execution",
    "CheckpointCall": "kitaru.core.execution",
    "Execution": "kitaru.core.execution",
    "Change": "kitaru.core.explanation",
    "Explanation": "kitaru.core.explanation",
    "Reason": "kitaru.core.explanation",
    "Failure": "kitaru.core.failure",
    "ImageSettings": "kitaru.core.image",
    "Info": "kitaru.core.info",
    "Isolated": "kitaru.core.isolated",
    "Limit": "kitaru.core.limit",
    "Slot": "kitaru.core.limit",
    "LogEntry": "kitaru.core.log_entry",
    "PlannedCall": "kitaru.core.replay",
    "ReplayPlan": "kitaru.core.replay",
    "ResumePlan": "kitaru.core.resume_plan",
    "Retry": "kitaru.core.retry",
    "Stack": "kitaru.core.stack",
    "Secret": "kitaru.core.secret",
    "Status": "kitaru.core.states",
    "ExecutionStatistics": "kitaru.core.statistics",
    "Wait": "kitaru.core.wait",
    "CheckpointFuture": "kitaru.engine.futures",
    "CheckpointFutures": "kitaru.engine.futures",
    "KitaruCancelled": "kitaru.engine.signals",
    "FailureOrigin": "kitaru.errors",
    "KitaruCancelledError": "kitaru.errors",
    "KitaruContextError": "kitaru.errors",
    "KitaruDivergenceError": "kitaru.errors",
    "KitaruError": "kitaru.errors",
    "KitaruExecutionError": "kitaru.errors",
    "KitaruNotFoundError": "kitaru.errors",
    "KitaruSerializationError": "kitaru.errors",
    "KitaruStateError": "kitaru.errors",
    "KitaruStoreError": "kitaru.errors",
    "KitaruUsageError": "kitaru.errors",
    "KitaruUserCodeError": "kitaru.errors",
    "KitaruWaitAbortedError": "kitaru.errors",
    "KitaruWaitValidationError": "kitaru.errors",
    "checkpoint": "kitaru.sdk.checkpoint",
    "configure": "kitaru.sdk.config",
    "unmapped": "kitaru.sdk.fan_out",
    "flow": "kitaru.sdk.flow",
    "current_execution_id": "kitaru.sdk.keep",
    "idempotency_key": "kitaru.sdk.keep",
    "is_replay": "kitaru.sdk.keep",
    "load": "kitaru.sdk.keep",
    "log": "kitaru.sdk.keep",
    "save": "kitaru.sdk.keep",
    "progress": "kitaru.sdk.progress",
    "now": "kitaru.sdk.recorded",
    "random": "kitaru.sdk.recorded",
    "uuid4": "kitaru.sdk.recorded",
    "info": "kitaru.sdk.settings",
    "create_stack": "kitaru.sdk.stacks",
    "current_stack": "kitaru.sdk.stacks",
    "delete_stack": "kitaru.sdk.stacks",
    "list_stacks": "kitaru.sdk.stacks",
    "use_stack": "kitaru.sdk.stacks",
    "secret": "kitaru.sdk.secret",
    "sleep": "kitaru.sdk.wait",
    "sleep_until": "kitaru.sdk.wait",
    "wait": "kitaru.sdk.wait",
    "wait_any": "kitaru.sdk.wait",
    "register_codec": "kitaru.values",
}
"""Where each public name lives. A test compares it with the imports above."""

__all__ = list(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]  # the names above, in one place


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'kitaru' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    # Not all of globals(): what this module imports, and the packages inside it, are no names to use.
    return sorted({*_HOME_OF, *(name for name in globals() if name.startswith("__"))})
