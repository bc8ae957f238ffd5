"""What a replay changes, found for each call as its body makes it (S6.5)."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from kitaru.core.ports import Values
from kitaru.core.references import resolve
from kitaru.core.replay import Override
from kitaru.core.rows import Encoded
from kitaru.core.states import CallKind
from kitaru.engine.binding import Binder
from kitaru.engine.definitions import CheckpointDefinition
from kitaru.engine.identity import Identity
from kitaru.engine.memo import Memo
from kitaru.errors import KitaruNotFoundError, KitaruUsageError


class Overrides:
    """The overrides of one run of the body. Owned by the thread that runs it, as they count its calls."""

    def __init__(self, overrides: Iterable[Override], memo: Memo) -> None:
        self._memo = memo
        self._of_name: dict[str, list[Override]] = {}
        self._of_call: dict[str, list[Override]] = {}
        for one in overrides:
            (self._of_name if one.call_id is None else self._of_call).setdefault(one.name, []).append(one)
        self._made: defaultdict[tuple[str, CallKind], int] = defaultdict(int)

    def __bool__(self) -> bool:
        return bool(self._of_name or self._of_call)

    def call_ids(self) -> Iterable[str]:
        """Ids that are kept for the calls that are overridden one by one."""
        return (one.call_id for kept in self._of_call.values() for one in kept if one.call_id is not None)

    def of(self, kind: CallKind, identity: Identity) -> Override | None:
        """The override that fits the body's next call. Ask once for each call, before the memo is asked."""
        name = identity.name
        kept = self._of_call.get(name)
        if kept:
            self._made[name, kind] += 1
            fits = self._of_one_call(kept, kind, identity)
            if fits is not None:
                kept.remove(fits)  # it stands for one call
                return fits
        return next((one for one in self._of_name.get(name, ()) if one.kind is kind), None)

    def _of_one_call(self, kept: list[Override], kind: CallKind, identity: Identity) -> Override | None:
        kept = [one for one in kept if one.kind is kind]
        for one in kept:
            if (one.input_digest, one.occurrence) == (identity.digest, identity.occurrence):
                return one
        if identity in self._memo:
            return None  # it is another call of the source, made at another place
        made = self._made[identity.name, kind]
        return next((one for one in kept if one.ordinal == made), None)


def changed_arguments(
    inputs: Mapping[str, Encoded], binder: Binder, arguments: Mapping[str, object], values: Values
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, object]]:
    """The arguments of a call with some of them replaced: positional, by keyword, and as they are bound.

    Raises:
        KitaruUsageError: The function has no such parameter any more.
    """
    changed = {**arguments, **{name: values.decode(text) for name, text in inputs.items()}}
    return *binder.unbind(changed), changed


def changed_code(definition: CheckpointDefinition, reference: str) -> CheckpointDefinition:
    """The checkpoint with another function.

    Raises:
        KitaruUsageError: One of the two is async and the other is not.
    """
    fn = function_of(reference)
    if inspect.iscoroutinefunction(fn) is not definition.is_async:
        wanted = "an async" if definition.is_async else "a sync"
        raise KitaruUsageError(
            f"a replay was to run {reference} for the checkpoint {definition.name}, which takes {wanted} function. "
            "Replay with one of that kind."
        )
    return replace(definition, fn=fn, reference=reference)


def function_of(reference: str) -> Callable[..., Any]:
    """The function of a reference; of a checkpoint its bare function.

    Raises:
        KitaruUsageError: There is none.
    """
    try:
        found = resolve(reference)
    except KitaruNotFoundError as error:
        raise KitaruUsageError(f"{reference} cannot be found here; is its module on PYTHONPATH?") from error
    definition = getattr(found, "definition", None)
    fn = definition.fn if isinstance(definition, CheckpointDefinition) else found
    if not inspect.isfunction(fn):
        raise KitaruUsageError(f"{reference} is no function but an object of type {type(fn).__name__}.")
    return fn
