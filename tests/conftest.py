"""What every test stands on: a home of its own, and no state left by the test before it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import postgres_server

# The usual run tries the same examples each time, so that it is red for a change and not by chance, and a machine that
# is busy fails none. ``HYPOTHESIS_PROFILE=thorough`` looks for new ones.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("thorough", settings.get_profile("usual"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))

_SECONDS_TO_END = 60
"""A process whose tests have ended, and that goes on for so long, hangs: it says where, and fails."""


def pytest_configure() -> None:
    """Ctrl-C works in the processes that tests start: a shell has what it starts in the background ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """A hanging end is a failure that names its threads, and not a silence until somebody's time limit."""
    if postgres_server.cache_info().currsize:
        postgres_server().remove()  # a hundred files for each store: on a slow disk that is long, and it is no hang
    lasting = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if lasting:
        print(f"Threads that hold the end of the process: {lasting}", file=sys.__stderr__)
    faulthandler.dump_traceback_later(_SECONDS_TO_END, exit=True, file=sys.__stderr__)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The test's own KITARU_HOME. Automatic, so that no test can write into the developer's.

    Other ``KITARU_`` variables of the shell are hidden, but for those that are meant for the tests.
    """
    for name in list(os.environ):
        if name.startswith("KITARU_") and not name.startswith("KITARU_TEST_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "kitaru-home"
    monkeypatch.setenv("KITARU_HOME", str(folder))
    if os.environ.get("KITARU_TEST_STORE") == "postgres":  # whatever uses the default store, on PostgreSQL
        monkeypatch.setenv("KITARU_STORE", postgres_server().database())
    yield folder
    # Only where the test has loaded it: a unit test does not pay for the store.
    wiring = sys.modules.get("kitaru.services.wiring")
    if wiring is not None:
        wiring.reset()
