"""The reference and the pages name what is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from kitaru.cli.groups import COMMANDS, Entry, load
from kitaru.cli.reference import with_reference
from tests.docs.pages import blocks_of

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def leaves(entries: Mapping[str, Entry], path: str = "") -> Iterator[tuple[str, Entry]]:
    for name, entry in entries.items():
        if entry.commands is not None:
            yield from leaves(entry.commands, f"{path}{name} ")
        else:
            yield f"{path}{name}", entry


LEAVES = list(leaves(COMMANDS))


def test_the_reference_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    assert page == with_reference(page), "make it anew: python -m kitaru.cli.reference docs/cli.md"


@pytest.mark.parametrize(("path", "entry"), LEAVES, ids=[path for path, _ in LEAVES])
def test_a_command_has_the_name_and_the_summary_of_its_entry(path: str, entry: Entry) -> None:
    command = load(path.rpartition(" ")[2], entry)
    assert command.name == path.rpartition(" ")[2]
    assert (command.help or "").replace("\n", " ").startswith(entry.summary.removesuffix("."))


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_the_commands_that_a_page_shows_exist_with_their_options(page: Path) -> None:
    for block in blocks_of(page.read_text()):
        if block.language in ("bash", "sh"):
            for line in re.findall(r"^kitaru .*", block.text, re.MULTILINE):
                words = shlex.split(line.split(" | ")[0], comments=True)[1:]
                check(words, line)


def check(words: list[str], line: str) -> None:
    entries: Mapping[str, Entry] | None = COMMANDS
    command: click.Command | None = None
    while entries is not None:
        name = words.pop(0)
        assert name in entries, line
        command, entries = load(name, entries[name]), entries[name].commands
    assert command is not None
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
    given = {word.partition("=")[0] for word in words if word.startswith("-") and len(word) > 1}
    assert given <= known, line
