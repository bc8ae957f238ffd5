"""Names for functions and classes that hold in another process: ``package.module:Qualified.name``.

What lives in the script that was started is named by the script's path (``/work/agent.py:my_agent``),
because ``__main__`` is another module in every process.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
from contextvars import ContextVar
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

from kitaru.errors import KitaruNotFoundError, KitaruUsageError

_MAIN = "__main__"
_SPAWNED = "__mp_main__"  # what a child of multiprocessing calls the script that started it
_importing: ContextVar[str | None] = ContextVar("kitaru_importing", default=None)


def reference_of(module: str, qualname: str) -> str:
    """The reference of a function or class, from its ``__module__`` and ``__qualname__``."""
    return f"{portable_module(module)}:{qualname}"


def portable_module(module: str) -> str:
    """A module's name, or the path of its file where the name means something else elsewhere."""
    if module not in (_MAIN, _SPAWNED):
        loaded = sys.modules.get(module)
        alias = getattr(loaded, "__kitaru_script__", None)
        return alias if isinstance(alias, str) else module
    main = sys.modules[module]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name not in (_MAIN, _SPAWNED):
        return spec.name  # started with `python -m package.module`
    file = getattr(main, "__file__", None)
    return _script(file) if file and file != "<stdin>" else _MAIN


@functools.cache  # it looks at each folder of the path, and every value of a class of the script asks
def _script(file: str) -> str:
    return str(Path(file).resolve())


def is_path(module: str) -> bool:
    """True for the module part of a reference that is a script's path."""
    return "/" in module or "\\" in module


def is_local(qualname: str) -> bool:
    """True for what is defined inside a function: no other process can find it by name."""
    return "<" in qualname


UNFINDABLE = (
    "No other process can find it: it is defined inside a function, or in a session without a file. "
    "Define it at the top of a module or script."
)
"""Why ``can_be_found`` is False, and what to do."""


def can_be_found(reference: str) -> bool:
    """True where another process of this machine can find it, as far as the reference tells."""
    module, _, qualname = reference.rpartition(":")
    return not is_local(qualname) and module != _MAIN


def importing() -> bool:
    """True while a module is imported to find something in it: for an execution that this process goes on with."""
    return _importing.get() is not None


def check_not_importing(what: str) -> None:
    """Refuse to start a flow in a module that is being imported to find something in it.

    A script that starts its flow at its top would start it once more in every process that resumes it.
    """
    reference = _importing.get()
    if reference is not None:
        raise KitaruUsageError(
            f"{what} is called while {reference} is imported to run it here, and would start once more each time. "
            'Put it under `if __name__ == "__main__":`.'
        )


def resolve(reference: str) -> object:
    """The object that a reference names, importing its module or script where needed.

    Raises:
        KitaruNotFoundError: The module cannot be found, or has no such name. An exception that the
            module itself raises while it is imported is not caught.
    """
    module_name, _, qualname = reference.rpartition(":")
    token = _importing.set(reference)
    try:
        found: object = _load(module_name, reference)
    finally:
        _importing.reset(token)
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise KitaruNotFoundError(
                f"{module_name} has no {qualname!r} any more; it was recorded as {reference}. "
                "Restore the name, or start a new execution."
            ) from None
    return found


def _load(module: str, reference: str) -> ModuleType:
    if module == portable_module(_MAIN):
        return sys.modules[_MAIN]
    if module == _MAIN:
        raise KitaruNotFoundError(
            f"{reference} was defined in a session without a file (a notebook, a prompt, `python -c`, standard input), "
            "so only that process can go on with it. Put it into a file, and start a new execution."
        )
    if is_path(module):
        return _load_script(module, reference)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise KitaruNotFoundError(
            f"module {module!r} of {reference} cannot be imported here. "
            "Start the process where the module can be found (its folder on PYTHONPATH)."
        ) from error


def _load_script(script: str, reference: str) -> ModuleType:
    """Load a script under a name of its own, so that its ``if __name__ == "__main__"`` stays asleep."""
    path = Path(script)
    name = f"_kitaru_script_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.exists():
        raise KitaruNotFoundError(f"the script {path} of {reference} is no longer there. Restore it and try again.")
    loader = SourceFileLoader(name, str(path))  # given, because the suffix of a script need not be .py
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__kitaru_script__"] = script
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as Python does for a script that it starts
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
