"""Measures one Python source file by its syntax tree. Plain functions: nothing here knows of Kitaru."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

LONG_FUNCTION = 60
"""Lines from which on a function counts as long."""
COMPLEX_FUNCTION = 12
"""Ways through a function from which on it counts as complex."""

_TODO = re.compile(rb"#.*?\b(TODO|FIXME|XXX)\b[: ]*([^\n]{0,60})")
_RISKY_CALLS = {
    "eval": "runs code from a string",
    "exec": "runs code from a string",
    "os.system": "runs a shell command",
    "os.popen": "runs a shell command",
    "pickle.load": "runs code when it loads foreign data",
    "pickle.loads": "runs code when it loads foreign data",
}
_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.IfExp, ast.ExceptHandler, ast.match_case, ast.comprehension)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Finding:
    """Something to look at. ``weight`` is 10 for what may be exploited, down to 1 for what is untidy."""

    kind: str
    line: int
    message: str
    weight: int


@dataclass(frozen=True)
class FileMetrics:
    """What was measured of one file. ``complexity`` is that of its most complex function."""

    path: str
    lines: int
    functions: int
    complexity: int
    findings: tuple[Finding, ...]

    @property
    def score(self) -> int:
        """The weight of all findings together."""
        return sum(finding.weight for finding in self.findings)


def measure_source(path: str, source: bytes) -> FileMetrics:
    """Measure one file. Source that does not parse is a finding, not an error."""
    lines = len(source.splitlines())
    try:
        tree = ast.parse(source)  # bytes, so that Python finds out about the encoding as it always does
        functions = [node for node in ast.walk(tree) if isinstance(node, _Function)]
        ways = [_complexity(function) for function in functions]
        findings = [*_tree_findings(tree), *_todos(source)]
        findings += [found for function, count in zip(functions, ways, strict=True) for found in _size(function, count)]
    except SyntaxError as error:
        return unmeasured(path, f"does not parse: {error.msg}", line=error.lineno or 1, lines=lines)
    except (ValueError, RecursionError, MemoryError) as error:
        # A null byte; an expression that is nested too deeply for the parser.
        return unmeasured(path, f"does not parse: {error or type(error).__name__}", lines=lines)
    return FileMetrics(
        path=path,
        lines=lines,
        functions=len(functions),
        complexity=max(ways, default=0),
        findings=tuple(sorted(findings, key=lambda found: (found.line, found.kind))),
    )


def unmeasured(path: str, reason: str, *, line: int = 1, lines: int = 0) -> FileMetrics:
    """The metrics of a file that could not be measured: the reason is its only finding."""
    return FileMetrics(path, lines, 0, 0, (Finding("unreadable", line, reason, 5),))


def _complexity(function: _Function) -> int:
    """Ways through a function: 1, and 1 more for each branch. Functions inside it count for themselves."""
    ways = 1
    pending: list[ast.AST] = [*function.body]
    while pending:
        node = pending.pop()
        if isinstance(node, _Function):
            continue
        ways += isinstance(node, _BRANCHES) + (len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0)
        pending.extend(ast.iter_child_nodes(node))
    return ways


def _size(function: _Function, ways: int) -> Iterator[Finding]:
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    if length >= LONG_FUNCTION:
        yield Finding("long function", function.lineno, f"{function.name} has {length} lines", 2)
    if ways >= COMPLEX_FUNCTION:
        yield Finding("complex function", function.lineno, f"{function.name} has {ways} ways through it", 3)


def _tree_findings(tree: ast.Module) -> Iterator[Finding]:
    if tree.body and ast.get_docstring(tree, clean=False) is None:
        yield Finding("no docstring", 1, "the module says nothing about itself", 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _risky_call(node)
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield Finding("bare except", node.lineno, "catches everything, a Ctrl-C too", 4)
        elif isinstance(node, ast.ClassDef | _Function) and not _describes_itself(node):
            yield Finding("no docstring", node.lineno, f"{node.name} says nothing about itself", 1)


def _describes_itself(node: ast.ClassDef | _Function) -> bool:
    return node.name.startswith("_") or ast.get_docstring(node, clean=False) is not None


def _risky_call(call: ast.Call) -> Iterator[Finding]:
    name = _dotted(call.func)
    if name in _RISKY_CALLS:
        yield Finding("risky call", call.lineno, f"{name} {_RISKY_CALLS[name]}", 10)
    elif name.startswith("subprocess."):
        for argument in call.keywords:
            if argument.arg == "shell" and isinstance(argument.value, ast.Constant) and argument.value.value is True:
                yield Finding("risky call", call.lineno, f"{name} with shell=True", 10)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def _todos(source: bytes) -> Iterator[Finding]:
    for number, line in enumerate(source.splitlines(), start=1):
        found = _TODO.search(line)
        if found is not None:
            text = found[2].decode(errors="replace").strip()
            yield Finding("todo", number, f"{found[1].decode()}: {text}" if text else found[1].decode(), 1)
