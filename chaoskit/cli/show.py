"""Showing a run's results: people's summary on stderr, JSON on stdout."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from chaoskit.reporters import REPORTERS, render
from chaoskit.reporters.terminal import print_summary
from chaoskit.reporters.words import headline, printable
from chaoskit.results import Results
from chaoskit.runner.rundir import RunDir


def show_results(results: Results, rundir: RunDir, *, as_json: bool, quiet: bool) -> None:
    """The summary, or with `quiet` its first line alone, or with `quiet` and `as_json` only the JSON."""
    if as_json:
        print_text(render("json", results))
    if not quiet:
        show_summary(results, rundir, sys.stderr)
    elif not as_json:
        print(printable(f"{headline(results)}: {results.summary}"), file=sys.stderr)


def show_summary(results: Results, rundir: RunDir, stream: TextIO) -> None:
    """The summary, and which files there are."""
    files = [reporter.file for reporter in REPORTERS.values() if (rundir.path / reporter.file).is_file()]
    print_summary(results, stream, _from_here(rundir.path), files)


def _from_here(path: Path) -> Path:
    """As short as it can be typed."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def print_text(text: str) -> None:
    """On stdout, as UTF-8 whatever the locale says: it is for programs. A reader who leaves early is no error."""
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that flushing at exit finds a reader
