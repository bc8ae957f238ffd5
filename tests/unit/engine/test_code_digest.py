"""S3.5: what counts as the code of a checkpoint, and what does not."""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from kitaru.engine import code_digest as code_digest_module
from kitaru.engine.code_digest import code_digest


class Project:
    """A folder of modules that can be edited and imported anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, **sources: str) -> ModuleType:
        """Write the modules, forget those of before, and import ``main``."""
        for name, source in sources.items():
            (self.folder / f"{name}.py").write_text(source)
        for path in self.folder.glob("*.py"):
            sys.modules.pop(path.stem, None)
        importlib.invalidate_caches()
        return importlib.import_module("main")

    def digest(self, **sources: str) -> str:
        return code_digest(self.load(**sources).work)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield Project(folder)
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


MAIN = "from middle import clean\ndef work(text):\n    return clean(text)\n"
MIDDLE = "import deep\ndef clean(text):\n    return deep.strip(text) + '!'\n"
DEEP = "def strip(text):\n    return text.strip()\ndef other():\n    return 1\n"


def test_s3_5_an_edited_helper_two_calls_and_two_modules_away_changes_it(project: Project) -> None:
    before = project.digest(main=MAIN, middle=MIDDLE, deep=DEEP)
    assert project.digest() == before
    assert project.digest(deep=DEEP.replace("text.strip()", "text.lstrip()")) != before


def test_s3_5_an_edit_of_what_is_not_reached_does_not_change_it(project: Project) -> None:
    before = project.digest(main=MAIN, middle=MIDDLE, deep=DEEP)
    assert project.digest(deep=DEEP.replace("return 1", "return 2")) == before


def test_s3_5_comments_docstrings_and_lines_do_not_change_it(project: Project) -> None:
    plain = "def work(n):\n    total = None\n    return total, helper(n)\ndef helper(n):\n    return n, 1.5\n"
    documented = (
        "# A comment.\n\n\ndef work(n):\n    '''What it does.'''\n\n    total = None  # why\n"
        "    return total, helper(n)\n\ndef helper(n):\n    '''More.'''\n    return n, 1.5\n"
    )
    assert project.digest(main=plain) == project.digest(main=documented)


def test_s3_5_a_class_inside_the_function_counts_wherever_it_stands(project: Project) -> None:
    source = "def work():\n    class Inner:\n        size = {size}\n    return Inner.size\n"
    before = project.digest(main=source.format(size=1))
    assert project.digest(main="\n\n" + source.format(size=1)) == before
    assert project.digest(main=source.format(size=2)) != before


def test_s3_5_the_path_of_the_file_does_not_change_it(project: Project, tmp_path: Path) -> None:
    here = project.digest(main=MAIN, middle=MIDDLE, deep=DEEP)
    scope: dict[str, object] = {"__name__": "elsewhere", "__file__": str(tmp_path / "other" / "elsewhere.py")}
    exec(compile(MAIN, "elsewhere.py", "exec"), scope)
    assert code_digest(scope["work"]) == here  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("PROMPT = 'Summarise.'", "PROMPT = 'Summarise briefly.'"),
        ("PROMPT = 1", "PROMPT = True"),
        ("PROMPT = 1", "PROMPT = 1.0"),
        ("PROMPT = (1, 2)", "PROMPT = [1, 2]"),
        ("PROMPT = {'a': [1]}", "PROMPT = {'a': [2]}"),
        ("PROMPT = {'a', 'b'}", "PROMPT = {'a', 'c'}"),
        ("PROMPT = b'x'", "PROMPT = b'y'"),
        ("PROMPT = list[int]", "PROMPT = list[str]"),
        ("def f(): return 1\nPROMPT = [f]", "def f(): return 2\nPROMPT = [f]"),
        ("def f(): return 1\nPROMPT = {'tool': f}", "def f(): return 2\nPROMPT = {'tool': f}"),
        (
            "from enum import Enum\nclass E(Enum):\n  A = 1\nPROMPT = E.A",
            "from enum import Enum\nclass E(Enum):\n  A = 2\nPROMPT = E.A",
        ),
    ],
)
def test_s3_5_a_changed_module_constant_changes_it(project: Project, before: str, after: str) -> None:
    use = "\ndef work(text):\n    return PROMPT, text\n"
    assert project.digest(main=before + use) != project.digest(main=after + use)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def work(n): return n + 1", "def work(n): return n - 1"),
        ("def work(n): return n + 1", "def work(n): return n + 2"),
        ("def work(n): return n.a", "def work(n): return n.b"),
        ("def work(n=1): return n", "def work(n=2): return n"),
        ("def work(*, n=1): return n", "def work(*, n=2): return n"),
        ("def work(n): return [i + 1 for i in n]", "def work(n): return [i + 2 for i in n]"),
        ("def work(n): return n in {1, 2}", "def work(n): return n in {1, 3}"),
        ("def work(n): return n", "async def work(n): return n"),
        ("def work(n): return n", "def work(n): yield n"),
        ("work = lambda n: 'a'", "work = lambda n: 'b'"),
        (
            "def work(n):\n  try:\n    a()\n  except ValueError:\n    b()\n  c()",
            "def work(n):\n  try:\n    a()\n    c()\n  except ValueError:\n    b()",
        ),
    ],
)
def test_s3_5_an_edited_body_changes_it(project: Project, before: str, after: str) -> None:
    assert project.digest(main=before) != project.digest(main=after)


CLASSES = """
from functools import cached_property
class Base:
    limit = {limit}
    def run(self): return {base}
