"""An execution in a process of its own on this machine: the one way in which such a process is started."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kitaru.core.processes import end_session

if TYPE_CHECKING:
    import subprocess


class ChildProcess:
    """A process of ``kitaru.worker.child``. See ``kitaru.core.ports.Child``.

    It loads the flow, and then reads the id of its execution from a pipe, which this process keeps open: where that
    ends, however it ends, so does the pipe, and the child hands its execution back. A process that has not been
    given its execution yet is a spare one.

    In a session of its own, so that Ctrl-C at a terminal is for the process that started it, and so that whatever it
    has started itself ends with it, should it die or be killed.

    ``_asked`` is guarded by ``_lock``, and so are the signals: none is sent to a process that has been waited for.

    Args:
        flow_ref: The flow, as ``load_flow`` takes it.
        variables: All of its environment variables.
        python: Its interpreter.
        folder: Its working directory; None for that of this process.

    Raises:
        OSError: No process can be started: no memory, no interpreter.
    """

    def __init__(
        self,
        flow_ref: str,
        variables: Mapping[str, str],
        *,
        python: str = sys.executable,
        folder: Path | None = None,
    ) -> None:
        import subprocess  # noqa: PLC0415  # some ms at every start, and few processes come here

        self._lock = threading.Lock()
        self._asked = False
        self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603  # our own module, and a recorded flow
            [python, "-m", "kitaru.worker.child", "--flow", flow_ref],
            bufsize=0,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def give(self, execution_id: str) -> bool:
        """Name its execution to it, once; False where it has died."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{execution_id}\n".encode())
        except OSError:
            return False
        return True

    def wait(self) -> int:
        if hasattr(os, "waitid"):  # else what it has started itself lives on: macOS before Python 3.13, Windows
            # It stays a zombie here, so that nobody else is given the number of its session.
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            in_good_order = ended is not None and (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0)
            with self._lock:
                if self._asked or not in_good_order:
                    end_session(self._process)
                self._process.wait()
        code = self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        return code

    def stop(self) -> None:
        with self._lock:
            if self._process.returncode is None and not self._asked:  # a second signal would end it at once
                self._asked = True
                os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        with self._lock:
            if self._process.returncode is None:
                self._asked = True
                end_session(self._process)
