"""Small programs, what they mean in plain Python, and the same as Kitaru flows.

A program is a list of steps, each a list of a name and its operands, so that it can be a flow's argument.
One interpreter for sync flows runs it in either of two worlds: ``Plain``, where a call is a call, and
``Durable``, where it is a checkpoint. The interpreter for async flows is written apart, as its language is.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import kitaru
from kitaru import checkpoint, flow

Program = list[list[Any]]


class Refused(Exception):
    """The failure that stays: as often as it is tried."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code


def describe(error: BaseException | None) -> list[Any]:
    assert isinstance(error, Refused)
    return [str(error), error.code]


# ── the calls ────────────────────────────────────────────────────────────────────────────────────


def _refuse(x: int) -> int:
    raise Refused(f"no {x}", x)


FUNCTIONS: Mapping[str, Callable[..., int]] = {
    "step": lambda x: x * 2 + 1,
    "retried": lambda x, fails: x * 10 + fails,
    "unsteady": lambda x, fails: x * 100 + fails,
    "refuse": _refuse,
    "odd_refused": lambda x: _refuse(x) if x % 2 else x,
}
"""What each call comes to in the end: the failures that pass away are left out."""


class Entry(NamedTuple):
    """One execution of a checkpoint's function: in which life, as which call, and whether it succeeded."""

    life: int
    key: str
    call: tuple[Any, ...]
    succeeded: bool


class World:
    """What the checkpoints do to the world. Shared by all threads of the flow; ``_lock`` guards it."""

    def __init__(self) -> None:
        self.life = 0
        self.entries: list[Entry] = []
        self._lock = threading.Lock()

    def enter(self, name: str, *args: Any, fails: int = 0) -> int:
        """Execute a function: its first ``fails`` executions as one call fail."""
        key = kitaru.idempotency_key()
        with self._lock:
            before = sum(entry.key == key for entry in self.entries)
            refused = before < fails or name == "refuse" or (name == "odd_refused" and args[0] % 2 == 1)
            self.entries.append(Entry(self.life, key, (name, *args), not refused))
        if before < fails:
            raise ConnectionError(f"{name} {args} failed {before + 1} times")
        return FUNCTIONS[name](*args)


world = World()
"""The present test's. Replaced by ``new_world``, while no flow is running."""


def new_world() -> World:
    global world
    world = World()
    return world


@checkpoint
def step(x: int) -> int:
    return world.enter("step", x)


@checkpoint(name="step")
async def async_step(x: int) -> int:
    await asyncio.sleep(0)
    return world.enter("step", x)


@checkpoint(retries=2)
def retried(x: int, fails: int) -> int:
    return world.enter("retried", x, fails, fails=fails)


@checkpoint
def unsteady(x: int, fails: int) -> int:
    return world.enter("unsteady", x, fails, fails=fails)


@checkpoint(name="unsteady")
async def async_unsteady(x: int, fails: int) -> int:
    await asyncio.sleep(0)
    return world.enter("unsteady", x, fails, fails=fails)


@checkpoint
def refuse(x: int) -> int:
    return world.enter("refuse", x)


@checkpoint
def odd_refused(x: int) -> int:
    return world.enter("odd_refused", x)


CHECKPOINTS: Mapping[str, Any] = {
    "step": step, "retried": retried, "unsteady": unsteady, "refuse": refuse, "odd_refused": odd_refused,
}  # fmt: skip
ASYNC_CHECKPOINTS: Mapping[str, Any] = {**CHECKPOINTS, "step": async_step, "unsteady": async_unsteady}
DRAWS: Mapping[str, Callable[[], object]] = {"now": kitaru.now, "uuid4": kitaru.uuid4, "random": kitaru.random}


# ── two worlds for one interpreter ───────────────────────────────────────────────────────────────


class Calls(Protocol):
    """What a program can ask for."""

    def call(self, name: str, *args: Any) -> int: ...

    def all(self, name: str, inputs: Sequence[Sequence[Any]]) -> list[int]:
        """Side by side; the first failure, in the order of the inputs, is raised."""
        ...

    def outcomes(self, name: str, inputs: Sequence[Sequence[Any]]) -> list[Any]:
        """Side by side; failures are looked at, last one first."""
        ...

    def draw(self, name: str) -> Any: ...

    def child(self, program: Program) -> list[Any]:
        """A child flow. Where it fails for good, ``ChildFailed`` is raised with the text of its failure."""
        ...

    def log(self, x: int) -> None: ...


class ChildFailed(Exception):
    """A child flow failed; the text is that of its failure."""


FOR_GOOD = (Refused, ChildFailed)
"""What is no better when it is tried again."""


class Drawn(NamedTuple):
    """What one execution drew: values by name in order, and the same of its children in order."""

    values: Mapping[str, deque[Any]]
    children: deque[Drawn]


