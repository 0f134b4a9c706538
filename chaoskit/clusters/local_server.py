"""One server as a process of this machine: a member of the process backend, or its Toxiproxy."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from chaoskit.clusters.children import Child, Spawner, Surroundings
from chaoskit.clusters.member import ServerState
from chaoskit.clusters.procfs import usage
from chaoskit.contracts import MemberResources
from chaoskit.errors import InfrastructureError

_TERM_DEADLINE_S = 10.0
_PAUSE_DEADLINE_S = 5.0  # until SIGSTOP shows in /proc; at once on an idle machine


class LocalServer:
    """contracts of `member.Server`; every start is a new process with the same command line."""

    def __init__(
        self,
        argv: Sequence[str],
        spawner: Spawner,
        log: Path,
        place: Surroundings | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._argv = tuple(argv)
        self._spawner = spawner
        self._log = log
        self._place = place
        self._environment = environment
        self._child: Child | None = None

    def start(self) -> None:
        self._child = self._spawner.start(self._argv, self._log, self._place, self._environment)

    def stop(self, how: Literal["KILL", "TERM"]) -> str:
        if self._child is None or self._child.state() == "down":
            return ""
        patience = ""
        if how == "TERM" and self._child.state() == "running":
            began = time.monotonic()
            self._child.signal(signal.SIGTERM)
            if self._child.ended(_TERM_DEADLINE_S):
                return f"SIGTERM, it went after {time.monotonic() - began:.1f} s"
            patience = f", {_TERM_DEADLINE_S:g} s after SIGTERM"
        self._child.kill()
        return f"SIGKILL{patience}"

    def pause(self) -> None:
        assert self._child is not None, "only what was started can be paused"
        self._child.signal(signal.SIGSTOP)
        deadline = time.monotonic() + _PAUSE_DEADLINE_S
        while self._child.state() == "running":
            if time.monotonic() > deadline:
                raise InfrastructureError(f"process {self._child.pid} still runs {_PAUSE_DEADLINE_S:g} s after SIGSTOP")
            time.sleep(0.002)

    def resume(self) -> None:
        assert self._child is not None, "only what was started can go on"
        self._child.signal(signal.SIGCONT)

    def state(self) -> ServerState:
        return self._child.state() if self._child else "down"

    def pid(self) -> int:
        child = self._child
        return child.pid if child and child.state() != "down" else 0

    def resources(self) -> MemberResources | None:
        return usage(self._child.identity) if self._child else None

    def how_it_ended(self) -> str:
        return self._child.how_it_ended() if self._child else ""

    def last_words(self) -> str:
        return self._child.last_words() if self._child else "it was never started"
