"""What the bytecode of a function does, apart from where it stands and what is written about it."""

from __future__ import annotations

import hashlib
import marshal
import opcode
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

# Generator, coroutine, varargs and the like. Later flags tell of docstrings and future imports.
_BEHAVIOUR_FLAGS = 0x3FF
_REBINDS_GLOBAL = frozenset({opcode.opmap["STORE_GLOBAL"], opcode.opmap["DELETE_GLOBAL"]})
_REBINDS_CELL = frozenset({opcode.opmap["STORE_DEREF"], opcode.opmap["DELETE_DEREF"]})
_STORE_NAME = opcode.opmap["STORE_NAME"]
_LOADS_CONSTANT = frozenset(opcode.hasconst)


class Bytecode(NamedTuple):
    """What never changes about a code object.

    ``names`` are the globals and attributes that it mentions, with those of the code inside it.
    ``rebound`` are the names outside of itself that it assigns (``global``, ``nonlocal``).
    """

    digest: bytes
    names: tuple[str, ...]
    rebound: frozenset[str]


# Owned by this module; an entry lives as long as its key. Two threads may make the same entry twice.
_known: WeakKeyDictionary[CodeType, Bytecode] = WeakKeyDictionary()


def plain(value: object) -> bytes | None:
    """The content of a constant, or of a collection of constants; None for what holds anything else."""
    try:
        return marshal.dumps(cast(Any, value), 2)  # version 2 writes equal content alike; later ones tell shared parts
    except ValueError:
        return None


def read(code: CodeType) -> Bytecode:
    """The digest of a code object and of those inside it, and the names that it uses. Kept once computed."""
    known = _known.get(code)
    if known is None:
        known = _known[code] = _digested(code)
    return known


def _digested(code: CodeType) -> Bytecode:
    """Digest one code object with those inside it.

    Constants count where they are used, not by their index, which a docstring would shift. A docstring
    is used by no instruction.
    """
    free = code.co_freevars
    first_free = len({*code.co_varnames, *code.co_cellvars})
    content: list[object] = [code.co_flags & _BEHAVIOUR_FLAGS, code.co_argcount, code.co_posonlyargcount]
    content += [code.co_kwonlyargcount, code.co_names, code.co_varnames, code.co_cellvars, free]
    content.append(code.co_exceptiontable)
    names = dict.fromkeys(code.co_names)
    rebound: set[str] = set()
    for operation, argument in _instructions(code.co_code):
        if operation in _LOADS_CONSTANT:
            constant = code.co_consts[argument]
            if isinstance(constant, CodeType):
                inner = read(constant)
                names.update(dict.fromkeys(inner.names))
                rebound |= inner.rebound
                constant = inner.digest
            content.append((operation, plain(constant) or repr(constant)))
        elif operation == _STORE_NAME and code.co_names[argument] == "__firstlineno__":
            content.pop()  # a class body stores its line number
        else:
            content.append((operation, argument))
            if operation in _REBINDS_GLOBAL:
                rebound.add(code.co_names[argument])
            elif operation in _REBINDS_CELL and argument >= first_free:
                rebound.add(free[argument - first_free])
    return Bytecode(hashlib.sha256(marshal.dumps(content, 2)).digest(), tuple(names), frozenset(rebound))


def _instructions(bytecode: bytes) -> Iterator[tuple[int, int]]:
    """Operations with their whole arguments, without the interpreter's inline caches."""
    high = 0
    for operation, low in zip(bytecode[::2], bytecode[1::2], strict=True):
        argument = high | low
        if operation == opcode.EXTENDED_ARG:
            high = argument << 8
            continue
        high = 0
        if operation:
            yield operation, argument
