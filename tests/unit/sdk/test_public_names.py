"""The public surface, frozen: a name comes or goes only together with this file."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import kitaru

NAMES = [
    "Artifact",
    "Attempt",
    "CallDiff",
    "Change",
    "CheckpointCall",
    "CheckpointFuture",
    "CheckpointFutures",
    "Cleaned",
    "Deployment",
    "Event",
    "EventKind",
    "Execution",
    "ExecutionDiff",
    "ExecutionStatistics",
    "Explanation",
    "Failure",
    "FailureOrigin",
    "FlowHandle",
    "ImageSettings",
    "Info",
    "Isolated",
    "KitaruCancelled",
    "KitaruCancelledError",
    "KitaruClient",
    "KitaruContextError",
    "KitaruDivergenceError",
    "KitaruError",
    "KitaruExecutionError",
    "KitaruNotFoundError",
    "KitaruSerializationError",
    "KitaruStateError",
    "KitaruStoreError",
    "KitaruUsageError",
    "KitaruUserCodeError",
    "KitaruWaitAbortedError",
    "KitaruWaitValidationError",
    "Limit",
    "LogEntry",
    "PlannedCall",
    "Reason",
    "ReplayPlan",
    "ResumePlan",
    "Retry",
    "Secret",
    "Slot",
    "Stack",
    "Status",
    "Wait",
    "checkpoint",
    "configure",
    "create_stack",
    "current_execution_id",
    "current_stack",
    "delete_stack",
    "flow",
    "idempotency_key",
    "info",
    "is_replay",
    "list_stacks",
    "load",
    "log",
    "now",
    "progress",
    "random",
    "register_codec",
    "save",
    "secret",
    "sleep",
    "sleep_until",
    "unmapped",
    "use_stack",
    "uuid4",
    "wait",
    "wait_any",
]


def public(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def test_the_public_names_are_these_and_no_others() -> None:
    assert public(dir(kitaru)) == NAMES
    assert sorted(kitaru.__all__) == NAMES


def test_looking_up_names_does_not_change_what_dir_shows() -> None:
    program = (
        "import kitaru; before = dir(kitaru); [getattr(kitaru, name) for name in before]; print(before == dir(kitaru))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "True"


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_what_its_home_calls_so(name: str) -> None:
    found = getattr(kitaru, name)
    assert found is getattr(import_module(kitaru._HOME_OF[name]), name)


def test_what_type_checkers_see_is_what_is_there_at_run_time() -> None:
    """``_HOME_OF`` against the imports under ``TYPE_CHECKING``, each of them a re-export."""
    tree = ast.parse(Path(kitaru.__file__).read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen: dict[str, str] = {}
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for alias in node.names:
            assert alias.asname == alias.name, f"{alias.name} is not re-exported"
            seen[alias.name] = node.module
    assert seen == kitaru._HOME_OF


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kitaru' has no attribute 'flwo'"):
        _ = kitaru.flwo  # type: ignore[attr-defined]


def test_a_star_import_brings_the_public_names() -> None:
    scope: dict[str, object] = {}
    exec("from kitaru import *", scope)
    assert sorted(name for name in scope if not name.startswith("__")) == NAMES


def test_every_public_name_has_a_docstring() -> None:
    assert [name for name in NAMES if not (getattr(kitaru, name).__doc__ or "").strip()] == []


HEAVY = ("sqlite3", "pydantic", "obstore", "asyncio", "numpy", "kitaru.store", "kitaru.values", "kitaru.sdk")


def test_importing_kitaru_loads_no_database_driver_and_nothing_else_that_is_heavy() -> None:
    program = f"import sys, kitaru; print(*[name for name in {HEAVY} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.split() == []
