"""When operations are due, and what chance decides about each.

Pure: the same seed gives the same arrivals, whatever the cluster does and whichever client takes which arrival.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, dropwhile, islice, takewhile
from random import Random
from typing import NamedTuple

from chaoskit.load.order import Arrivals
from chaoskit.load.share import WHOLE, Lane
from chaoskit.shapes import Shape

_S = 1_000_000_000
_NEVER_S = 1e9  # longer than a machine runs
_NEVER_NS = 1 << 62
_MASK = (1 << 64) - 1


class Arrival(NamedTuple):
    due_ns: int
    chance: int  # 64 random bits: where the choices that belong to this arrival begin
    place: int  # in the schedule of all workers


class Schedule:
    """The open model: due times that nothing delays. All clients of one workload take from one schedule, in order.

    Counts of calls are laid out first, one apart or like those of a Poisson process of rate 1, and the shape says when
    so many calls are due: under any shape the arrivals of an interval match the integral of the rate over it. With
    several workers each draws all arrivals and takes those of its own `lane`, from `from_ns` on.
    """

    def __init__(
        self, shape: Shape, arrivals: Arrivals, seed: str, zero_ns: int, lane: Lane = WHOLE.arrivals, from_ns: int = 0
    ) -> None:
        self._rng = Random(seed)
        counts = self._poisson() if arrivals == "poisson" else self._uniform()
        dues = (zero_ns + round(due_s * _S) if due_s < _NEVER_S else _NEVER_NS for due_s in shape.moments(counts))
        everybodys = (Arrival(due_ns, self._rng.getrandbits(64), place) for place, due_ns in enumerate(dues))
        ours = islice(everybodys, lane.first, None, lane.step)
        self._arrivals = dropwhile(lambda arrival: arrival.due_ns < from_ns, ours)
        self.take = self._arrivals.__next__
        """The next arrival that nobody has taken. There is always one, though it may never be due."""
        self.ended_ns = 0  # from then on nothing of it is due

    def end(self, now_ns: int) -> tuple[int, ...]:
        """Nobody takes another arrival. Due times up to now that nobody took."""
        self.ended_ns = now_ns
        return tuple(arrival.due_ns for arrival in takewhile(lambda a: a.due_ns <= now_ns, self._arrivals))

    def _uniform(self) -> Iterator[float]:
        phase = self._rng.random()  # so that two workloads of one rate are not due at the same instants
        return (number + phase for number in count())

    def _poisson(self) -> Iterator[float]:
        calls = 0.0
        while True:
            calls += self._rng.expovariate(1.0)
            yield calls


class Choices(Random):
    """A source of choices that restarts at each arrival from that arrival's own bits.

    Reseeding a Mersenne Twister costs 5 µs, a quarter of a native call; this is Knuth's 64-bit linear congruential
    generator (MMIX), of which the high bits are good, and its first draw is the arrival's own.
    """

    def __init__(self, seed: str) -> None:
        super().__init__()
        self.restart(Random(seed).getrandbits(64))

    def restart(self, chance: int) -> None:
        self._state = chance

    def getrandbits(self, k: int, /) -> int:
        if k <= 32:  # nearly always; the loop would say the same
            bits = self._state >> 64 - k
            self._state = self._state * 6364136223846793005 + 1442695040888963407 & _MASK
            return bits
        bits = drawn = 0
        while drawn < k:
            bits = bits << 32 | self._state >> 32
            self._state = self._state * 6364136223846793005 + 1442695040888963407 & _MASK
            drawn += 32
        return bits >> drawn - k

    def random(self) -> float:
        return self.getrandbits(53) / (1 << 53)
