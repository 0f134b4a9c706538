"""People's door. One verb is one file with one function; the table below is all that has to know it.

A verb's module is imported when the verb is asked for, so `chaoskit list` does not pay for what `run` needs.
A mistake of the user ends as a message on stderr and the error's exit code, never as a traceback.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from chaoskit import __version__
from chaoskit.cli.web_ui import with_default_port
from chaoskit.errors import ChaoskitError
from chaoskit.verdict import ExitCode

VERBS = {
    "run": "chaoskit.cli.run:run",
    "plan": "chaoskit.cli.plan:plan",
    "validate": "chaoskit.cli.validate:validate",
    "judge": "chaoskit.cli.judge:judge",
    "report": "chaoskit.cli.report:report",
    "history": "chaoskit.cli.history:history",
    "worker": "chaoskit.cli.worker:worker",
    "clean": "chaoskit.cli.clean:clean",
    "doctor": "chaoskit.cli.doctor:doctor",
    "list": "chaoskit.cli.list:list_",
    "schema": "chaoskit.cli.schema:schema",
}

_READER_GONE = 128 + signal.SIGPIPE  # as a shell calls programs that SIGPIPE ended


class _Verbs(TyperGroup):
    """The table as commands."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002  typer's own
        return [*VERBS]  # once its module is imported, the name `list` in here is the verb

    def get_command(self, ctx: typer.Context, name: str) -> TyperCommand | None:  # type: ignore[override]  # noqa: ARG002
        if name not in VERBS:
            return None
        module, _, function = VERBS[name].partition(":")
        found = getattr(import_module(module), function)
        if isinstance(found, typer.Typer):  # verbs of its own
            return typer.main.get_command(found)  # type: ignore[return-value]
        verb = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        verb.command(name)(found)
        return typer.main.get_command(verb)  # type: ignore[return-value]


app = typer.Typer(cls=_Verbs, pretty_exceptions_enable=False, add_completion=False, no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"chaoskit {__version__}")
        raise typer.Exit


@app.callback()
def _chaoskit(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Breaks an etcd cluster on purpose, under load, and says what it cost."""


def _make_streams_usable() -> None:
    """A closed stream swallows what is printed; an encoding that lacks a character gets an escape for it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115  open until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line; ends the process with one of the exit codes of `verdict.ExitCode`."""
    _make_streams_usable()
    try:
        app(with_default_port(sys.argv[1:]))
    except SystemExit as end:  # typer's answer to a closed pipe is 1, which here means that the cluster misbehaved
        sys.exit(_READER_GONE if isinstance(end.__context__, BrokenPipeError) else end.code)
    except ChaoskitError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # a full or read-only disk, a folder where a file should be: the machine's, not ours
        print(f"{error.filename or 'input or output'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(ExitCode.INFRASTRUCTURE)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:  # Python's own exit code for it is 1, which here means that the cluster misbehaved
        traceback.print_exc()
        print(
            "this is a defect of chaoskit, not of the cluster; please report it with the lines above", file=sys.stderr
        )
        sys.exit(ExitCode.INFRASTRUCTURE)
