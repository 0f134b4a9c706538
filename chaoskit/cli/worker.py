"""`chaoskit worker`: make a share of the load of a run on another machine."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from chaoskit.cli.remote import parse_address
from chaoskit.clusters.procfs import markers, need_linux
from chaoskit.errors import InvalidExperiment, LoadError, Problem
from chaoskit.load import joining
from chaoskit.load.token import VARIABLE, given_token
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.units import parse_duration
from chaoskit.verdict import ExitCode


def worker(
    master: Annotated[str, typer.Option("--master", metavar="HOST:PORT", help="Where the run listens: its --listen.")],
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help=f"The run's token, readable by its owner alone; or set ${VARIABLE}."),
    ] = None,
    wait: Annotated[str, typer.Option("--wait", help="How long to wait for the run to begin.")] = "5m",
    stay: Annotated[bool, typer.Option("--stay", help="Serve one run after the other, until Ctrl-C.")] = False,
) -> None:
    """Make a share of the load of a run that was started on another machine with --remote-workers.

    It gets its orders from there and hands its history over while it runs; nothing is kept here. Both sides need the
    same version of chaoskit and the same token. When the run ends or its master goes away, the load ends at once.
    """
    need_linux()
    address = parse_address(master, "--master")
    token = given_token(token_file)
    if token is None:
        what = f"the run's token is needed: set {VARIABLE}, or give a file; the run says where its own is"
        raise InvalidExperiment([Problem("", what, "--token-file")])
    patience_s = _patience(wait)
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopped.append(number))
    while not stopped:
        try:
            _serve(address, token, patience_s, stopped)
        except LoadError as error:
            if not stay:
                raise
            _say(str(error))
        if not stay and not stopped:
            _say("done")
            return
    _say("stopped")
    raise typer.Exit(ExitCode.INTERRUPTED if stopped[0] == signal.SIGINT else ExitCode.TERMINATED)


def _serve(address: tuple[str, int], token: str, patience_s: float, stopped: list[int]) -> None:
    """One run."""
    _say(f"asking for a place at {address[0]}:{address[1]}")
    welcome = joining.join(address, token, patience_s, lambda: bool(stopped))
    if welcome:
        order = welcome.load_order()
        environment = {**CLIENTS[order.client]().environment, **markers(order.run_id)}
        joining.work(welcome, address, token, environment, _say, lambda: bool(stopped))


def _patience(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidExperiment([Problem("", str(error), "--wait")]) from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
