"""`chaoskit validate`: all the mistakes of experiments, before anything starts."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from chaoskit.cli import guest
from chaoskit.cli.options import Backend, Json, Overrides, Variables, read_plan
from chaoskit.errors import InvalidExperiment, Problem
from chaoskit.verdict import ExitCode


def validate(
    experiments: Annotated[list[str], typer.Argument(metavar="EXPERIMENT…", help="Path or packaged name.")],
    *,
    var: Variables = None,
    set_: Overrides = None,
    backend: Backend = None,
    json_: Json = False,
) -> None:
    """Check experiments and list every mistake with its line and column. Exit code 2 if there is one."""
    found = {given: _problems(given, var, set_, backend) for given in experiments}
    if json_:
        _print_json(found)
    else:
        _print_text(found)
    if any(found.values()):
        raise typer.Exit(ExitCode.INVALID)


def _problems(
    given: str, var: list[str] | None, overrides: list[str] | None, backend: str | None
) -> tuple[Problem, ...]:
    try:
        planned = read_plan(given, variables=var, overrides=overrides, backend=backend)
        for note in guest.notes(planned):
            print(f"{given}: note: {note}", file=sys.stderr)
    except InvalidExperiment as error:
        return error.problems
    return ()


def _print_text(found: dict[str, tuple[Problem, ...]]) -> None:
    for given, problems in found.items():
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            print(f"{given}: OK")


def _print_json(found: dict[str, tuple[Problem, ...]]) -> None:
    listed = [
        {"experiment": given, "valid": not problems, "problems": [asdict(problem) for problem in problems]}
        for given, problems in found.items()
    ]
    print(json.dumps(listed, indent=2))
