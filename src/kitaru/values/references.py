"""References to classes and functions that are known to lead back to them."""

from __future__ import annotations

from typing import Any

from kitaru.core.references import is_local, reference_of, resolve
from kitaru.errors import KitaruNotFoundError
from kitaru.values.walk import Refused

# Owner: this module. Filled once per class or function and never changed: a class keeps its name.
_checked: dict[object, str] = {}


def reference(named: Any) -> str:
    """The reference of a class or function. Raises ``Refused`` where it does not lead back to it."""
    known = _checked.get(named)
    if known is not None:
        return known
    kind = "class" if isinstance(named, type) else "function"
    module, qualname = getattr(named, "__module__", None), getattr(named, "__qualname__", "<unnamed>")
    if module is None or is_local(qualname):
        raise Refused(
            f"the {kind} {qualname} is not defined at the top of a module, so no other process can find it. "
            "Move it there."
        )
    found = reference_of(module, qualname)
    try:
        if resolve(found) is not named:
            raise Refused(f"{found} names something else than this {kind} by now. Give each its own name.")
    except KitaruNotFoundError as error:
        raise Refused(f"the {kind} {found} cannot be found by its name. Define it at the top of a module.") from error
    _checked[named] = found
    return found
