"""`chaoskit judge`: compute every figure and verdict of an old run anew, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chaoskit.cli.options import Json
from chaoskit.cli.show import show_results
from chaoskit.reporters import write_all
from chaoskit.runner.judge import judge as judge_history
from chaoskit.runner.rundir import RunDir

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run directory, an experiment's name for its latest run, or `latest`.")
]
Out = Annotated[Path, typer.Option("--out", help="Where run directories are.")]


def judge(
    run: Run,
    out: Out = Path("reports"),
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the verdict, or only JSON with --json.")] = False,
) -> None:
    """Judge a run again from its history, write its reports anew and exit as the run itself did."""
    rundir = RunDir.find(run, out)
    results = judge_history(*rundir.load())
    write_all(results, rundir.path)
    show_results(results, rundir, as_json=json_, quiet=quiet)
    raise typer.Exit(results.exit_code)
