"""What the GitHub action runs: the experiments, then their reports on the job's summary page and paths as outputs.

Everything comes in as environment variables and goes out as arguments of one process: no shell reads any of it. The
exit code is chaoskit's own, unless it is tolerated.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from secrets import token_hex

_SUMMARY_BYTES = 900_000  # of a step; GitHub throws away a summary of more than 1 MiB
_REPORT, _JUNIT = "report.md", "junit.xml"


def main(environment: Mapping[str, str]) -> int:
    reports = Path(environment.get("CHAOSKIT_REPORTS") or "reports")
    before = set(_runs(reports))
    program = [sys.executable, "-m", "chaoskit"]
    code = subprocess.run([*program, *arguments(environment, reports)], check=False).returncode
    runs = [run for run in _runs(reports) if run not in before]
    with Path(environment["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(summary_of(runs, code))
    with Path(environment["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as outputs:
        outputs.write(_output("exit-code", str(code)))
        outputs.write(_output("runs", "\n".join(map(str, runs))))
        outputs.write(_output("junit", "\n".join(str(run / _JUNIT) for run in runs if (run / _JUNIT).is_file())))
    return of_the_job(code, environment)


def arguments(environment: Mapping[str, str], reports: Path) -> list[str]:
    """Of `chaoskit`. What could be taken for an option stands behind `--`, or in one word with its own option."""
    given = ["run", "--out", str(reports)]
    for option, name in (("--backend", "CHAOSKIT_BACKEND"), ("--seed", "CHAOSKIT_SEED")):
        given += [f"{option}={value}" for value in _lines(environment, name)]
    for option, name in (("--set", "CHAOSKIT_SET"), ("--var", "CHAOSKIT_VAR")):
        given += [f"{option}={value}" for value in _lines(environment, name)]
    return [*given, "--", *_lines(environment, "CHAOSKIT_EXPERIMENTS")]


def summary_of(runs: list[Path], code: int) -> str:
    """Every report in full while there is room, then only where it is."""
    parts: list[str] = []
    room = _SUMMARY_BYTES
    for run in runs:
        path = run / _REPORT
        text = path.read_text(encoding="utf-8") if path.is_file() else f"# {run}\n\nThe run ended before its report.\n"
        if len(text.encode()) > room:
            text = f"# {run}\n\nThe report is too long for this page; the artifact has it.\n"
        room -= len(text.encode())
        parts.append(text)
    return "\n".join(parts) if parts else f"chaoskit ended with exit code {code} before anything was started.\n"


def of_the_job(code: int, environment: Mapping[str, str]) -> int:
    """The exit code of the step, which decides whether the job fails."""
    return 0 if str(code) in environment.get("CHAOSKIT_TOLERATE", "").split() else code


def _lines(environment: Mapping[str, str], name: str) -> Iterator[str]:
    yield from filter(None, map(str.strip, environment.get(name, "").splitlines()))


def _runs(reports: Path) -> list[Path]:
    """Run directories, the oldest first; `latest` is a link to one of them."""
    return sorted(
        (path for path in reports.glob("*/*") if path.is_dir() and not path.is_symlink()), key=lambda path: path.name
    )


def _output(name: str, value: str) -> str:
    """In the form for values of several lines, whose end no value can guess."""
    end = token_hex(16)
    return f"{name}<<{end}\n{value}\n{end}\n"


if __name__ == "__main__":
    sys.exit(main(os.environ))
