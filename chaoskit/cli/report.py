"""`chaoskit report`: show an old run's results in any format, as they were judged."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from chaoskit.cli.judge import Out, Run
from chaoskit.cli.show import print_text, show_summary
from chaoskit.errors import InvalidExperiment, Problem, unknown
from chaoskit.reporters import REPORTERS, render
from chaoskit.reporters.results_json import read_results
from chaoskit.runner.rundir import RunDir

_TERMINAL = "terminal"
FORMATS = (_TERMINAL, *REPORTERS)


def report(
    run: Run,
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = _TERMINAL,
    out: Out = Path("reports"),
) -> None:
    """Print a run's report on stdout. Nothing is judged; `chaoskit judge` does that."""
    if format_ not in FORMATS:
        raise InvalidExperiment([Problem("--format", unknown("format", format_, FORMATS))])
    rundir = RunDir.find(run, out)
    if not rundir.results.is_file():
        raise InvalidExperiment([Problem("", f"{rundir} was never judged; `chaoskit judge {rundir}` does it")])
    results = read_results(rundir.results)
    if format_ == _TERMINAL:
        show_summary(results, rundir, sys.stdout)
    else:
        print_text(render(format_, results))
