"""One member of any backend: started, stopped, paused, and watched for an end that nobody asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, Protocol

from chaoskit.clusters.harm import WantedMember
from chaoskit.contracts import MemberProcess, MemberResources

ServerState = Literal["running", "paused", "down"]


class Server(Protocol):
    """One server program, wherever it lives. Everything that changes it returns when it has changed."""

    def start(self) -> None: ...

    def stop(self, how: Literal["KILL", "TERM"]) -> None:
        """SIGKILL, or SIGTERM and SIGKILL when that takes too long; a paused one is killed. Idempotent."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def state(self) -> ServerState: ...

    def pid(self) -> int:
        """0 when down."""

    def resources(self) -> MemberResources | None:
        """What it has used; None when it is down."""

    def last_words(self) -> str:
        """How it ended, if it has, and the end of its log."""


class Member:
    """Thread-safe; `settle` moves it to what is wanted, and everything else only looks."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self._server = server
        self._lock = threading.Lock()  # held while it changes, which for SIGTERM takes seconds
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
            state = self._server.state()
            if wanted.state == "paused" and state == "running":
                self._server.pause()
            elif wanted.state == "running" and state == "paused":
                self._server.resume()
            return told

    def process(self) -> MemberProcess:
        state = self._server.state()
        return MemberProcess(state, 0 if state == "down" else self._server.pid(), self._starts)

    def resources(self) -> MemberResources | None:
        return self._server.resources()

    def unwanted_end(self) -> str | None:
        """Told once: that it ended and nobody had asked for it."""
        start = self._starts
        if not self._meant_to_run or self._mourned == start or self._server.state() != "down":
            return None
        if not self._meant_to_run:  # somebody asked for it while we looked
            return None
        self._mourned = start
        return f"member {self.name} died by itself: {self._server.last_words()}"

    def last_words(self) -> str:
        return self._server.last_words()

    def _start(self) -> None:
        self._server.start()
        self._starts += 1
        self._meant_to_run = True

    def _stop(self, how: Literal["KILL", "TERM"]) -> None:
        self._meant_to_run = False
        self._server.stop(how)
