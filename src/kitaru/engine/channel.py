"""Messages between this process and its child processes: JSON behind its length, over a socket."""

from __future__ import annotations

import json
import socket
import struct
import threading
from time import monotonic
from typing import Any, NamedTuple

_LENGTH = struct.Struct("!I")


class Message(NamedTuple):
    """What is said, and what belongs to it."""

    kind: str
    body: Any


class Channel:
    """One end. Any thread may send; one at a time receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()
        self._received = bytearray()

    def send(self, kind: str, body: Any = None) -> None:
        """Say something. Raises ``OSError`` where nobody is there any more."""
        data = json.dumps([kind, body]).encode()
        with self._sending:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self, deadline: float | None = None) -> Message | None:
        """The next message; None where the other end is gone.

        Raises:
            TimeoutError: ``deadline`` has passed, by the machine's monotonic clock.
        """
        head = self._take(_LENGTH.size, deadline)
        data = None if head is None else self._take(_LENGTH.unpack(head)[0], deadline)
        return None if data is None else Message(*json.loads(data))

    def close(self) -> None:
        """Let the other end know that nothing comes any more."""
        self._socket.close()

    def _take(self, count: int, deadline: float | None) -> bytes | None:
        # What came before a deadline stays in `_received`: a timeout tears no message.
        while len(self._received) < count:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            try:
                part = self._socket.recv(max(65536, count - len(self._received)))
            except ConnectionError:
                return None
            if not part:
                return None
            self._received += part
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken
