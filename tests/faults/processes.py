"""The other processes of these tests: ``python processes.py VERB ARGUMENT ...``.

``FAULTS_FOLDER`` is where they leave their traces and look for the test's signs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kitaru
from kitaru import KitaruClient, checkpoint, flow
from kitaru.services.settings import read_settings
from kitaru.services.wiring import Wiring, install

FOLDER = Path(os.environ["FAULTS_FOLDER"])
LEASE_SECONDS = 1.0
PATIENCE = 60.0


def wait_for(name: str) -> None:
    """Wait until the test, or the other process, has made a file."""
    deadline = time.monotonic() + PATIENCE
    while not (FOLDER / name).exists():
        assert time.monotonic() < deadline, f"nobody made {name}"
        time.sleep(0.01)


def effect(name: str) -> None:
    with (FOLDER / "effects").open("a") as file:
        file.write(f"{name} {os.getpid()} {kitaru.idempotency_key()}\n")


@checkpoint
def first() -> int:
    effect("first")
    return os.getpid()


@checkpoint
def second(before: int) -> int:
    effect("second")
    (FOLDER / f"second {os.getpid()}").touch()
    wait_for(f"go on {os.getpid()}")
    return os.getpid()


@checkpoint
def third(before: int) -> int:
    effect("third")
    return os.getpid()


@flow
def held() -> list[int]:
    try:
        one = first()
        two = second(one)
        return [one, two, third(two)]
    finally:
        (FOLDER / f"left {os.getpid()}").touch()


@flow
def bystander() -> None:
    pass


@checkpoint(cache=False)
def add(x: int, y: int) -> int:
    effect("add")
    return x + y


@flow
def one_of_many(x: int) -> int:
    return sum(add.map([x, x], [1, 2]).result()) + add(x, 3)


def hold() -> object:
    """Run the flow that is held up, under a short lease."""
    install(Wiring(read_settings({}), lease_seconds=LEASE_SECONDS))
    return held.run(execution_id="held").wait(PATIENCE)


def take_over() -> object:
    """Be at work on something else until the held flow has been picked up and is finished.

    Under the usual lease: this process is to keep what it has taken over, however slow the machine is.
    """
    bystander.run().wait(PATIENCE)
    return KitaruClient().executions.handle("held").wait(PATIENCE)


def many(worker: str, count: str) -> object:
    """Run many flows at once."""
    wait_for("go on")
    numbers = range(int(worker) * int(count), (int(worker) + 1) * int(count))
    handles = [one_of_many.run(number, execution_id=f"many-{number}") for number in numbers]
    return [handle.wait(PATIENCE) for handle in handles]


def one_id(threads: str) -> object:
    """Start the same execution from many threads at once."""
    gate = threading.Barrier(int(threads))

    def start(_: int) -> object:
        wait_for("go on")
        gate.wait()
        return one_of_many.run(5, execution_id="one").wait(PATIENCE)

    with ThreadPoolExecutor(int(threads)) as pool:
        return list(pool.map(start, range(int(threads))))


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    print(json.dumps({"hold": hold, "take_over": take_over, "many": many, "one_id": one_id}[verb](*arguments)))
