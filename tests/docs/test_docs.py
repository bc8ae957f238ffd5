"""The pages tell the truth: what they show runs, and prints what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import blocks_of, differences, matches, run, without_reason

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BY_NAME = [pytest.param(page, id=page.name) for page in PAGES]


@pytest.mark.parametrize("page", BY_NAME)
def test_the_python_of_a_page_runs_and_prints_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    blocks = blocks_of(page.read_text())
    assert not without_reason(blocks), "say why: ```python no-run: <reason>"
    if any(block.runs for block in blocks):
        assert not differences(blocks, run(blocks, tmp_path))


@pytest.mark.parametrize("page", BY_NAME)
def test_the_make_targets_that_a_page_names_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shells = [block.text for block in blocks_of(page.read_text()) if block.language in ("bash", "sh", "console")]
    named = {name for text in shells for name in re.findall(r"\bmake ([a-z-]+)", text)}
    assert named <= targets


PAGE = """
Text.

```python
name = "you"
print(f"hello {name}")
```

```text
hello ...
```

- indented:

  ```python
  print(name.upper())
  ```

```python no-run: shows an error
raise ValueError
```
"""


def test_a_page_is_one_script_and_each_block_has_its_own_output(tmp_path: Path) -> None:
    blocks = blocks_of(PAGE)
    assert [(block.language, block.line, block.runs) for block in blocks] == [
        ("python", 4, True),
        ("text", 9, False),
        ("python", 15, True),
        ("python", 19, False),
    ]
    printed = run(blocks, tmp_path)
    assert printed == {4: "hello you\n", 15: "YOU\n"}
    assert differences(blocks, printed) == []


def test_a_page_that_shows_another_output_is_found(tmp_path: Path) -> None:
    blocks = blocks_of(PAGE.replace("hello ...", "goodbye ..."))
    assert len(differences(blocks, run(blocks, tmp_path))) == 1


def test_a_traceback_names_the_line_of_the_page(tmp_path: Path) -> None:
    blocks = blocks_of(PAGE.replace("print(name.upper())", "print(nobody)"))
    with pytest.raises(AssertionError, match=r"line 16[\s\S]*NameError"):
        run(blocks, tmp_path)


def test_a_block_that_is_not_run_needs_a_reason() -> None:
    assert without_reason(blocks_of(PAGE)) == []
    assert len(without_reason(blocks_of(PAGE.replace("no-run: shows an error", "no-run")))) == 1


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        ("a", "a\n", True),
        ("a ... c", "a b c", True),
        ("a ...", "a b\nc", False),
        ("...", "a\nb", False),
        ("a.c", "abc", False),
        ("a", "a\na", False),
    ],
)
def test_three_dots_stand_for_anything_within_a_line(shown: str, printed: str, equal: bool) -> None:
    assert matches(shown, printed) == equal
