"""The kinds of stacks that are installed: entry points of the group ``kitaru.stacks``, ours among them."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

from kitaru.core.ports import StackKind
from kitaru.core.stack import Stack
from kitaru.errors import KitaruUsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "kitaru.stacks"


@cache
def kind_named(kind: str) -> StackKind:
    """The kind of this name.

    Raises:
        KitaruUsageError: No installed package brings it; the nearest name is given.
    """
    found = _installed().get(kind)
    if found is None:
        names = sorted(_installed())
        near = get_close_matches(kind, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the kinds are {', '.join(names)}."
        raise KitaruUsageError(f"there is no kind of stack {kind!r}; {hint}")
    return found.load()()


def check_stack(stack: Stack) -> None:
    """Raise ``KitaruUsageError`` where the kind is unknown or cannot have these options."""
    kind_named(stack.kind).check(stack)


def check_options(stack: Stack, known: dict[str, type]) -> None:
    """Refuse options that a kind does not have, or of another type: for the ``check`` of a kind."""
    for name, value in stack.options.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"its options are: {', '.join(known) or 'none'}."
            raise KitaruUsageError(f"stack {stack.name}: kind {stack.kind!r} has no option {name!r}; {hint}")
        wanted = known[name]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise KitaruUsageError(f"stack {stack.name}: {name}={value!r}: {wanted.__name__} is expected.")
    if stack.artifact_store is not None:
        raise KitaruUsageError(
            f"stack {stack.name}: kind {stack.kind!r} keeps values where the process does that starts the flow, so it "
            "takes no artifact_store. Set `artifacts` in [tool.kitaru], or KITARU_ARTIFACTS."
        )


@cache
def _installed() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # noqa: PLC0415  # 40 ms, and a run on `local` does without it

    return {one.name: one for one in entry_points(group=GROUP)}
