"""Exceptions: as values, exactly (S4.1), and as the failure of a call, as well as can be (S2.5).

An exception is its class, ``args``, attributes and notes. It is restored without running its
``__init__``, whose signature seldom fits ``args``. Where it was raised, its traceback and its
``__context__``, is no part of it. Its ``__cause__`` is, but as the failure of a call only as a note.
"""

from __future__ import annotations

from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from kitaru.values.classes import is_heap_type
from kitaru.values.json_text import Json
from kitaru.values.references import reference
from kitaru.values.walk import Decoder, Encoder, Reader, Refused, Step, TooDeep, Writer

_NOTES = "__notes__"


def encoder_for(cls: type) -> Encoder | None:
    """The encoder of an exception class; None for any other. Raises ``Refused``."""
    if not issubclass(cls, BaseException):
        return None
    named, members, is_group = reference(cls), _members(cls), issubclass(cls, BaseExceptionGroup)

    def encode(error: BaseException, write: Writer) -> Json:
        state = _state(error, members)
        lost: list[str] = []
        arguments = [_part(error, f"args[{n}]", item, write, lost) for n, item in enumerate(error.args)]
        attributes = {name: _part(error, name, item, write, lost) for name, item in state.items() if name != _NOTES}
        if is_group and "args[1]" in lost:
            raise Refused("one of its exceptions cannot be carried. Record them one by one.")
        for name in lost:
            attributes.pop(name, None)
        if isinstance(error, AttributeError) and "obj" in lost:
            lost.remove("obj")  # only a help for Python's own "did you mean"; not worth a note
        notes, cause = state.get(_NOTES), error.__cause__
        if write.lenient:
            notes = _with_notes_about(notes, lost, cause)
        payload = [named, arguments, attributes]
        if notes is not None:
            attributes[_NOTES] = write.part(error, Step.ATTRIBUTE, _NOTES, notes)
        if cause is not None and not write.lenient:
            payload.append(write.part(error, Step.ATTRIBUTE, "__cause__", cause))
        return {"$exception": payload}

    return encode


def _part(error: BaseException, name: str, value: object, write: Writer, lost: list[str]) -> Json:
    """The tree of a part. In a lenient walk one that cannot be carried is its ``repr``, and named in ``lost``."""
    try:
        return write.part(error, Step.ATTRIBUTE, name, value)
    except Refused as refused:
        # What has no end must be left out as a whole: an exception that holds itself would be written 100 times.
        if not write.lenient or (isinstance(refused, TooDeep) and write.is_nested):
            raise
        lost.append(name)
        return write.tree(_repr(value))


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # the user's own __repr__ may raise anything, and a failure is being recorded
        return object.__repr__(value)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # as above
        return object.__repr__(error)


def _with_notes_about(notes: Any, lost: list[str], cause: BaseException | None) -> list[Any] | None:
    kept: list[Any] = [*notes] if type(notes) is list else []
    if cause is not None:
        kept.append(f"Caused by {type(cause).__qualname__}: {_text(cause)}")
    if lost:
        kept.append(f"Not recorded with this exception, since it cannot be carried exactly: {', '.join(lost)}.")
    return kept or None


def _read_exception(payload: Json, read: Reader) -> object:
    cls = read.resolve(payload[0])
    if not (isinstance(cls, type) and issubclass(cls, BaseException)):
        raise TypeError(f"{payload[0]} is no exception any more")
    error = _make(cls, tuple(read.value(payload[1])))
    for name, tree in payload[2].items():
        BaseException.__setattr__(error, name, read.value(tree))  # the class may be frozen
    if len(payload) > 3:
        error.__cause__ = read.value(payload[3])
    return error


def _make(cls: type[BaseException], arguments: tuple[Any, ...]) -> BaseException:
    # The __new__ of the class's built-in base: it wants what Python itself stored, and a user's own may not.
    base: Any = next(base for base in cls.__mro__ if not is_heap_type(base))
    error = base.__new__(cls, *arguments)
    error.args = arguments
    return error


def _members(cls: type[BaseException]) -> tuple[str, ...]:
    """Attributes outside of ``__dict__``: those of built-in exceptions (``errno``, ``value``) and users' slots."""
    return tuple(
        name
        for base in cls.__mro__[: cls.__mro__.index(BaseException)]
        for name, slot in vars(base).items()
        if isinstance(slot, MemberDescriptorType | GetSetDescriptorType) and not name.startswith("__")
    )


def _state(error: BaseException, members: tuple[str, ...]) -> dict[str, Any]:
    """All attributes that ``_make`` does not set by itself. Raises ``Refused`` where it cannot make the exception."""
    try:
        fresh = _make(type(error), error.args)
    except (TypeError, ValueError) as refusal:
        raise Refused(f"it cannot be made again from its args ({refusal}). Record its text.") from refusal
    state: dict[str, Any] = {}
    for name in members:
        value = _attribute(error, name)
        if value is not _attribute(fresh, name) and _can_set(fresh, name, value):
            state[name] = value
    return {**state, **vars(error)}


def _attribute(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name)
    # Not set; or the class has a __getattr__ of its own that does not expect an exception without its __init__,
    # as urllib.error.HTTPError has.
    except Exception:  # noqa: BLE001
        return None


def _can_set(error: BaseException, name: str, value: object) -> bool:
    try:
        BaseException.__setattr__(error, name, value)
    except (AttributeError, TypeError):  # read-only: a group's exceptions, which its args hold
        return False
    return True


DECODERS: dict[str, Decoder] = {"exception": _read_exception}
