"""One member as a process of this machine: started, stopped, paused, and watched for an end that nobody asked for."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chaoskit.clusters.children import Child, Spawner
from chaoskit.clusters.harm import WantedMember
from chaoskit.contracts import MemberProcess
from chaoskit.errors import InfrastructureError

_TERM_DEADLINE_S = 10.0
_STOP_DEADLINE_S = 5.0  # until SIGSTOP shows in /proc; at once on an idle machine


class LocalMember:
    """Thread-safe; `settle` moves it to what is wanted, and everything else only looks."""

    def __init__(self, name: str, argv: Sequence[str], spawner: Spawner, log: Path, hosts: Path) -> None:
        self.name = name
        self._argv = tuple(argv)
        self._spawner = spawner
        self._log = log
        self._hosts = hosts
        self._lock = threading.Lock()  # held while it changes, which for SIGTERM takes seconds
        self._child: Child | None = None
        self._starts = 0
        self._meant_to_run = False
        self._mourned = 0  # the start whose unwanted end has been told

    def start(self) -> None:
        with self._lock:
            self._start()

    def stop(self) -> None:
        with self._lock:
            self._stop("KILL")

    def settle(self, want: Callable[[], WantedMember]) -> str | None:
        """Make it so; `want` is asked when it is this caller's turn, so that the last one to change it knows all.

        Returns what `unwanted_end` would have said before, because a stop hides it.
        """
        with self._lock:
            told, wanted = self.unwanted_end(), want()
            if wanted.state == "down":
                self._stop(wanted.signal)
                return told
            if not self._meant_to_run:  # one that ended by itself is left as it is, for everybody to see
                self._start()
            if wanted.state == "paused":
                self._pause()
            else:
                self._resume()
            return told

    def process(self) -> MemberProcess:
        child = self._child
        state = child.state() if child else "down"
        return MemberProcess(state, child.pid if child and state != "down" else 0, self._starts)

    def unwanted_end(self) -> str | None:
        """Told once: that it ended and nobody had asked for it."""
        child, start = self._child, self._starts
        if child is None or not self._meant_to_run or self._mourned == start or child.state() != "down":
            return None
        self._mourned = start
        return f"member {self.name} died by itself: {child.last_words()}"

    def last_words(self) -> str:
        return self._child.last_words() if self._child else "it was never started"

    def _start(self) -> None:
        self._child = self._spawner.start(self._argv, self._log, hosts=self._hosts)
        self._starts += 1
        self._meant_to_run = True

    def _stop(self, how: str) -> None:
        self._meant_to_run = False
        if self._child is None:
            return
        if how == "TERM" and self._child.state() == "running":
            self._child.signal(signal.SIGTERM)
            if self._child.ended(_TERM_DEADLINE_S):
                return
        self._child.kill()

    def _pause(self) -> None:
        assert self._child is not None, "a member that is meant to run was started"
        self._child.signal(signal.SIGSTOP)
        deadline = time.monotonic() + _STOP_DEADLINE_S
        while self._child.state() == "running":
            if time.monotonic() > deadline:
                raise InfrastructureError(f"member {self.name} still runs {_STOP_DEADLINE_S:g} s after SIGSTOP")
            time.sleep(0.002)

    def _resume(self) -> None:
        if self._child is not None and self._child.state() == "paused":
            self._child.signal(signal.SIGCONT)
