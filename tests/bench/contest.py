"""What is compared and how: cells, samples, pairs and ratios. Pure.

A round measures every contender of a cell once, one after another; two samples of one round are a pair. A ratio is
taken within each pair and its median over all rounds is what counts: whatever else the machine did in that minute was
done to both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec


class Cell(msgspec.Struct, frozen=True):
    """One line of the table: what is done, by how many clients at once, and how hard."""

    figure: str  # a name in FIGURES
    clients: int
    rate_per_s: int = 0  # offered; 0: as fast as it goes

    def __str__(self) -> str:
        return f"{self.figure}, {self.clients} clients" + (f", {self.rate_per_s}/s offered" * bool(self.rate_per_s))


FIGURES: dict[str, str] = {
    "put": "puts",
    "range-l": "linearizable reads",
    "range-s": "serializable reads",
    "txn": "transactions of one put",
    "watch": "watch events received",
    "keepalive": "lease keepalives",
}
"""Figure → what is counted."""


class Sample(msgspec.Struct, frozen=True):
    """One contender in one round of one cell."""

    operations: int  # acknowledged, or events received
    seconds: float
    cpu_s: float  # of the client's process
    rss_bytes: int  # largest resident set of that process
    p50_ms: float | None  # service time, from sending to the answer; None for watch events
    p99_ms: float | None
    errors: int = 0
    due_p99_ms: float | None = None  # response time, from when it was due; only where something was due

    @property
    def per_s(self) -> float:
        return self.operations / self.seconds

    @property
    def cpu_us(self) -> float:
        """Client CPU per operation."""
        return self.cpu_s / self.operations * 1e6


class Spread(NamedTuple):
    """Median, lowest and highest of all rounds."""

    median: float
    lowest: float
    highest: float


Measure = Callable[[Sample], float | None]

MEASURES: dict[str, Measure] = {
    "per_s": lambda sample: sample.per_s,
    "p99_ms": lambda sample: sample.p99_ms,
    "due_p99_ms": lambda sample: sample.due_p99_ms,
    "cpu_us": lambda sample: sample.cpu_us,
    "rss_mib": lambda sample: sample.rss_bytes / (1 << 20),
}


class Contest(msgspec.Struct):
    """Every sample of one cell: contender → its rounds, in order."""

    cell: Cell
    samples: dict[str, list[Sample]]
    left_out: dict[str, str] = {}  # contender → why it has no figure here

    def spread(self, contender: str, measure: str) -> Spread | None:
        """None when the contender did not take part or has no such figure."""
        return spread([MEASURES[measure](sample) for sample in self.samples.get(contender, ())])

    def ratio(self, contender: str, peer: str, measure: str) -> Spread | None:
        """Contender ÷ peer, within each round."""
        pairs = zip(self.samples.get(contender, ()), self.samples.get(peer, ()), strict=False)  # the last may be half
        return spread([_quotient(MEASURES[measure](ours), MEASURES[measure](theirs)) for ours, theirs in pairs])


def spread(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def turns(contenders: Sequence[str], number: int) -> list[str]:
    """Who goes when in round `number`: forwards and backwards in turn, so that nobody always follows the same one."""
    return list(contenders if number % 2 == 0 else reversed(contenders))


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed, as etcd's benchmark counts (nearest rank)."""
    rank = -(-len(sorted_values) * round(share * 1000) // 1000)
    return sorted_values[max(rank, 1) - 1]


def _quotient(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None
