"""Every statement of the store, found where they stand: the constants of its modules."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

from kitaru import store
from kitaru.store import retention
from kitaru.store.execution_rows import get_tags

_SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


def _modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(store.__path__, "kitaru.store.")
    return [importlib.import_module(module.name) for module in found]


def _source(module: ModuleType) -> str:
    assert module.__file__ is not None
    return Path(module.__file__).read_text(encoding="utf-8")


def _statements() -> tuple[dict[str, str], dict[str, str]]:
    texts: dict[str, str] = {}
    sources: dict[str, str] = {}
    for module in _modules():
        source = _source(module)
        for constant in re.findall(r"^([A-Z][A-Z_]*) = ", source, re.MULTILINE):
            value = getattr(module, constant)
            several = value if isinstance(value, tuple) else (value,)
            for index, text in enumerate(several):
                if isinstance(text, str) and _SQL.match(text):
                    name = f"{module.__name__.removeprefix('kitaru.store.')}.{constant}"
                    name += f"[{index}]" if isinstance(value, tuple) else ""
                    texts[name], sources[name] = text, source
    return texts, sources


STATEMENTS, SOURCES = _statements()
"""The texts, and the sources of their modules, by names such as ``calls.MEMO``."""

STATEMENTS["executions.tags"] = get_tags(3)
STATEMENTS["retention.old"] = retention.old(2, of_flow=False)
STATEMENTS["retention.old of a flow"] = retention.old(1, of_flow=True)
STATEMENTS["retention.texts"] = retention.texts(2)
STATEMENTS["retention.owners"] = retention.owners(2)
