"""When operations are due, and what chance decides about each.

Pure: the same seed gives the same arrivals, whatever the cluster does and whichever client takes which arrival.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, takewhile
from random import Random
from typing import NamedTuple

from chaoskit.load.order import Arrivals

_S = 1_000_000_000
_MASK = (1 << 64) - 1


class Arrival(NamedTuple):
    due_ns: int
    chance: int  # 64 random bits: where the choices that belong to this arrival begin


class Schedule:
    """The open model: due times that nothing delays. All clients of one workload take from one schedule, in order."""

    def __init__(self, rate_per_s: float, arrivals: Arrivals, seed: str, zero_ns: int) -> None:
        self._rng = Random(seed)
        due = self._poisson(rate_per_s, zero_ns) if arrivals == "poisson" else self._uniform(rate_per_s, zero_ns)
        self._arrivals = (Arrival(due_ns, self._rng.getrandbits(64)) for due_ns in due)
        self.take = self._arrivals.__next__
        """The next arrival that nobody has taken. There is always one."""

    def untaken(self, until_ns: int) -> tuple[int, ...]:
        """Due times up to `until_ns` that nobody took. Ends the schedule."""
        return tuple(arrival.due_ns for arrival in takewhile(lambda a: a.due_ns <= until_ns, self._arrivals))

    def _uniform(self, rate_per_s: float, zero_ns: int) -> Iterator[int]:
        phase = self._rng.random()  # so that two workloads of one rate are not due at the same instants
        return (zero_ns + round((number + phase) * _S / rate_per_s) for number in count())

    def _poisson(self, rate_per_s: float, zero_ns: int) -> Iterator[int]:
        due_s = 0.0
        while True:
            due_s += self._rng.expovariate(rate_per_s)
            yield zero_ns + round(due_s * _S)


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
        bits = drawn = 0
        while drawn < k:
            bits = bits << 32 | self._state >> 32
            self._state = self._state * 6364136223846793005 + 1442695040888963407 & _MASK
            drawn += 32
        return bits >> drawn - k

    def random(self) -> float:
        return self.getrandbits(53) / (1 << 53)
