"""The backends that tests run over, and what an operator could do to each behind chaoskit's back.

`CHAOSKIT_TEST_BACKENDS=process,docker` is an order: those and no others, and what is missing for them is a failure.
Without it, the tests of a backend that cannot work here are skipped, and say why.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from chaoskit.clusters import BACKENDS
from chaoskit.clusters.docker_daemon import Daemon, endpoint
from chaoskit.clusters.procfs import Identity, marked_processes

_ORDERED = os.environ.get("CHAOSKIT_TEST_BACKENDS")


class Hands(Protocol):
    """What can be done to a run's servers, "n1" or "toxiproxy", without asking the cluster."""

    def signal(self, run_id: str, server: str, number: signal.Signals) -> None: ...

    def log(self, run_dir: Path, run_id: str, server: str) -> str: ...

    def left(self, run_id: str = "") -> list[str]:
        """Everything that is there of one run, or of any."""


class LocalHands:
    def signal(self, run_id: str, server: str, number: signal.Signals) -> None:
        os.kill(self._pid(run_id, server), number)

    def log(self, run_dir: Path, run_id: str, server: str) -> str:
        return (run_dir / "logs" / f"{server}.log").read_text()

    def left(self, run_id: str = "") -> list[str]:
        return [f"{each.name} {each.identity}" for each in marked_processes() if each.run_id == run_id or not run_id]

    def _pid(self, run_id: str, server: str) -> int:
        """A member's command line names it; the kernel keeps 15 letters of a program's name."""
        for each in marked_processes():
            if each.run_id == run_id:
                arguments = Path(f"/proc/{each.identity.pid}/cmdline").read_text().split("\0")
                if f"--name={server}" in arguments or (server, each.name) == ("toxiproxy", "toxiproxy-serve"):
                    return each.identity.pid
        raise AssertionError(f"run {run_id} has no {server}")


class DockerHands:
    def __init__(self) -> None:
        self.client: Any = Daemon(endpoint().url).client

    def container(self, run_id: str, server: str) -> Any:
        return self.client.containers.get(f"chaoskit-{run_id}-{server}")

    def signal(self, run_id: str, server: str, number: signal.Signals) -> None:
        self.container(run_id, server).kill(number.name)

    def log(self, run_dir: Path, run_id: str, server: str) -> str:
        return str(self.container(run_id, server).logs().decode())

    def left(self, run_id: str = "", but_of_others: bool = False) -> list[str]:
        filters = {"label": f"chaoskit.run={run_id}" if run_id else "chaoskit.run"}
        client = self.client
        things = [
            *client.containers.list(all=True, filters=filters, ignore_removed=True),
            *client.networks.list(filters=filters),
            *client.volumes.list(filters=filters),
        ]
        return [
            f"{type(thing).__name__.lower()} {thing.name}"
            for thing in things
            if not (but_of_others and _of_a_live_run_elsewhere(thing))
        ]


def _of_a_live_run_elsewhere(thing: Any) -> bool:
    labels = thing.attrs.get("Labels") or thing.attrs.get("Config", {}).get("Labels") or {}
    owner = Identity.parse(labels.get("chaoskit.owner", ""))
    return owner is not None and owner.pid != os.getpid() and owner.alive


HANDS = {"process": LocalHands, "docker": DockerHands}


def _each() -> Iterator[Any]:
    for name, make in BACKENDS.items():
        if name in HANDS and (not _ORDERED or name in _ORDERED.split(",")):
            missing = [] if _ORDERED else make().missing()
            yield pytest.param(name, marks=[pytest.mark.skip(reason="; ".join(missing))] if missing else [])


EACH_BACKEND = list(_each())
"""For `@pytest.fixture(params=…)` and `parametrize`."""

DOCKER_MISSING = "" if "docker" in (_ORDERED or "") else "; ".join(BACKENDS["docker"]().missing())
needs_docker = pytest.mark.skipif(bool(DOCKER_MISSING), reason=DOCKER_MISSING or "it is here")


def containers_left() -> list[str]:
    """What runs of this test session have at the daemon, if there is one; somebody else's live run is not ours."""
    return [] if DOCKER_MISSING else DockerHands().left(but_of_others=True)
