"""Operations by kind and phase: rates, outcomes, latencies.

An operation belongs to the phase in which it was *due*; one that was under way when a fault was injected, to the moment
of the injection, because the calm before is not to blame for what the fault did. Percentiles are of acknowledged and
unknown operations, and of arrivals that were never sent; failed ones stay out, because an error within a millisecond
would flatter them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaoskit.figures.changes import call_of
from chaoskit.figures.histograms import Latencies
from chaoskit.figures.phases import NOWHERE, Phases
from chaoskit.history import History, Operation, Outcome
from chaoskit.results import OperationFigures


@dataclass(slots=True)
class Tally:
    """Counts of one kind of operation, mergeable."""

    ok: int = 0
    failed: int = 0
    unknown: int = 0
    unsent: int = 0
    conflicts: int = 0
    response: Latencies = field(default_factory=Latencies)
    service: Latencies = field(default_factory=Latencies)
    errors: Counter[str] = field(default_factory=Counter)

    def record(self, op: Operation, done_ns: int) -> None:
        """Count one operation; `done_ns` is the last moment that is known of it."""
        if op.error:
            self.errors[op.error] += 1
        if op.outcome is Outcome.FAILED:
            self.failed += 1
            return
        unknown = op.outcome is Outcome.UNKNOWN
        self.unknown += unknown
        self.ok += not unknown
        self.conflicts += not unknown and not op.succeeded and call_of(op.kind) == "txn"
        self.response.record(done_ns - op.due_ns, censored=unknown)
        self.service.record(done_ns - (op.sent_ns or op.due_ns), censored=unknown)

    def record_unsent(self, waited_ns: int) -> None:
        self.unsent += 1
        self.response.record(waited_ns, censored=True)

    def add(self, other: Tally) -> None:
        self.ok += other.ok
        self.failed += other.failed
        self.unknown += other.unknown
        self.unsent += other.unsent
        self.conflicts += other.conflicts
        self.response.add(other.response)
        self.service.add(other.service)
        self.errors.update(other.errors)

    def figures(self, seconds: float, *, closed: bool = False) -> OperationFigures:
        """`closed`: its clients waited for their answers before they called again."""
        sent = self.ok + self.failed + self.unknown
        per_s = 1 / seconds if seconds else 0.0
        return OperationFigures(
            offered_per_s=(sent + self.unsent) * per_s,
            achieved_per_s=sent * per_s,
            goodput_per_s=self.ok * per_s,
            ok=self.ok,
            failed=self.failed,
            unknown=self.unknown,
            unsent=self.unsent,
            response_ms=self.response.percentiles(),
            service_ms=self.service.percentiles(),
            errors=dict(self.errors.most_common()),
            conflicts=self.conflicts,
            closed=closed,
        )


Tallies = dict[str, Tally]


def tally(history: History, phases: Phases) -> list[Tallies]:
    """For each phase: kind → tally."""
    tallies: list[defaultdict[str, Tally]] = [defaultdict(Tally) for _ in phases.segments]
    last_seen_ns = last_signs_of_life(history)
    injections = [fault.injected_ns for fault in history.faults]
    for op in history.operations:
        done_ns = op.done_ns or last_seen_ns[op.worker]
        index = phases.index_at(_belongs_at(op.due_ns, done_ns, injections))
        if index != NOWHERE:
            tallies[index][op.kind].record(op, done_ns)
    for unsent in history.unsent:
        for due_ns in unsent.dues_ns:
            index = phases.index_at(_belongs_at(due_ns, unsent.stopped_ns, injections))
            if index != NOWHERE:
                tallies[index][unsent.kind].record_unsent(unsent.stopped_ns - due_ns)
    return [dict(sorted(by_kind.items())) for by_kind in tallies]


def _belongs_at(due_ns: int, done_ns: int, injections: Sequence[int]) -> int:
    """When it was due, or the first injection that came while it was under way."""
    following = bisect_right(injections, due_ns)
    return injections[following] if following < len(injections) and injections[following] < done_ns else due_ns


def figures(tallies: Tallies, seconds: float, history: History) -> dict[str, OperationFigures]:
    """Of one phase, or of several that were merged."""
    closed = closed_kinds(history)
    return {kind: tally.figures(seconds, closed=kind in closed) for kind, tally in tallies.items()}


def closed_kinds(history: History) -> frozenset[str]:
    """Operations of which at least some came from users who wait for their answers."""
    return frozenset(model.kind for model in history.closed_models)


def merge(parts: list[Tallies]) -> Tallies:
    """One tally for each kind over several phases."""
    total: defaultdict[str, Tally] = defaultdict(Tally)
    for part in parts:
        for kind, one in part.items():
            total[kind].add(one)
    return dict(sorted(total.items()))


def last_signs_of_life(history: History) -> dict[int, int]:
    """Worker → the last moment it was heard of: what was in flight then lasted at least until then."""
    latest: defaultdict[int, int] = defaultdict(int)
    for op in history.operations:
        latest[op.worker] = max(latest[op.worker], op.sent_ns, op.done_ns)
    for sample in history.generator:
        latest[sample.worker] = max(latest[sample.worker], sample.at_ns)
    return latest
