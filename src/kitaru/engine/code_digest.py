"""A digest of what a function does: its code, and the project code that it reaches (S3.5).

The digest is taken from bytecode, so comments, docstrings, line numbers, file paths and the hash seed
do not count. (The docstring of a class that stands inside a function does.) What counts, from the
function onwards and through everything that it refers to by name:

* functions and methods: code, defaults, closure; the function below a wrapper; a partial's arguments
* classes: bases, methods, annotations, constants
* constants, and lists, dicts, sets and tuples of them
* attributes of modules, where the code mentions their name

Only the project is followed. A library's function counts by its name, any other object by its class.
What the code itself rebinds (``global``, ``nonlocal``) is state and does not count. A list, dict or set
counts as it was when its function was first seen: code that appends to it is not edited by that.

Not seen: what a function imports in its own body, what it looks up by a computed name, and the defaults
and descriptions of Pydantic fields. An import in the body could be followed only after it has happened,
and the digest would then change with the first call.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, GenericAlias, MethodType, ModuleType, UnionType
from typing import cast
from weakref import WeakKeyDictionary

from kitaru.engine.bytecode import plain, read

_CONSTANTS = frozenset({str, int, float, complex, bool, bytes, type(None), type(Ellipsis)})
_COLLECTIONS = frozenset({list, tuple, dict, set, frozenset})
_STANDARD_LIBRARY = str(Path(os.__file__).parent) + os.sep
_ABSENT = object()


def code_digest(fn: Callable[..., object]) -> str:
    """The digest of ``fn`` and of the project code that it reaches (S3.5): 32 hex digits.

    The same in every process of one Python version. Takes some microseconds per function that it
    reaches, once their bytecode has been seen.
    """
    walk = _Walk()
    walk.start(fn)
    return walk.hexdigest()


# Owner (function or class) -> name -> a collection and its digest when first seen. Owned by this module; an
# entry lives as long as its key. Only collections of constants are kept: another could lead back to its
# owner, and would keep it alive for ever.
_first_seen: WeakKeyDictionary[object, dict[str, tuple[object, bytes]]] = WeakKeyDictionary()


class _Walk:
    """One pass over all that is reachable. Each thing is written once, and then by its number: cycles end."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._numbers: dict[int, int] = {}
        self._numbered: list[object] = []  # keeps them alive, so that no id is used twice
        self._queue: list[FunctionType | type] = []

    def start(self, fn: Callable[..., object]) -> None:
        if isinstance(fn, FunctionType):
            self._follow(fn)  # somebody wants this one digested, even where it is a library's
        else:
            self._value(fn)
        for reached in self._queue:  # grows while it is read
            if isinstance(reached, FunctionType):
                self._function(reached)
            else:
                self._class(reached)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()[:32]

    def _write(self, *parts: str | bytes) -> None:
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            self._hash.update(b"%d:%b" % (len(data), data))

    def _is_new(self, thing: object) -> bool:
        number = self._numbers.setdefault(id(thing), len(self._numbered))
        self._write("#", str(number))
        if number < len(self._numbered):
            return False
        self._numbered.append(thing)
        return True

    def _follow(self, target: FunctionType | type) -> None:
        if self._is_new(target):
            self._queue.append(target)

    def _function(self, fn: FunctionType) -> None:
        code = read(fn.__code__)
        self._write("function", code.digest)
        self._named(fn, "__defaults__", fn.__defaults__)
        self._named(fn, "__kwdefaults__", fn.__kwdefaults__)
        for name, value in _closure(fn):
            if name not in code.rebound:
                self._reference(fn, name, value, code.names)
        scope = fn.__globals__
        for name in code.names:
            if name in scope and name not in code.rebound:
                self._reference(fn, name, scope[name], code.names)
        self._named(fn, "__wrapped__", fn.__dict__.get("__wrapped__"))

    def _reference(self, owner: FunctionType, name: str, value: object, mentioned: Iterable[str]) -> None:
        """A name in a function's code: a value, or a module of which it may mention attributes."""
        if not isinstance(value, ModuleType):
            self._named(owner, name, value)
            return
        modules = [value]
        for module in modules:  # grows while it is read
            if not _is_project(module.__dict__):
                self._write("library", module.__name__)  # two libraries may go by one name: `import x as codec`
                continue
            for attribute in mentioned:
                found = module.__dict__.get(attribute, _ABSENT)
                if isinstance(found, ModuleType):
                    if found not in modules:
                        modules.append(found)
                elif found is not _ABSENT:
                    self._named(owner, f"{name}.{attribute}", found)

    def _class(self, cls: type) -> None:
        self._write("class", cls.__qualname__)
        for ancestor in (*cls.__bases__, type(cls)):
            self._value(ancestor)
        for name, value in vars(cls).copy().items():  # of a copy, here and below: other threads may add to it
            # Other names of this form are written by the interpreter and by metaclasses, some of them late.
            special = name.startswith("_") and name.endswith("_")
            if not special or name in ("__annotations__", "_member_map_") or isinstance(value, FunctionType):
                self._named(cls, name, value)

    def _named(self, owner: FunctionType | type, name: str, value: object) -> None:
        self._write(name)
        if type(value) not in _COLLECTIONS:
            self._value(value)
            return
        seen = _first_seen.get(owner, {}).get(name)
        if seen is not None and seen[0] is value:
            self._write(seen[1])
        elif (content := plain(value)) is not None:
            digest = hashlib.sha256(content).digest()
            _first_seen.setdefault(owner, {})[name] = (value, digest)
            self._write(digest)
        else:
            self._value(value)

    def _value(self, value: object) -> None:
        kind = type(value)
        if kind in _CONSTANTS:
            self._write(kind.__name__, plain(value) or b"")
        elif isinstance(value, FunctionType):
            self._code_of(value, value.__globals__)
        elif isinstance(value, type):
            self._code_of(value, _scope_of(value))
        elif isinstance(value, BuiltinFunctionType | ModuleType):
            self._write("library", value.__name__)
        elif self._is_new(value):
            if kind not in _COLLECTIONS:
                self._value(kind)
            for part in _parts(value):
                self._value(part)
            self._write("end")

    def _code_of(self, value: FunctionType | type, scope: Mapping[str, object]) -> None:
        if _is_project(scope):
            self._follow(value)
            return
        self._write("library", value.__module__, value.__qualname__)
        below = value.__dict__.get("__wrapped__")
        if below is not None and self._is_new(value):
            self._value(below)  # a library's decorator around a function of ours


