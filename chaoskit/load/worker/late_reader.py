"""How a slow watch reads: not before its time comes. While it waits nobody reads its stream, so the server feels it."""

from __future__ import annotations

from time import monotonic

from gevent.event import Event

from chaoskit.contracts import LateReading


class LateReader:
    """Of one watch. `over`: everybody reads as fast as they can, because the load has stopped."""

    def __init__(self, late: LateReading, over: Event) -> None:
        self._late = late
        self._over = over
        self._began = monotonic()
        self._free = 0.0  # when what was read last is dealt with

    def wait(self) -> None:
        """Until the next response may be read."""
        while not self._over.is_set() and (seconds := self.seconds_left(monotonic())) > 0:
            self._over.wait(seconds)

    def took(self, events: int) -> None:
        if self._late.rate_per_s:
            self._free = max(monotonic(), self._free) + events / self._late.rate_per_s

    def seconds_left(self, now: float) -> float:
        return max(self._free - now, self._stop_left(now))

    def _stop_left(self, now: float) -> float:
        """It reads first, then stops until the next turn begins."""
        if not self._late.stop_s:
            return 0.0
        into = (now - self._began) % self._late.every_s
        return self._late.every_s - into if into >= self._late.every_s - self._late.stop_s else 0.0
