"""`chaoskit history export`: a run's history for other tools."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chaoskit.cli.judge import Out, Run
from chaoskit.cli.options import Json
from chaoskit.errors import InvalidExperiment, Problem, unknown
from chaoskit.history.export import FORMATS
from chaoskit.runner.rundir import RunDir

history = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@history.callback()
def _history() -> None:
    """What a run recorded: every operation, watch event and fault."""


@history.command()
def export(
    run: Run,
    format_: Annotated[
        str, typer.Option("--format", help="jsonl: one JSON object a line; parquet: one file for each kind of record.")
    ] = "jsonl",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="PATH", help="A file, or a folder with parquet; in the run directory unless given."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    out: Out = Path("reports"),
    json_: Json = False,
) -> None:
    """Write a run's history in a documented format (docs/history.md). Memory stays small, however long the run was."""
    if format_ not in FORMATS:
        raise InvalidExperiment([Problem("--format", unknown("format", format_, FORMATS))])
    rundir = RunDir.find(run, out)
    if not rundir.has_history():
        raise InvalidExperiment([Problem("", f"{rundir} has no history; the run did not get that far")])
    name, write = FORMATS[format_]
    target = to or rundir.path / name
    written = write(rundir.history, target, force=force)
    if json_:
        print(json.dumps({"path": str(target), "format": format_, **asdict(written)}, indent=2))
        return
    print(f"{written.records.total():,} records written to {target}", file=sys.stderr)
    for shard in written.torn_shards:
        print(f"{shard} ends in the middle of a record: what its writer had not flushed is missing", file=sys.stderr)
