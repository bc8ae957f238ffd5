"""Isolated checkpoints: a child process imports them from here."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kitaru
from kitaru import Isolated, Retry, checkpoint, flow


@dataclass
class Point:
    x: int
    y: int


class Refused(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@checkpoint(runtime="isolated", cache=False)
def pid() -> int:
    return os.getpid()


@checkpoint(runtime="isolated")
def echo(value: Any) -> Any:
    return value


@checkpoint(runtime="isolated", cache=False)
async def echo_async(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@checkpoint(runtime="isolated")
def move(point: Point, *, by: int = 1) -> Point:
    return Point(point.x + by, point.y + by)


@checkpoint(runtime="isolated", cache=False)
def inside(name: str) -> tuple[str, str, bool]:
    kitaru.log(tokens=7)
    kitaru.save("report", {"of": name})
    kitaru.progress("half", percent=50)
    print("printed")
    print("no newline", end="", file=sys.stderr)
    logging.getLogger("apart").warning("logged %s", name)
    return kitaru.current_execution_id(), kitaru.idempotency_key(), kitaru.is_replay()


@checkpoint(runtime="isolated", cache=False)
def refuse(code: int) -> None:
    raise Refused(code, "no")


@checkpoint(runtime="isolated", cache=False)
def returns_a_lock() -> Any:
    return sys.stdout


@checkpoint(runtime="isolated", cache=False)
def die(how: str) -> None:
    print("last words")
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "_exit":
        os._exit(7)
    elif how == "exit":
        sys.exit(5)
    elif how == "abort":
        os.abort()


@checkpoint(runtime="isolated", cache=False, retries=3)
def die_until(marks: str, times: int) -> int:
    """Dies in its first attempts."""
    with Path(marks).open("a") as file:
        file.write(f"{kitaru.idempotency_key()}\n")
    if len(Path(marks).read_text().split()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return times


@checkpoint(runtime=Isolated(memory="64MB"), cache=False)
def eat(megabytes: int) -> int:
    return len(bytearray(megabytes << 20))


@checkpoint(runtime="isolated", cache=False, timeout=0.3)
def overruns(marks: str) -> None:
    hang(marks)


@checkpoint(runtime="isolated", cache=False)
def never_returns(marks: str) -> None:
    hang(marks)


@checkpoint(runtime="isolated", cache=False)
async def never_returns_async(marks: str) -> None:
    hang(marks)


@checkpoint(runtime="isolated", cache=False, retry=Retry(attempts=2, retry_on=(MemoryError,)))
def not_retried() -> None:
    os._exit(1)


@checkpoint(runtime="isolated", cache=False)
def variable(name: str) -> tuple[str | None, str]:
    return os.environ.get(name), str(Path.cwd())


@checkpoint
def inner() -> None: ...


@checkpoint(runtime="isolated", cache=False)
def nested() -> None:
    inner()


@checkpoint(runtime="isolated", cache=False)
def slowly(number: int) -> int:
    time.sleep(0.2)
    return number


@checkpoint(runtime="isolated", cache=False)
def uses_secret(*, fails: bool) -> dict[str, str]:
    token = kitaru.secret("TOKEN")
    print("the token is", token)
    logging.getLogger("agent").warning("calling with %s", token)
    kitaru.progress(f"using {token}")
    kitaru.log(header=f"Bearer {token}")
    kitaru.save("request", {"auth": token, "long": "x" * 100_000 + token})
    if fails:
        raise Refused(401, f"for {token}")
    return {"token": token}


@checkpoint(runtime="isolated", cache=False)
def asks() -> None:
    kitaru.wait("go")


@flow
def grandchild(number: int) -> int:
    return number + 1


@checkpoint(runtime="isolated", cache=False)
def starts_a_flow(number: int) -> tuple[str, int]:
    handle = grandchild.run(number)
    return handle.exec_id, handle.wait()


@checkpoint(runtime="isolated", cache=False)
def uses_a_secret() -> str:
    token = kitaru.secret("TOKEN")
    print(f"using {token}")
    return f"length {len(token)} of {token}"


def hang(marks: str) -> None:
    """Note this process and one that it starts, and never return; SIGTERM is no help."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(marks).write_text(f"{os.getpid()} {sleeper.pid}\n")
    while True:
        time.sleep(60)
