"""A durable agent that audits a folder of Python code.

    python audit.py FOLDER [--out report.md] [--id NAME] [--slow SECONDS]

Kill it whenever you like and start it again: it goes on where it was. Started again after it has
finished, it measures only the files that have changed since.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from metrics import FileMetrics, measure_source, unmeasured
from report import Ranking, markdown_of, ranking_of

import kitaru
from kitaru import KitaruClient, KitaruError, KitaruNotFoundError, checkpoint, flow

SKIPPED_FOLDERS = {"__pycache__", "node_modules", "site-packages"}
# An environment variable and not an argument: an argument is part of what is recorded, and a file
# that was measured slowly should be reused by a run that is not slow.
SLOW = "CODE_AUDIT_SLOW"


@dataclass(frozen=True)
class SourceFile:
    """A file to measure. ``digest`` is that of its content, so that an edited file is another input."""

    path: str
    digest: str


@dataclass(frozen=True)
class Summary:
    """What an audit comes back with."""

    files: int
    findings: int
    report: str


class FileChangedError(Exception):
    """The file is no longer what was listed."""


# cache=False: a later audit must look at the folder again. A resumed one keeps the list that it made.
@checkpoint(cache=False)
def list_files(folder: str) -> list[SourceFile]:
    """Every Python file below a folder, hidden folders and installed packages left out."""
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS and not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if name.endswith(".py")]
    return [SourceFile(path.relative_to(folder).as_posix(), digest_of(read(path))) for path in found]


@checkpoint(type="tool_call")
def measure(folder: str, path: str, digest: str) -> FileMetrics:
    """Read and measure one file."""
    time.sleep(float(os.environ.get(SLOW, "0")))
    source = read(Path(folder, path))
    if digest_of(source) != digest:
        raise FileChangedError(path)  # a failure is never cached, so the next audit measures it
    return unmeasured(path, source) if isinstance(source, str) else measure_source(path, source)


@checkpoint
def rank(files: list[FileMetrics]) -> Ranking:
    """Put the files that deserve a look first."""
    return ranking_of(files)


# cache=False: this one is called for its effect. A rename is atomic: whoever reads sees a whole report.
@checkpoint(cache=False)
def write_report(title: str, ranking: Ranking, path: str) -> str:
    """Write the report, whole or not at all."""
    partial = Path(f"{path}.partial")
    partial.write_text(markdown_of(title, ranking), encoding="utf-8")
    partial.replace(path)
    return path


@flow
def audit(folder: str, report: str) -> Summary:
    """Measure every file side by side, rank them, write the report."""
    files = list_files(folder)
    futures = measure.map(folder, [file.path for file in files], [file.digest for file in files])
    measured: list[FileMetrics] = []
    for file, future in zip(files, futures, strict=True):
        try:
            measured.append(future.result())
        except FileChangedError:
            measured.append(unmeasured(file.path, "was edited during the audit"))
        show_progress(len(measured), len(files))
    ranking = rank(measured)
    return Summary(ranking.files, sum(ranking.kinds.values()), write_report(Path(folder).name, ranking, report))


def read(path: Path) -> bytes | str:
    """The content of a file, or why it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def digest_of(source: bytes | str) -> str:
    """Tells one content from another; of a file that cannot be read, one reason from another."""
    return hashlib.sha256(source.encode() if isinstance(source, str) else source).hexdigest()[:16]


def show_progress(done: int, total: int) -> None:
    """One line that is rewritten on a terminal, else a line for every tenth of the work."""
    if sys.stdout.isatty():
        print(f"\r{done} of {total} files", end="\n" if done == total else "", flush=True)
    elif done == total or done * 10 // total > (done - 1) * 10 // total:
        print(f"{done} of {total} files", flush=True)


def unfinished_id(name: str) -> str:
    """The id of the last audit of this name if it was interrupted, else the next free one."""
    executions = KitaruClient().executions
    number = 1
    while True:
        exec_id = f"{name}-{number}"
        try:
            status = executions.get(exec_id).status
        except KitaruNotFoundError:
            return exec_id
        if status not in ("completed", "failed", "cancelled"):
            return exec_id
        number += 1


def main() -> int:
    """Read the arguments, run or go on, say what was done."""
    parser = argparse.ArgumentParser(description="Audit a folder of Python code, durably.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("report.md"), help="where the report goes")
    parser.add_argument("--id", help="name of the audit (default: made from the folder and the report)")
    parser.add_argument("--slow", type=float, default=0, metavar="SECONDS", help="wait so long before each file")
    options = parser.parse_args()
    folder, report = options.folder.resolve(), options.out.resolve()
    if not folder.is_dir():
        parser.error(f"{folder} is not a folder")
    os.environ[SLOW] = str(options.slow)
    kitaru.configure(max_threads=4)  # measuring is computing: more threads would only wait for each other
    warnings.simplefilter("ignore", SyntaxWarning)  # of the audited code, not ours

    name = f"audit-{re.sub(r'[^A-Za-z0-9]+', '-', folder.name)}-{digest_of(f'{folder} {report}')[:8]}"
    began = datetime.now(UTC)
    try:
        exec_id = options.id or unfinished_id(name)
        handle = audit.run(str(folder), str(report), execution_id=exec_id)
        print(f"{handle.exec_id}: auditing {folder}", flush=True)
        summary = handle.wait()
        calls = [call for call in KitaruClient().executions.get(exec_id).checkpoints if call.name == "measure"]
    except KitaruError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", flush=True)
        os._exit(130)  # at once: what was measured is recorded, there is nothing to tidy up
    now = sum(1 for call in calls if call.cached_from is None and call.started_at >= began)
    print(f"{now} files measured now, {len(calls) - now} reused from before.")
    print(f"{summary.findings} findings in {summary.files} files: {summary.report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
