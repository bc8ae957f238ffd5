"""Reads what a caller wants changed in a replay, and refuses what makes no sense (S6.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

from kitaru.core.ports import Values
from kitaru.core.references import portable_module
from kitaru.core.replay import Override
from kitaru.core.rows import RecordedCall
from kitaru.core.states import CallKind
from kitaru.engine.overrides import function_of
from kitaru.errors import KitaruUsageError
from kitaru.services.plan import known_calls

_KEYS = ("output", "input", "code")
_WAIT = "wait."
_ALLOWED: Mapping[CallKind, tuple[str, ...]] = {
    CallKind.CHECKPOINT: _KEYS,
    CallKind.FLOW: ("output", "input"),
    CallKind.VALUE: ("output",),
    CallKind.WAIT: ("output",),
}


def read_overrides(
    given: Mapping[str, Mapping[str, Any]], calls: Sequence[RecordedCall], values: Values
) -> tuple[Override, ...]:
    """The overrides as they are kept with an execution, with encoded values.

    Args:
        given: By name or call_id, as ``executions.replay`` takes them.
        calls: The source's calls, in order.
        values: Encodes what is given.

    Raises:
        KitaruUsageError: A key that is no name or id of a call, or a change that its call cannot have.
        KitaruSerializationError: A value cannot be recorded.
    """
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise KitaruUsageError(f"overrides={given!r}: a mapping from calls to what is changed in them is expected.")
    return tuple(_read(str(key), change, calls, values) for key, change in given.items())


def _read(key: str, change: object, calls: Sequence[RecordedCall], values: Values) -> Override:
    where = f"overrides[{key!r}]"
    target, fitting = _target(key, calls)
    checked = _check(where, change, fitting[0])
    output = inputs = None
    if "output" in checked:
        output = values.encode(checked["output"], f"{where}['output']")
    if "input" in checked:
        inputs = _inputs(where, checked["input"], fitting[0], values)
    code = _code(where, checked["code"]) if "code" in checked else None
    return Override(**target, output=output, inputs=inputs, code=code)


def _target(key: str, calls: Sequence[RecordedCall]) -> tuple[dict[str, Any], list[RecordedCall]]:
    """Which calls a key means, as fields of an ``Override``, and those of the source.

    The first call of a name has the name as its id. Here it means all its calls; ``name_1`` the first.
    A name that a wait shares with another call means the other; with the prefix it means the wait.
    """
    waits_only = key.startswith(_WAIT)
    word = key.removeprefix(_WAIT)
    among = [call for call in calls if call.kind is CallKind.WAIT or not waits_only]
    named = sorted((call for call in among if call.name == word), key=lambda call: call.kind is CallKind.WAIT)
    if named:
        kind = named[0].kind
        return {"name": word, "kind": kind}, [call for call in named if call.kind is kind]
    for call in among:
        if word == call.call_id or (call.call_id == call.name and word == f"{call.name}_1"):
            same = [other for other in calls if other.name == call.name and other.kind is call.kind]
            target = {
                "name": call.name,
                "kind": call.kind,
                "call_id": call.call_id,
                "input_digest": call.input_digest,
                "occurrence": call.occurrence,
                "ordinal": same.index(call) + 1,
            }
            return target, [call]
    what = "wait" if waits_only else "call"
    raise KitaruUsageError(f"overrides[{key!r}]: the execution has no such {what}; {known_calls(among, word)}")


def _check(where: str, change: object, call: RecordedCall) -> Mapping[str, Any]:
    """The change, where it has a shape that its call can have."""
    if not isinstance(change, Mapping) or not change:
        raise KitaruUsageError(
            f"{where}={change!r}: a mapping is expected, such as "
            '{"output": value}, {"input": {"parameter": value}} or {"code": "module:function"}.'
        )
    checked = cast("Mapping[str, Any]", change)
    for key in checked:
        if key not in _KEYS:
            near = get_close_matches(str(key), _KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(_KEYS)}."
            raise KitaruUsageError(f"{where} has the unknown key {key!r}; {hint}")
        if key not in _ALLOWED[call.kind]:
            raise KitaruUsageError(
                f"{where}: {call.call_id} is a {call.kind}, and {key!r} cannot be changed in one. "
                f"Possible is {' or '.join(_ALLOWED[call.kind])}."
            )
    if "output" in checked and len(checked) > 1:
        raise KitaruUsageError(
            f"{where} has 'output' beside {', '.join(repr(key) for key in checked if key != 'output')}: a call "
            "whose output is given does not run. Leave one of them out."
        )
    return checked


def _inputs(where: str, given: object, call: RecordedCall, values: Values) -> dict[str, str]:
    recorded = values.split_inputs(call.inputs)
    if not isinstance(given, Mapping) or not given:
        raise KitaruUsageError(
            f"{where}['input']={given!r}: a mapping from parameters to values is expected. "
            f"{call.name} takes {', '.join(recorded) or 'none'}."
        )
    changed = cast("Mapping[str, object]", given)
    for name in changed:
        if name not in recorded:
            near = get_close_matches(str(name), recorded, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(recorded) or 'none'}."
            raise KitaruUsageError(f"{where}['input']: {call.name} has no parameter {name!r}; {hint}")
    return {name: values.encode(value, f"{where}['input'][{name!r}]") for name, value in changed.items()}


def _code(where: str, given: object) -> str:
    """The reference as it holds in another process, which may have to go on with the replay."""
    if not isinstance(given, str) or not all(given.rpartition(":")):
        raise KitaruUsageError(f"{where}['code']={given!r}: \"module:function\" is expected.")
    module, _, qualname = given.rpartition(":")
    reference = f"{portable_module(module)}:{qualname}"
    try:
        function_of(reference)
    except KitaruUsageError as error:
        raise KitaruUsageError(f"{where}['code']: {error}") from error
    return reference