class Plain:
    """A call is a call. The draws are those that the flow has recorded."""

    def __init__(self, drawn: Drawn, calls: Counter[tuple[Any, ...]]) -> None:
        self.calls = calls
        self.logged: int | None = None
        self._drawn = drawn

    def call(self, name: str, *args: Any) -> int:
        self.calls[name, *args] += 1
        return FUNCTIONS[name](*args)

    def all(self, name: str, inputs: Sequence[Sequence[Any]]) -> list[int]:
        return [self.call(name, *args) for args in inputs]

    def outcomes(self, name: str, inputs: Sequence[Sequence[Any]]) -> list[Any]:
        outcomes: list[Any] = []
        for args in inputs:
            try:
                outcomes.append(self.call(name, *args))
            except Refused as error:
                outcomes.append(describe(error))
        return outcomes

    def draw(self, name: str) -> Any:
        return self._drawn.values[name].popleft()

    def child(self, program: Program) -> list[Any]:
        try:
            return interpret(program, Plain(self._drawn.children.popleft(), self.calls))
        except FOR_GOOD as error:
            raise ChildFailed(str(error)) from error

    def log(self, x: int) -> None:
        self.logged = x


class Durable:
    """A call is a checkpoint."""

    def call(self, name: str, *args: Any) -> int:
        return CHECKPOINTS[name](*args)

    def all(self, name: str, inputs: Sequence[Sequence[Any]]) -> list[int]:
        return CHECKPOINTS[name].map(*map(list, zip(*inputs, strict=True))).result()

    def outcomes(self, name: str, inputs: Sequence[Sequence[Any]]) -> list[Any]:
        futures = [CHECKPOINTS[name].submit(*args) for args in inputs]
        outcomes: list[Any] = []
        for future in reversed(futures):
            error = future.exception()
            outcomes.append(future.result() if error is None else describe(error))
        return outcomes[::-1]

    def draw(self, name: str) -> Any:
        return DRAWS[name]()

    def child(self, program: Program) -> list[Any]:
        try:
            return sync_program.run(program, retries=1).wait()
        except kitaru.KitaruUserCodeError as error:
            if isinstance(error.__cause__, FOR_GOOD):
                raise ChildFailed(str(error.__cause__)) from error
            raise

    def log(self, x: int) -> None:
        kitaru.log(seen=x)


def interpret(program: Program, calls: Calls) -> list[Any]:  # noqa: C901  # a branch for each kind of step
    """Run a program; the values that it has come across, in order."""
    out: list[Any] = []
    last = 0

    def run(steps: Program) -> None:  # noqa: C901  # likewise
        nonlocal last
        for kind, *operands in steps:
            if kind == "call":
                last = calls.call(*operands)
            elif kind == "chain":
                last = calls.call("step", last % 5)
            elif kind == "try":
                try:
                    last = calls.call("refuse", *operands)
                except Refused as error:
                    out.append(describe(error))
            elif kind == "all":
                out.append(calls.all(*operands))
            elif kind == "outcomes":
                out.append(calls.outcomes(*operands))
            elif kind == "loop":
                for _ in range(operands[0]):
                    run(operands[1])
            elif kind == "branch":
                run(operands[last % 2])
            elif kind == "coin":
                run(operands[calls.draw("random") < 0.5])
            elif kind == "draw":
                out.append(str(calls.draw(*operands)))
            elif kind == "child":
                out.append(calls.child(*operands))
            elif kind == "try_child":
                try:
                    out.append(calls.child(*operands))
                except ChildFailed as error:
                    out.append(str(error))
            else:
                assert kind == "log"
                calls.log(*operands)
            out.append(last)

    run(program)
    return out


async def interpret_async(program: Program) -> list[Any]:  # noqa: C901  # likewise
    """The same in the language of async flows: await, gather and task groups."""
    out: list[Any] = []
    last = 0

    async def call(name: str, *args: Any) -> int:
        found = ASYNC_CHECKPOINTS[name](*args)
        return found if isinstance(found, int) else await found

    async def outcome(future: Any) -> Any:
        try:
            return await future
        except Refused as error:
            return describe(error)

    async def child(program: Program) -> list[Any]:
        try:
            return await async_program.run(program, retries=1)
        except kitaru.KitaruUserCodeError as error:
            if isinstance(error.__cause__, FOR_GOOD):
                raise ChildFailed(str(error.__cause__)) from error
            raise

    async def run(steps: Program) -> None:  # noqa: C901  # likewise
        nonlocal last
        for kind, *operands in steps:
            if kind == "call":
                last = await call(*operands)
            elif kind == "chain":
                last = await call("step", last % 5)
            elif kind == "try":
                try:
                    last = await call("refuse", *operands)
                except Refused as error:
                    out.append(describe(error))
            elif kind == "all":
                name, inputs = operands
                out.append(await asyncio.gather(*(call(name, *args) for args in inputs)))
            elif kind == "outcomes":
                name, inputs = operands
                futures = [ASYNC_CHECKPOINTS[name].submit(*args) for args in inputs]
                out.append([await outcome(future) for future in reversed(futures)][::-1])
            elif kind == "loop":
                for _ in range(operands[0]):
                    await run(operands[1])
            elif kind == "branch":
                await run(operands[last % 2])
            elif kind == "coin":
                await run(operands[kitaru.random() < 0.5])
            elif kind == "draw":
                out.append(str(DRAWS[operands[0]]()))
            elif kind == "child":
                out.append(await child(*operands))
            elif kind == "try_child":
                try:
                    out.append(await child(*operands))
                except ChildFailed as error:
                    out.append(str(error))
            else:
                assert kind == "log"
                kitaru.log(seen=operands[0])
            out.append(last)

    await run(program)
    return out


@flow(cache=False)
def sync_program(program: Program) -> list[Any]:
    return interpret(program, Durable())


@flow(cache=False)
async def async_program(program: Program) -> list[Any]:
    return await interpret_async(program)
