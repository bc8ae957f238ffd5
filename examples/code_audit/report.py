"""Turns metrics into a ranking, and a ranking into Markdown. Plain functions again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from metrics import FileMetrics

TOP_FILES = 20
FINDINGS_OF_A_FILE = 8


@dataclass(frozen=True)
class Ranking:
    """The files that deserve a look first, worst first, and the totals over all files."""

    files: int
    lines: int
    functions: int
    kinds: dict[str, int]
    worst: tuple[FileMetrics, ...]


def ranking_of(files: Sequence[FileMetrics]) -> Ranking:
    """Rank by the weight of the findings; among equals, the more complex file first, then by name."""
    worst = sorted(files, key=lambda file: (-file.score, -file.complexity, file.path))
    kinds = Counter(finding.kind for file in files for finding in file.findings)
    return Ranking(
        files=len(files),
        lines=sum(file.lines for file in files),
        functions=sum(file.functions for file in files),
        kinds=dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        worst=tuple(file for file in worst[:TOP_FILES] if file.score),
    )


def markdown_of(title: str, ranking: Ranking) -> str:
    """The report as one Markdown page."""
    lines = [
        f"# Audit of {title}",
        "",
        f"{ranking.files:,} files, {ranking.lines:,} lines, {ranking.functions:,} functions.",
        "",
        "| Finding | Count |",
        "|---|---:|",
        *(f"| {kind} | {count:,} |" for kind, count in ranking.kinds.items()),
        "",
        "## Look here first",
        "",
    ]
    for place, file in enumerate(ranking.worst, start=1):
        lines += [f"### {place}. `{file.path}` (score {file.score}, complexity {file.complexity})", ""]
        heaviest = sorted(file.findings, key=lambda finding: (-finding.weight, finding.line))
        lines += [f"- line {found.line}: {found.kind}: {found.message}" for found in heaviest[:FINDINGS_OF_A_FILE]]
        hidden = len(heaviest) - FINDINGS_OF_A_FILE
        lines += [f"- and {hidden} more", ""] if hidden > 0 else [""]
    return "\n".join(lines)