class Agent(Base):
    def ask(self): return self.run() + {ask}
    @staticmethod
    def static(): return {static}
    @classmethod
    def made(cls): return {made}
    @property
    def size(self): return {size}
    @cached_property
    def cached(self): return {cached}
"""
DEFAULTS = dict.fromkeys(["limit", "base", "ask", "static", "made", "size", "cached"], 1)


@pytest.mark.parametrize("part", list(DEFAULTS))
@pytest.mark.parametrize("use", ["def work(): return Agent()", "agent = Agent()\ndef work(): return agent.ask()"])
def test_s3_5_a_class_counts_with_methods_and_bases(project: Project, part: str, use: str) -> None:
    before = project.digest(main=CLASSES.format(**DEFAULTS) + use)
    assert project.digest(main=CLASSES.format(**DEFAULTS) + use) == before
    assert project.digest(main=CLASSES.format(**{**DEFAULTS, part: 2}) + use) != before


@pytest.mark.parametrize(
    "use",
    [
        "import functools\nwork = functools.partial(helper, 1)",
        "import functools\nheld = functools.partial(helper)\ndef work(): return held(1)",
        "import functools\n@functools.lru_cache\ndef work(n): return helper(n)",
        "import functools\nheld = functools.lru_cache(helper)\ndef work(n): return held(n)",
        "import contextlib\n@contextlib.contextmanager\ndef work(n): yield helper(n)",
        "import contextlib\nheld = contextlib.contextmanager(helper)\ndef work(n): return held(n)",
        "class A:\n  def m(self): return helper(1)\nheld = A().m\ndef work(): return held()",
        "def work(n):\n  def inner(): return [helper(i) for i in n]\n  return inner()",
        "def work(n): return helper(n) if n else work(n - 1)",
        "def work(n): return second(n)\ndef second(n): return helper(n) or work(n)",
        "class A: pass\nA.__module__ = 'kitaru.sdk'\nheld = A()\nheld.fn = helper\ndef work(): return held(1)",
        "LOOP = [helper]\nLOOP.append(LOOP)\ndef work(): return LOOP",
    ],
)
def test_s3_5_a_helper_is_found_behind(project: Project, use: str) -> None:
    source = "def helper(n): return n * {}\n" + use
    before = project.digest(main=source.format(2))
    assert project.digest(main=source.format(2)) == before
    assert project.digest(main=source.format(3)) != before


def test_s3_5_a_wrapper_counts_and_so_does_what_it_wraps(project: Project) -> None:
    source = """
import functools
def logged(fn):
    @functools.wraps(fn)
    def inner(*args): return fn(*args) + {outer}
    return inner
