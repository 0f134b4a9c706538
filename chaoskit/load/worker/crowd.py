"""All simulated clients of one workload: they share a schedule, a beginning and an end."""

from __future__ import annotations

from gevent.event import Event

from chaoskit.contracts import Workload
from chaoskit.history import Unsent
from chaoskit.load.order import Arrivals
from chaoskit.load.worker.schedule import Schedule

_DUES_PER_RECORD = 10_000


class Crowd:
    """`begun` lets its clients start, `ended_ns` (0 until then) makes them stop."""

    def __init__(
        self, workload: Workload, *, seed: str, arrivals: Arrivals, first_client: int, burst: bool = False
    ) -> None:
        self.workload = workload
        self.seed = seed
        self.burst = burst  # waits for its beginning with everything, not just with its arrivals
        self.size = workload.clients()
        self.first_client = first_client  # so that a client's number in the history is its own
        self.begun = Event()
        self.ended = Event()
        self.ended_ns = 0
        self.schedule: Schedule | None = None
        self._arrivals: Arrivals = arrivals

    @property
    def self_paced(self) -> bool:
        return self.workload.rate_per_s() is None

    def begin(self, now_ns: int) -> None:
        """`now_ns` is the schedule's zero."""
        if self.begun.is_set():
            return
        if (rate_per_s := self.workload.rate_per_s()) is not None:
            self.schedule = Schedule(rate_per_s, self._arrivals, self.seed, now_ns)
        self.begun.set()

    def end(self, now_ns: int, worker: int) -> list[Unsent]:
        """Nobody takes another arrival; returns those that were due and found no client."""
        if self.ended_ns:
            return []
        self.ended_ns = now_ns
        self.ended.set()
        self.begun.set()  # who still waits for the beginning may leave
        dues = self.schedule.untaken(now_ns) if self.schedule else ()
        return [
            Unsent(worker, self.workload.operations[0], dues[first : first + _DUES_PER_RECORD], now_ns)
            for first in range(0, len(dues), _DUES_PER_RECORD)
        ]
