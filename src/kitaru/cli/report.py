"""An execution for eyes: what it is, what it did, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kitaru.cli import words
from kitaru.cli.calls import SIGNS, Child, told, tree
from kitaru.cli.terminal import Terminal, printable, printable_lines
from kitaru.core.execution import Execution
from kitaru.core.states import Status, WaitStatus
from kitaru.core.wait import Wait

_MOST_SHOWN = 2000
_MOST_DRIFT = 10


def report(terminal: Terminal, execution: Execution, child: Child, *, every: bool = False) -> Iterator[str]:
    """The whole report, line by line."""
    yield headline(terminal, execution)
    yield f"  {terminal.paint(' · '.join(_facts(execution)), 'dim')}"
    for name, data in execution.plain_inputs().items():
        yield f"  {terminal.paint(f'{printable(name)} =', 'dim')} {words.value(data, terminal.width - len(name) - 6)}"
    calls = list(tree(terminal, execution, child, every=every))
    if calls:
        yield ""
        yield from calls
    yield from _drift(terminal, execution)
    yield from ending(terminal, execution, child)


def headline(terminal: Terminal, execution: Execution) -> str:
    """The flow, the id and the status."""
    sign, colour = SIGNS.get(execution.status.value, ("◌", "blue"))
    flow = terminal.paint(printable(execution.flow), "bold")
    return f"{terminal.paint(sign, colour)} {flow}  {execution.exec_id}  {words.status(terminal, execution.status)}"


def _facts(execution: Execution) -> Iterator[str]:
    if execution.started_at is not None and execution.ended_at is not None:
        yield f"took {words.duration(execution.ended_at - execution.started_at)}"
    began = execution.started_at or execution.created_at
    yield f"{'started' if execution.started_at else 'created'} {words.moment(began)} ({words.ago(began)})"
    yield f"stack {printable(execution.stack)}"
    if execution.tags:
        yield f"tags {', '.join(map(printable, execution.tags))}"
    if execution.parent_id is not None:
        yield f"child of {execution.parent_id}"
    if execution.original_exec_id is not None:
        yield f"replay of {execution.original_exec_id}"
    if not execution.cache:
        yield "no cache"


def _drift(terminal: Terminal, execution: Execution) -> Iterator[str]:
    if execution.drift:
        yield ""
        yield terminal.paint("  Ran again, because an input is not what was recorded:", "yellow")
    for one in execution.drift[:_MOST_DRIFT]:
        was, now = printable(one.recorded or "absent"), printable(one.given or "absent")
        yield f"  {printable(one.call_id)}: {printable(one.input)} was {was[:60]}, is {now[:60]}"
    if len(execution.drift) > _MOST_DRIFT:
        yield f"  … {len(execution.drift) - _MOST_DRIFT:,} more"


def ending(terminal: Terminal, execution: Execution, child: Child) -> Iterator[str]:
    """How it stands: its result, its failure, its questions, and the command that goes on from there."""
    if execution.status is Status.COMPLETED:
        text = printable_lines(words.result(execution.plain_result()))
        yield ""
        yield from (f"  {line}" for line in text[:_MOST_SHOWN].splitlines())
        if len(text) > _MOST_SHOWN:
            yield terminal.paint(f"  … {len(text) - _MOST_SHOWN:,} more characters: -o json shows all", "dim")
    elif execution.status is Status.FAILED:
        yield from _failure(terminal, execution)
    for wait in open_questions(execution, child):
        yield ""
        yield from question(terminal, wait)


def open_questions(execution: Execution, child: Child) -> Iterator[Wait]:
    """What an execution has asked, and the flows that it has started."""
    if not execution.status.finished:
        yield from (wait for wait in execution.waits if wait.status is WaitStatus.OPEN)
    for call in execution.checkpoints if execution.status is Status.WAITING else ():
        inner = child(call.child_exec_id) if call.child_exec_id and call.ended_at is None else None
        if inner is not None:
            yield from open_questions(inner, child)


def _failure(terminal: Terminal, execution: Execution) -> Iterator[str]:
    failure = execution.failure
    if failure is None:
        return
    yield ""
    yield f"  {terminal.paint(told(failure), 'red')}"
    for line in printable_lines(failure.traceback or "").splitlines():
        yield terminal.paint(f"    {line}", "dim")
    yield ""
    yield hint(terminal, "Once the cause is removed", f"kitaru executions retry {execution.exec_id}")


def question(terminal: Terminal, wait: Wait) -> Iterator[str]:
    """An open question, and how to answer it from another terminal."""
    yield from asked(terminal, wait)
    which = f"{wait.exec_id} --wait {wait.wait_id}"
    if wait.schema is None:
        yield hint(terminal, "Continue", f"kitaru executions input {which}", indent=4)
        yield hint(terminal, "Abort", f"kitaru executions abort {which}", indent=4)
    else:
        yield hint(terminal, "Answer", f"kitaru executions input {which} --value '{sample(wait.schema)}'", indent=4)


def asked(terminal: Terminal, wait: Wait) -> Iterator[str]:
    """An open question, and what it expects."""
    text = printable(wait.question or "Continue?")
    yield f"  {terminal.paint('‖', 'yellow')} {terminal.paint(printable(wait.wait_id), 'bold')}: {text}"
    facts = [f"asked {words.ago(wait.opened_at)}", f"expects {expects(wait.schema)}"]
    if wait.expires_at is not None:
        facts.append(f"its default counts {words.ago(wait.expires_at)}")
    yield terminal.paint(f"    {' · '.join(facts)}", "dim")


def hint(terminal: Terminal, text: str, command: str, *, indent: int = 2) -> str:
    """What to type next."""
    return f"{' ' * indent}{terminal.paint(f'{text}:', 'dim')} {terminal.paint(command, 'cyan')}"


def expects(schema: Mapping[str, Any] | None) -> str:
    """A JSON schema in a few words."""
    if schema is None:
        return "to be continued or aborted"
    if "enum" in schema:
        return "one of " + ", ".join(words.value(choice, 40) for choice in schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        needed = set(schema.get("required", ()))
        fields = [f"{name}{'' if name in needed else '?'}" for name in schema.get("properties", {})]
        return f"an object with {', '.join(map(printable, fields))}" if fields else "an object"
    if isinstance(kind, list):
        return " or ".join(map(str, kind))  # pyright: ignore[reportUnknownArgumentType]  # of JSON
    named = {"string": "a text", "boolean": "true or false", "integer": "a whole number", "number": "a number"}
    return named.get(str(kind), f"a value of type {kind}" if kind else "any value")


def sample(schema: Mapping[str, Any]) -> str:
    """An answer that might fit, to be edited."""
    if schema.get("enum"):
        return words.value(schema["enum"][0])
    kind = schema.get("type")
    if kind == "object":
        parts: Mapping[str, Any] = schema.get("properties", {})
        return "{" + ", ".join(f'"{name}": {sample(part)}' for name, part in parts.items()) + "}"
    return {"string": '"..."', "boolean": "true", "integer": "1", "number": "1.5", "array": "[]"}.get(str(kind), "null")
