"""The settings that are in force, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kitaru.core.table import table


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting.

    Attributes:
        name: Its name; a field of the image as ``image.FIELD``, a variable of it as ``image.environment.NAME``.
        value: The value in force, secrets masked. None where nothing gives it.
        source: The layer that gives it: ``kitaru.configure()``, a variable, a file, ``active stack``, ``default``.
    """

    name: str
    value: object
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """Every setting in force in this process (``kitaru.info()``). It prints as a table.

    Attributes:
        version: Of the installed Kitaru.
        settings: The settings, each with its source.
    """

    version: str
    settings: tuple[Setting, ...]

    def __getitem__(self, name: str) -> Setting:
        """The setting of this name; ``KeyError`` where there is none."""
        for setting in self.settings:
            if setting.name == name:
                return setting
        raise KeyError(name)

    def __iter__(self) -> Iterator[Setting]:
        return iter(self.settings)

    def __str__(self) -> str:
        rows = [("setting", "value", "from"), ("version", self.version, "installed")]
        rows += [(one.name, "" if one.value is None else str(one.value), one.source) for one in self.settings]
        return table(rows)
