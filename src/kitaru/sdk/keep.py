"""What user code keeps beside results, and asks about itself (S6.7, S7.3)."""

from __future__ import annotations

from typing import Any

from kitaru.client.artifacts import Artifacts
from kitaru.core import redaction
from kitaru.core.mutations import ArtifactSaved, MetadataLogged
from kitaru.core.rows import ArtifactRow, MetadataRow
from kitaru.engine.call import CallScope
from kitaru.engine.context import any_run, body_run
from kitaru.engine.identity import idempotency_key as key_of
from kitaru.engine.run import Run
from kitaru.errors import KitaruContextError, KitaruUsageError
from kitaru.services.wiring import wiring


def log(**metadata: Any) -> None:
    """Keep metadata with the checkpoint that is running, or in a flow's body with the execution.

    A later value under the same key replaces an earlier one. It is written with the next commit: in a
    checkpoint with its outcome.

    Args:
        **metadata: Any values that can be recorded; numbers can be summed by surfaces.

    Raises:
        KitaruContextError: Called outside a flow, or after its body or this attempt has ended.
        KitaruSerializationError: A value cannot be recorded.
    """
    scope = any_run("kitaru.log()")
    run = scope.run
    call_id = scope.call_id if isinstance(scope, CallScope) else ""
    with run.needing_the_store():
        rows = tuple(_metadata(run, call_id, redaction.redact(key), value) for key, value in metadata.items())
    if isinstance(scope, CallScope):
        scope.log(rows)
    else:
        run.check_open("kitaru.log()")
        run.riding.append(MetadataLogged(rows))


def save(name: str, value: Any) -> None:
    """Keep a value under a name. A later one of the same name in this execution replaces it.

    In a flow's body it is on disk when this returns; in a checkpoint it is written with its outcome.

    Args:
        name: Unique within the execution.
        value: Any value that can be recorded.

    Raises:
        KitaruContextError: Called outside a flow.
        KitaruSerializationError: The value cannot be recorded.
        KitaruUsageError: The name is none, or holds the value of a secret.
    """
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"kitaru.save({name!r}, ...): a name is expected.")
    redaction.refuse(name, "kitaru.save(): the name")
    scope = any_run("kitaru.save()")
    run = scope.run
    call_id = scope.call_id if isinstance(scope, CallScope) else ""
    with run.needing_the_store():
        row = ArtifactRow(name, call_id, run.values.encode_redacted(value, f"artifact {name}").text, run.clock.now())
    if isinstance(scope, CallScope):
        scope.save(row)
    else:
        body_run("kitaru.save()").write((ArtifactSaved(row),))


def load(exec_id: str, name: str) -> Any:
    """The value that an execution saved under a name.

    Raises:
        KitaruNotFoundError: There is no such execution or artifact.
    """
    return Artifacts(wiring()).get(exec_id, name).load()


def current_execution_id() -> str:
    """The id of the execution that is running here.

    Raises:
        KitaruContextError: Called outside a flow.
    """
    return any_run("kitaru.current_execution_id()").run.execution_id


def is_replay() -> bool:
    """True in the body and the checkpoints of a replay, and of the child flows that it starts (S6.7).

    Raises:
        KitaruContextError: Called outside a flow.
    """
    return any_run("kitaru.is_replay()").run.is_replay


def idempotency_key() -> str:
    """A key that is the same for all attempts of this call, in whichever process (S6.7).

    Hand it to an API that takes one (payments do): an attempt that died after its effect and before its
    record is then made good by the next, and not done twice.

    Raises:
        KitaruContextError: Called outside a checkpoint.
    """
    scope = any_run("kitaru.idempotency_key()")
    if not isinstance(scope, CallScope):
        raise KitaruContextError("kitaru.idempotency_key() belongs inside a checkpoint: it is the key of one call.")
    return key_of(scope.run.execution_id, scope.call.identity)


def _metadata(run: Run, call_id: str, key: str, value: object) -> MetadataRow:
    return MetadataRow(call_id, key, run.values.encode_redacted(value, f"metadata {key}").text, _number(value))


def _number(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond any sum; the value itself is kept all the same
        return None
