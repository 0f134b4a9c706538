"""The options by which a run has workers on other machines, and how they become an address and a token."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from chaoskit.clusters import AUTO
from chaoskit.clusters.journal import state_dir
from chaoskit.errors import InvalidExperiment, Problem
from chaoskit.experiment.plan import Plan
from chaoskit.load.remote import DEFAULT_PORT
from chaoskit.load.token import VARIABLE, given_token, kept_token
from chaoskit.runner.order import Elsewhere

RemoteWorkers = Annotated[
    int, typer.Option("--remote-workers", min=0, help="How many of load.workers come from other machines.")
]
Listen = Annotated[
    str,
    typer.Option(
        "--listen",
        metavar="ADDRESS:PORT",
        help="Where they join. With an address that is not loopback, the processes of the run's cluster listen there, "
        "too, for the run's time and without any password.",
    ),
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help=f"What they need to join; or set ${VARIABLE}. Made if not given.")
]
DEFAULT_LISTEN = f"127.0.0.1:{DEFAULT_PORT}"
_PORTS = 65535
_REACHABLE = ("process", "external")


def elsewhere_of(plans: Sequence[Plan], workers: int, listen: str, token_file: Path | None) -> Elsewhere | None:
    """None when all workers are here. Raises InvalidExperiment with what does not fit."""
    if not workers:
        return None
    for plan in plans:
        if workers > plan.load.workers:
            raise _refused(
                f"{plan.name} divides its load among {plan.load.workers}; --set load.workers={workers} or more makes "
                f"it so many",
                "--remote-workers",
            )
    address = _own_address(parse_address(listen, "--listen"))
    token = given_token(token_file)
    if token is None:
        token_file = state_dir() / "worker-token"
        token = kept_token(token_file)
    exposed = not ipaddress.ip_address(address[0]).is_loopback
    return Elsewhere(workers, address, token, exposed, tuple(_invitation(workers, address, token_file)))


def reachable(plan: Plan, elsewhere: Elsewhere | None) -> Plan:
    """The plan on a backend whose members other machines can reach, if they have to. Raises InvalidExperiment."""
    if elsewhere is None or not elsewhere.exposed or plan.cluster.backend in _REACHABLE:
        return plan
    if plan.cluster.backend == AUTO:
        return plan.on("process")
    raise _refused(
        f"members on the backend {plan.cluster.backend} cannot be reached from other machines; "
        f"--backend process has them listen at the address of --listen",
        "--listen",
    )


def _invitation(workers: int, address: tuple[str, int], token_file: Path | None) -> Iterator[str]:
    where = f"{address[0]}:{address[1]}"
    yield f"waiting for {workers} load worker{'s' * (workers > 1)} at {where}; on each other machine run"
    if token_file:
        yield f"  chaoskit worker --master {where} --token-file FILE"
        yield f"where FILE is a copy of {token_file.absolute()} that only its owner can read (chmod 600)"
    else:
        yield f"  {VARIABLE}=… chaoskit worker --master {where}"
        yield f"with the same {VARIABLE} as here"


def parse_address(text: str, option: str) -> tuple[str, int]:
    """`HOST:PORT`, or `HOST` with Locust's port. Raises InvalidExperiment."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, str(DEFAULT_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) <= _PORTS:
        raise _refused(f"{text!r} is not HOST:PORT, such as 10.0.0.1:{DEFAULT_PORT}", option)
    return host, int(port)


def _own_address(address: tuple[str, int]) -> tuple[str, int]:
    """Of this machine, as a number: the members' clients are told it."""
    host, port = address
    try:
        number = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise _refused(f"{host!r} is no address: {error.strerror}", "--listen") from error
    if ipaddress.ip_address(str(number)).is_unspecified:
        raise _refused(f"name one address of this machine: the other machines connect to it, {host} is all", "--listen")
    return str(number), port


def _refused(what: str, option: str) -> InvalidExperiment:
    return InvalidExperiment([Problem("", what, option)])
