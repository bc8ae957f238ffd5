"""A PostgreSQL server of the tests' own, and a fresh store in it for whoever asks.

The server is started once per process that needs it, from the binaries of this machine, on a socket in a
temporary folder. It dies with the process that started it, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

MISSING = "No PostgreSQL on this machine: apt-get install postgresql (or run `make postgres`)."

_PATIENCE = 60.0
_numbers = itertools.count()


def binaries() -> Path | None:
    """The folder of the newest server on this machine; None where there is none."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    if found:
        return max(found, key=lambda path: float(path.parent.name))
    return Path(on_path).resolve().parent if on_path else None


def needs_postgres(backend: str = "postgres") -> None:
    """Skip a test of this backend where the machine has no server; say what to install."""
    if backend == "postgres" and binaries() is None:
        pytest.skip(MISSING)


class Server:
    """A server with a socket in its folder, and no port.

    Args:
        durable: Whether commits wait for the disk. Only measurements need it.
        folder: Where to put it, instead of a temporary folder. Measurements name the disk that they measure.
    """

    def __init__(self, *, durable: bool = False, folder: Path | None = None) -> None:
        found = binaries()
        assert found is not None, MISSING
        self.binaries = found
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kitaru-postgres-"))
        self.folder.mkdir(exist_ok=True)
        self._as_user = _another_user(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._options = [] if durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        self._run("initdb", "-D", str(self.data), "-U", "kitaru", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start it, and wait until it answers. The kernel ends it when this process dies."""
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [
                "setpriv", "--pdeathsig", "QUIT", *self._as_user, str(self.binaries / "postgres"), "-D", str(self.data),
                "-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}",
                "-c", "max_connections=200", *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.sql("SELECT 1")
                return
            except psycopg.OperationalError:
                pass
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self, mode: str = "fast") -> None:
        """``immediate``: as if it had crashed."""
        if self._process is not None:
            self._run("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w", check=False)
            self._process.wait(_PATIENCE)
            self._process = None

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """The URL of a place for a new store: a schema of its own, which is made ten times faster than a database."""
        name = f"test_{next(_numbers)}"
        self.sql(f"CREATE SCHEMA {name}")
        return f"{self.url()}&options=-csearch_path%3D{name}"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://kitaru@/{database}?host={self.folder}"

    def sql(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a statement as the server's administrator."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        result = subprocess.run(
            ["setpriv", *self._as_user, str(self.binaries / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
            cwd="/",
        )
        assert result.returncode == 0 or not check, result.stderr
        return result.returncode


def _another_user(folder: Path) -> Sequence[str]:
    """PostgreSQL refuses to run as root: it runs as its own user then, who gets the folder."""
    if os.geteuid() != 0:
        return ["--nnp"]
    with contextlib.suppress(KeyError):
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        return ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]


@functools.cache
def postgres_server() -> Server:
    """The server of this process, started when it is first asked for."""
    server = Server()
    atexit.register(server.remove)
    return server
