"""`--web-ui[=PORT]`: Locust's own page beside a run."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Annotated

import typer

from chaoskit.errors import InvalidExperiment, Problem

OPTION = "--web-ui"
DEFAULT_PORT = 8089  # Locust's own

WebUi = Annotated[
    int | None,
    typer.Option(
        OPTION,
        min=1,
        max=65535,
        metavar="[=PORT]",
        show_default=False,
        help=f"Locust's own web UI on 127.0.0.1 while load runs, to look at ({DEFAULT_PORT} unless given).",
    ),
]


def with_default_port(arguments: Sequence[str]) -> list[str]:
    """`--web-ui` alone becomes `--web-ui=8089`: the command line library knows no option whose value may be missing."""
    return [f"{OPTION}={DEFAULT_PORT}" if argument == OPTION else argument for argument in arguments]


def check_port(port: int) -> None:
    """Raises InvalidExperiment where the page could not be shown, before anything starts."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            what = f"port {port} of 127.0.0.1 cannot be used: {error.strerror}; {OPTION}=PORT names another"
            raise InvalidExperiment([Problem("", what, OPTION)]) from None