@logged
def work(n): return n + {inner}
"""
    digests = {project.digest(main=source.format(outer=a, inner=b)) for a, b in [(1, 1), (1, 2), (2, 1)]}
    assert len(digests) == 3


def test_s3_5_closure_values_count() -> None:
    def made(factor: object) -> Callable[[], object]:
        return lambda: factor

    assert code_digest(made(2)) == code_digest(made(2))
    assert code_digest(made(2)) != code_digest(made(3))


def test_s3_5_a_redefined_helper_of_a_notebook_is_seen_at_once() -> None:
    scope: dict[str, object] = {"__name__": "__main__"}
    exec("def helper(): return 1\ndef work(): return helper()", scope)
    work = scope["work"]
    before = code_digest(work)  # type: ignore[arg-type]
    exec("def helper(): return 2", scope)
    assert code_digest(work) != before  # type: ignore[arg-type]


def test_s3_5_what_the_code_appends_or_counts_is_state_and_does_not_change_it(project: Project) -> None:
    main = project.load(
        main="""
CALLS = []
SEEN = {}
count = 0
def work(n, memory=[]):
    global count
    count += 1
    CALLS.append(n)
    memory.append(n)
    SEEN[n] = True
    return count
"""
    )
    before = code_digest(main.work)
    main.work(1)
    assert code_digest(main.work) == before

    calls, total = [], 0

    def inner() -> None:
        nonlocal total
        total += 1
        calls.append(total)

    before = code_digest(inner)
    inner()
    assert code_digest(inner) == before


def test_s3_5_a_list_that_is_replaced_by_another_is_seen(project: Project) -> None:
    main = project.load(main="MODELS = ['small']\ndef work(): return MODELS\n")
    before = code_digest(main.work)
    main.MODELS = ["large"]
    assert code_digest(main.work) != before


def test_s3_5_library_code_counts_by_its_name_alone(project: Project) -> None:
    textwrap = "import {name}\nfrom {name} import {attribute}\ndef work(x): return {name}, {attribute}(x)\n"
    before = project.digest(main=textwrap.format(name="json", attribute="dumps"))
    assert project.digest(main=textwrap.format(name="json", attribute="loads")) != before
    swapped = "import {name} as codec\ndef work(x): return codec.loads(x)\n"
    assert project.digest(main=swapped.format(name="json")) != project.digest(main=swapped.format(name="marshal"))


def test_s3_5_another_process_with_another_hash_seed_agrees(project: Project) -> None:
    source = """
import functools
WORDS = {"alpha", "beta", "gamma", "delta"}
MIXED = {"alpha", "beta", len, int}
KINDS = frozenset({"x", "y", "z", ("a", "b")})
class Agent:
    tools = {"search", "fetch"}
    def ask(self, text: str) -> bool: return text in {"one", "two", "three"}
agent = Agent()
def helper(x): return x in WORDS and x in KINDS and x in MIXED
def work(x): return agent.ask(x) and functools.reduce(helper, x) and x in {"p", "q", "r", "s"}
"""
    expected = project.digest(main=source)
    script = "import main; from kitaru.engine.code_digest import code_digest; print(code_digest(main.work))"
    for seed in ("1", "2", "77"):
        answer = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project.folder), *sys.path]), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.strip() == expected


def test_a_proxy_that_fails_outside_of_its_context_is_no_obstacle(project: Project) -> None:
    proxy = "class Proxy:\n  @property\n  def __dict__(self): raise RuntimeError('no request')\nrequest = Proxy()\n"
    assert project.digest(main=proxy + "def work(): return request.user\n")


def test_a_function_that_was_digested_can_be_freed() -> None:
    def made() -> Callable[[], object]:
        names = ["a", "b"]
        return lambda: names

    fn = made()
    code_digest(fn)
    ghost = weakref.ref(fn)
    del fn
    gc.collect()
    assert ghost() is None


def test_a_builtin_and_a_library_function_can_be_digested() -> None:
    assert code_digest(len) != code_digest(print)
    assert code_digest(json.dumps) != code_digest(json.loads)
    assert code_digest(functools.partial(json.dumps, indent=1)) != code_digest(functools.partial(json.dumps, indent=2))


def test_what_is_first_seen_is_kept_for_collections_of_constants_only(project: Project) -> None:
    main = project.load(main="def tool(): return 1\nTOOLS = [tool]\nNAMES = ['a']\ndef work(): return TOOLS, NAMES\n")
    code_digest(main.work)
    assert set(code_digest_module._first_seen[main.work]) == {"NAMES"}