def _parts(value: object) -> Iterator[object]:  # noqa: C901  # a flat list of cases, each one line
    """What an object is made of, as far as the digest looks into it."""
    match value:
        case list() | tuple():
            yield from cast("list[object]", value)
        case dict():
            for pair in cast("dict[object, object]", value).copy().items():
                yield from pair
        case set() | frozenset():
            # Only constants: other members have no order that holds in the next process.
            yield from sorted(filter(None, map(plain, cast("set[object]", value).copy())))
        case staticmethod() | classmethod():
            yield cast("staticmethod[..., object]", value).__func__
        case property():
            yield from (value.fget, value.fset, value.fdel)
        case functools.cached_property():
            yield cast("functools.cached_property[object]", value).func
        case functools.partial():
            held = cast("functools.partial[object]", value)
            yield from (held.func, held.args, held.keywords)
        case MethodType():
            yield from (value.__func__, type(value.__self__))
        case GenericAlias():
            yield from (value.__origin__, value.__args__)
        case UnionType():
            yield value.__args__
        case Enum():
            yield from (value.name, value.value)
        case _ if type(value).__module__.partition(".")[0] == "kitaru":
            yield getattr(value, "fn", None)  # a checkpoint or a flow
        case _:
            yield _wrapped(value)


def _wrapped(value: object) -> object:
    try:
        return getattr(value, "__dict__", {}).get("__wrapped__")
    except Exception:  # noqa: BLE001  # a proxy's own code, which may fail outside of its context
        return None


def _closure(fn: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            yield name, None


def _scope_of(cls: type) -> Mapping[str, object]:
    module = sys.modules.get(cls.__module__)
    return {"__name__": cls.__module__} if module is None else module.__dict__


def _is_project(scope: Mapping[str, object]) -> bool:
    """True for the user's own modules, scripts and notebooks, told by a module's names."""
    return _is_project_module(str(scope.get("__name__")), cast("str | None", scope.get("__file__")))


@functools.cache
def _is_project_module(name: str, file: str | None) -> bool:
    top = name.partition(".")[0]
    if top == "kitaru":
        return False
    if name == "__main__":
        return True
    if file is None:
        return top not in sys.stdlib_module_names  # a notebook's cells, or code made by exec
    folders = file.replace("\\", "/").split("/")
    return not (file.startswith(_STANDARD_LIBRARY) or "site-packages" in folders or "dist-packages" in folders)
