"""One member of any backend: started, stopped, paused, and watched for an end that nobody asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from chaoskit.clusters.harm import WantedMember
from chaoskit.contracts import Limit, MemberLimits, MemberProcess, MemberResources
from chaoskit.errors import BedLost, InfrastructureError

ServerState = Literal["running", "paused", "down"]

_DYING_S = 0.3  # how long a member may be in its death throes after what it dies of was taken away
_NO_SPACE = "no space left on device"  # as every program of Go has it in its log
_LATE_NEWS_S = 5.0  # what a container daemon may need to tell of a death


class Server(Protocol):
    """One server program, wherever it lives. Everything that changes it returns when it has changed."""

    def start(self) -> None: ...

    def stop(self, how: Literal["KILL", "TERM"]) -> str:
        """SIGKILL, or SIGTERM and SIGKILL when that takes too long; a paused one is killed. Idempotent.

        Returns how it ended: "SIGKILL", "SIGTERM after 0.3 s", "SIGKILL, 10 s after SIGTERM"; "" when it was down.
        """

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def state(self) -> ServerState: ...

    def pid(self) -> int:
        """0 when down."""

    def resources(self) -> MemberResources | None:
        """What it has used; None when it is down."""

    def how_it_ended(self) -> str:
        """In one line; "" while it runs."""

    def last_words(self) -> str:
        """How it ended, if it has, and the end of its log."""


class Bounds(Protocol):
    """What one member may use, wherever it lives, and how much of it is left to it."""

    def limit(self, limits: Mapping[Limit, int]) -> None:
        """Exactly these limits from now on. Raises FaultNotProven where the kernel refuses one."""

    def limits(self) -> MemberLimits: ...

    def fill(self, free_bytes: int | None) -> None:
        """Fill its data disk until no more is free than this; None: take away what fills it."""

    def write_seconds(self, size: int) -> float: ...

    def disk_refusal(self, size: int) -> str: ...

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed it since its limit was set."""


class Member:
    """Thread-safe; `settle` moves it to what is wanted, and everything else only looks."""

    def __init__(self, name: str, server: Server, bounds: Bounds) -> None:
        self.name = name
        self._server = server
        self._bounds = bounds
        self._lock = threading.Lock()  # held while it changes, which for SIGTERM takes seconds
        self._starts = 0
        self._meant_to_run = False
        self._mourned = 0  # the start whose unwanted end has been told
        self._harmed = WantedMember()  # by what limits and full disk it is held
        self._unsure = False  # whether it is: the last change was not carried out to its end
        self._fell = False  # it died of them, which is no accident, and is to be started when they are gone
        self._lifted = -_LATE_NEWS_S  # when they were last gone
        self._end = ""

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
            try:
                self._harm(wanted)
            finally:  # whatever the kernel refuses of a limit, it still has to run or not
                self._move(wanted)
            return told

    def _harm(self, wanted: WantedMember) -> None:
        """Limits and the data disk, before it is started: what died of them must find them gone."""
        before, unsure = self._harmed, self._unsure
        self._unsure = True
        if wanted.deadly and not before.deadly:
            self._end = ""  # from now on: of this
        if wanted.deadly:
            self._harmed = wanted  # first, because it may die of it at once
        if unsure or wanted.limits != before.limits:
            self._bounds.limit(dict(wanted.limits))
        if unsure or wanted.disk_free != before.disk_free:
            self._bounds.fill(wanted.disk_free)
        if before.deadly:
            self._notice_death(0 if wanted.deadly else _DYING_S)
            self._lifted = time.monotonic()
        self._harmed, self._unsure = wanted, False

    def _notice_death(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while self._meant_to_run and not self._fell and self._mourned != self._starts:
            if self._server.state() == "down":
                self._fell, self._end = True, self._how_it_fell()
            elif time.monotonic() > deadline:
                return
            else:
                time.sleep(0.01)

    def _move(self, wanted: WantedMember) -> None:
        if wanted.state == "down":
            self._stop(wanted.signal)
            return
        if not self._meant_to_run or (self._fell and not wanted.deadly):  # one that ended by itself is left as it is
            self._start()
        state = self._server.state()
        if wanted.state == "paused" and state == "running":
            self._server.pause()
        elif wanted.state == "running" and state == "paused":
            self._server.resume()

    def process(self) -> MemberProcess:
        state = self._server.state()
        if state == "down" and self._harmed.deadly and self._meant_to_run and not self._end:
            self._end = self._how_it_fell()
        return MemberProcess(state, 0 if state == "down" else self._server.pid(), self._starts, self._end)

    def limits(self) -> MemberLimits:
        return self._bounds.limits()

    def write_seconds(self, size: int) -> float:
        return self._bounds.write_seconds(size)

    def disk_refusal(self, size: int) -> str:
        return self._bounds.disk_refusal(size)

    def resources(self) -> MemberResources | None:
        return self._server.resources()

    @property
    def may_die(self) -> bool:
        """Its death would be no accident, or news of one that was none."""
        return self._harmed.deadly or self._fell or time.monotonic() - self._lifted < _LATE_NEWS_S

    def unwanted_end(self) -> str | None:
        """Told once: that it ended, nobody had asked for it and nothing was done to it that it could die of."""
        start = self._starts
        if self._harmed.deadly or self._fell:
            return None
        if not self._meant_to_run or self._mourned == start or self._server.state() != "down":
            return None
        if not self._meant_to_run:  # somebody asked for it while we looked
            return None
        self._mourned = start
        return f"member {self.name} died by itself: {self._server.last_words()}"

    def last_words(self) -> str:
        return self._server.last_words()

    def _start(self) -> None:
        fell = False
        try:
            self._server.start()
        except BedLost:
            raise
        except InfrastructureError as error:
            if not self._harmed.deadly:
                raise
            fell, self._end = True, str(error)
        self._starts += 1
        self._meant_to_run = True
        self._fell = fell  # not before: whoever looks meanwhile must not take it for an accident
        if self._harmed.limits and not fell:
            self._bounds.limit(dict(self._harmed.limits))  # a container's cgroup is a new one

    def _how_it_fell(self) -> str:
        how = self._server.how_it_ended()
        if self._bounds.out_of_memory():
            return f"{how}: the kernel killed it for want of memory"
        full = self._harmed.disk_free is not None and _NO_SPACE in self._server.last_words()
        return f"{how}: {_NO_SPACE}" if full else how

    def _stop(self, how: Literal["KILL", "TERM"]) -> None:
        self._meant_to_run = self._fell = False
        self._end = self._server.stop(how) or self._end
