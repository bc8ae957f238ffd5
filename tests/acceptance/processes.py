"""Scripts that tests run as processes of their own, with the same KITARU_HOME."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from tests.acceptance.gates import PATIENCE


class Scripts:
    """Scripts in one folder, which is their working directory, and so their project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
        return path

    def run(self, *command: str, code: int = 0, cwd: Path | None = None) -> list[str]:
        """Run a script to its end; the lines that it printed."""
        with self.started(*command, cwd=cwd) as child:
            printed, errors = child.finish()
        assert child.process.returncode == code, errors
        return printed

    def popen(self, *command: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd or self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def started(self, *command: str, cwd: Path | None = None) -> Iterator[Child]:
        """A script that is running; it is killed at the end of the block where it still runs."""
        child = Child(self.popen(*command, cwd=cwd))
        try:
            yield child
        finally:
            child.kill()

    def kill_at(self, line: str, *command: str) -> None:
        """Run a script and kill it, as a power cut would, when it has printed this line."""
        with self.started(*command) as child:
            child.expect(line)

    def lines(self, name: str) -> list[str]:
        """The lines of a file to which scripts append; none where there is no file."""
        path = self.folder / name
        return path.read_text().split() if path.exists() else []


class Child:
    """A running script. Its errors are read by a thread, so that it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._errors: list[str] = []
        self._reader = threading.Thread(target=self._read_errors)
        self._reader.start()

    def expect(self, line: str) -> None:
        """Read what it prints, up to this line."""
        while True:
            printed = self.read()
            if printed == line:
                return

    def read(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        with self._bounded():
            line = self.process.stdout.readline()
        assert line, f"it has ended: {self._end()}"
        return line.strip()

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """One that hangs is killed, so that its test fails and does not hang too."""
        hangs = threading.Timer(2 * PATIENCE, self.process.kill)
        hangs.start()
        try:
            yield
        finally:
            hangs.cancel()
            hangs.join()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self) -> tuple[list[str], str]:
        """Wait for its end; what it printed since, and its errors.

        Not by ``communicate``, which loses what ``readline`` has read ahead.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        with self._bounded():
            printed = self.process.stdout.read().splitlines()
            self.process.wait()
        return printed, self._end()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._end()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _end(self) -> str:
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return "".join(self._errors)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.append(self.process.stderr.read())
