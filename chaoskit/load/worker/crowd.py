"""One worker's simulated clients of one workload: they share a schedule, a beginning and an end."""

from __future__ import annotations

from itertools import count

from gevent.event import Event

from chaoskit.contracts import Workload
from chaoskit.history import ClosedModel, Unsent
from chaoskit.load.order import Arrivals
from chaoskit.load.share import WHOLE, Share
from chaoskit.load.worker.schedule import Schedule
from chaoskit.shapes import Closed, Shape

_S = 1_000_000_000
_DUES_PER_RECORD = 10_000


class Crowd:
    """`begun` lets its clients start, `ended_ns` (0 until then) makes them stop."""

    def __init__(
        self,
        workload: Workload,
        *,
        seed: str,
        arrivals: Arrivals,
        first_client: int,
        warmup_s: float = 0.0,
        burst: bool = False,
        share: Share = WHOLE,
    ) -> None:
        self.workload = workload
        self.seed = seed
        self.burst = burst  # waits for its beginning with everything, not just with its arrivals
        self.numbers = tuple(share.numbers(workload.clients()))  # of our clients within the workload
        self.first_client = first_client  # so that a client's number in the history is its own
        self.begun = Event()
        self.ended = Event()
        self.ended_ns = 0
        self.pace = workload.pace()
        self.schedule: Schedule | None = None  # of the open model, once begun
        self.next_turn = count(*share.arrivals).__next__  # numbers the calls of the closed model
        self._arrivals: Arrivals = arrivals
        self._lane = share.arrivals
        self._warmup_s = warmup_s

    @property
    def self_paced(self) -> bool:
        return self.pace is None

    @property
    def size(self) -> int:
        return len(self.numbers)

    def begin(self, zero_ns: int, worker: int, from_ns: int = 0) -> list[ClosedModel]:
        """`zero_ns` is the schedule's zero, the same for all workers; what is due before `from_ns` was another's.
        Returns what the history must know of the beginning."""
        if self.begun.is_set():
            return []
        told = []
        if isinstance(self.pace, Shape):
            shape = self.pace.after(self._warmup_s)
            self.schedule = Schedule(shape, self._arrivals, self.seed, zero_ns, self._lane, from_ns)
        elif isinstance(self.pace, Closed):
            kinds = self.workload.operations
            begins_ns = max(zero_ns, from_ns)
            told = [ClosedModel(worker, kind, self.size, round(self.pace.think_s * _S), begins_ns) for kind in kinds]
        self.begun.set()
        return told

    def turn_to(self, shape: Shape, turn: str, zero_ns: int, worker: int) -> list[Unsent]:
        """Another rate from `zero_ns` on, with arrivals of its own; returns what of the old one found no client."""
        if self.ended_ns or not self.schedule:
            return []
        unsent = self._give_up(zero_ns, worker)
        self.schedule = Schedule(shape, self._arrivals, f"{self.seed} {turn}", zero_ns, self._lane)
        return unsent

    def turn_back(self, turn: str, zero_ns: int, worker: int) -> list[Unsent]:
        """Its own rate again."""
        assert isinstance(self.pace, Shape)
        return self.turn_to(self.pace, turn, zero_ns, worker)

    def end(self, now_ns: int, worker: int) -> list[Unsent]:
        """Nobody takes another arrival; returns those that were due and found no client."""
        if self.ended_ns:
            return []
        self.ended_ns = now_ns
        self.ended.set()
        self.begun.set()  # who still waits for the beginning may leave
        return self._give_up(now_ns, worker)

    def _give_up(self, now_ns: int, worker: int) -> list[Unsent]:
        dues = self.schedule.end(now_ns) if self.schedule else ()
        return [
            Unsent(worker, self.workload.operations[0], dues[first : first + _DUES_PER_RECORD], now_ns)
            for first in range(0, len(dues), _DUES_PER_RECORD)
        ]
