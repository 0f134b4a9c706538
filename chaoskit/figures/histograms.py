"""Latency histograms: at most 0.1 % wrong from 1 µs to 60 s, and mergeable.

Recorded in ns, because a bucket of 1 µs is no three digits at 3 µs. Longer values count in the 60 s bucket; the maximum
is exact at any length.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from math import sqrt

from hdrh.histogram import HdrHistogram

from chaoskit.results import Percentiles

LONGEST_NS = 60_000_000_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
_DIGITS = 3
_PER_MILLE = (500, 900, 990, 999)


class Latencies:
    """A histogram of durations. `censored` ones lasted at least as long as recorded."""

    __slots__ = ("_histogram", "_longest_ns", "_squares", "_sum_ns", "censored", "count")

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, LONGEST_NS, _DIGITS)
        self._longest_ns = 0
        self._sum_ns = 0
        self._squares = 0  # their sum, exact like every int
        self.count = 0
        self.censored = 0

    def record(self, duration_ns: int, *, censored: bool = False) -> None:
        """Add one duration; below 1 ns counts as 1 ns."""
        self._histogram.record_value(min(max(duration_ns, 1), LONGEST_NS))
        self._longest_ns = max(self._longest_ns, duration_ns)
        self._sum_ns += duration_ns
        self._squares += duration_ns * duration_ns
        self.count += 1
        self.censored += censored

    def add(self, other: Latencies) -> None:
        """Merge another histogram into this one."""
        self._histogram.add(other._histogram)
        self._longest_ns = max(self._longest_ns, other._longest_ns)
        self._sum_ns += other._sum_ns
        self._squares += other._squares
        self.count += other.count
        self.censored += other.censored

    def percentiles(self, unit_ns: int = NS_PER_MS) -> Percentiles:
        """In units of `unit_ns`; no percentile is above the maximum."""
        if not self.count:
            return Percentiles()
        p50, p90, p99, p99_9 = (min(value, self._longest_ns) / unit_ns for value in self._values())
        longest = self._longest_ns / unit_ns
        variance = (self._squares - self._sum_ns * self._sum_ns / self.count) / self.count
        return Percentiles(
            count=self.count, p50=p50, p90=p90, p99=p99, p99_9=p99_9, max=longest, censored=self.censored,
            stddev=sqrt(max(variance, 0.0)) / unit_ns,
        )  # fmt: skip

    def _values(self) -> Iterator[int]:
        """At each percentile, in ns, the smallest value that enough others do not exceed. The library would go through
        its 27,000 buckets in Python for each of them."""
        reached = list(accumulate(self._histogram.counts[:]))
        for per_mille in _PER_MILLE:
            bucket = bisect_left(reached, -(-per_mille * self.count // 1000))
            value = self._histogram.get_value_from_index(bucket)
            yield self._histogram.get_highest_equivalent_value(value)


def p99_of(durations_ns: Sequence[int]) -> int | None:
    """Exact P99 by nearest rank, for the few values of one second. None of nothing."""
    if not durations_ns:
        return None
    return sorted(durations_ns)[max(0, -(-99 * len(durations_ns) // 100) - 1)]
