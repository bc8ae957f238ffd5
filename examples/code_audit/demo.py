"""What `make demo` shows: an audit of this repository that is killed midway, and goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
OUTPUT = REPOSITORY / "demo-output"


def start(*options: str) -> subprocess.Popen[str]:
    """Start the audit with a store of its own, so that every demo begins from nothing."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "audit.py"), str(REPOSITORY), "--out", str(OUTPUT / "report.md"), *options],
        env={**os.environ, "KITARU_HOME": str(OUTPUT / "home")},
        stdout=subprocess.PIPE,
        text=True,
    )


def main() -> int:
    """Run it, kill it, run it again."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()

    print("1. An audit of this repository, slowed down so that you can watch it.", flush=True)
    first = start("--slow", "0.2")
    assert first.stdout is not None
    for line in first.stdout:
        print(f"   {line}", end="", flush=True)
        words = line.split()
        if words[1:2] == ["of"] and int(words[0]) * 2 >= int(words[2]):
            first.send_signal(signal.SIGKILL)
            break
    first.wait()

    print("\n2. Killed with SIGKILL: no handler ran, nothing was saved on the way out.", flush=True)
    print("\n3. The same command again. It goes on where the first process died.", flush=True)
    second = start()
    assert second.stdout is not None
    printed = [print(f"   {line}", end="", flush=True) or line for line in second.stdout]
    second.wait()

    reused = any("reused from before" in line and " 0 reused" not in line for line in printed)
    print(f"\nThe report: {OUTPUT / 'report.md'}")
    return 0 if second.returncode == 0 and reused else 1


if __name__ == "__main__":
    sys.exit(main())
