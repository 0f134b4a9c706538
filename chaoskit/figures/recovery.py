"""Time to recover: until goodput and P99 are near the baseline again, and stay there for three seconds.

Measured on all that is due by a rate together, in whole seconds that are aligned to the moment from which is counted.
"Never" is said only when at least those three seconds were seen after the heal; before that, nobody knows. A second is
normal when its P99 is within three times the baseline's, or within what the experiment itself calls its steady state.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chaoskit.figures.histograms import NS_PER_MS, NS_PER_S, p99_of
from chaoskit.figures.members import Leaders
from chaoskit.figures.phases import Phases
from chaoskit.history import FaultSpan, History, Outcome
from chaoskit.results import RecoveryFigures

KINDS = ("put", "read", "delete", "txn", "range")
GOODPUT_SHARE = 0.9
P99_FACTOR = 3
P99_FLOOR_NS = 10 * NS_PER_MS
"""Without a steady state that limits P99, a second below this one counts as recovered whatever the baseline was."""
STAYS_S = 3


class _Done(NamedTuple):
    done_ns: int
    response_ns: int
    ok: bool


class _Second(NamedTuple):
    goodput: int
    p99_ns: int | None


@dataclass(frozen=True, slots=True)
class Normal:
    """What the baseline was like."""

    goodput_per_s: float
    p99_ns: int
    steady_p99_ns: int

    def holds(self, second: _Second) -> bool:
        """One operation may lie on the other side of the second's edge, so it is forgiven."""
        return (
            second.p99_ns is not None
            and second.goodput >= GOODPUT_SHARE * self.goodput_per_s - 1
            and second.p99_ns <= max(P99_FACTOR * self.p99_ns, self.steady_p99_ns)
        )


class Recoveries:
    """The stream of finished operations, to be looked at second by second."""

    def __init__(self, history: History, phases: Phases, leaders: Leaders, steady_p99_s: float | None) -> None:
        self._history = history
        self._leaders = leaders
        self._done = sorted(
            _Done(op.done_ns, op.done_ns - op.due_ns, op.outcome is Outcome.OK)
            for op in history.operations
            if op.kind in KINDS and not op.lease and op.done_ns and op.outcome is not Outcome.FAILED
        )
        self._steady_p99_ns = P99_FLOOR_NS if steady_p99_s is None else round(steady_p99_s * NS_PER_S)
        self._normal = self._baseline(phases)
        self._ends_ns = phases.judged_span[1] if phases.judged_span else phases.ends_ns

    def figures(self) -> tuple[RecoveryFigures, ...]:
        """One for each fault that was proven, in the order of injection."""
        return tuple(self._one(fault) for fault in self._history.faults if fault.verified_ns)

    def _one(self, fault: FaultSpan) -> RecoveryFigures:
        until_ns = self._window_ends(fault)
        seconds = self._seconds(fault.verified_ns, until_ns)
        recovered = self._first_normal(seconds)
        since_heal = self._seconds(fault.healed_ns, until_ns) if fault.healed_ns else []
        recovered_since_heal = self._first_normal(since_heal)
        observed = self._normal is not None and len(since_heal) >= STAYS_S
        return RecoveryFigures(
            fault=fault.name,
            seconds=recovered,
            seconds_since_heal=recovered_since_heal,
            never_recovered_after_s=float(len(seconds)) if observed and recovered is None else None,
            never_since_heal_after_s=float(len(since_heal)) if observed and recovered_since_heal is None else None,
            goodput_lowest_per_s=min((float(second.goodput) for second in seconds), default=None),
            leader_changes=self._leaders.changes(fault.injected_ns, until_ns),
        )

    def _window_ends(self, fault: FaultSpan) -> int:
        """Where the next fault that does not overlap with this one was injected, or where the load ended."""
        over_ns = fault.healed_ns or fault.heal_began_ns or fault.verified_ns
        nexts = [other.injected_ns for other in self._history.faults if other.injected_ns > over_ns]
        return min([*nexts, self._ends_ns])

    def _first_normal(self, seconds: Sequence[_Second]) -> float | None:
        if self._normal is None:
            return None
        run = 0
        for index, second in enumerate(seconds):
            run = run + 1 if self._normal.holds(second) else 0
            if run == STAYS_S:
                return float(index + 1 - STAYS_S)
        return None

    def _seconds(self, begins_ns: int, ends_ns: int) -> list[_Second]:
        """The whole seconds between two moments."""
        return [
            _second(self._between(at_ns, at_ns + NS_PER_S))
            for at_ns in range(begins_ns, ends_ns - NS_PER_S + 1, NS_PER_S)
        ]

    def _between(self, begins_ns: int, ends_ns: int) -> list[_Done]:
        first = bisect_left(self._done, (begins_ns,))
        return self._done[first : bisect_left(self._done, (ends_ns,))]

    def _baseline(self, phases: Phases) -> Normal | None:
        segments = [segment for segment in phases.of_kind("baseline") if segment.seconds]
        done = [one for segment in segments for one in self._between(segment.begins_ns, segment.ends_ns)]
        whole = _second(done)
        if whole.p99_ns is None or not whole.goodput:
            return None
        return Normal(whole.goodput / sum(segment.seconds for segment in segments), whole.p99_ns, self._steady_p99_ns)


def _second(done: Sequence[_Done]) -> _Second:
    return _Second(sum(one.ok for one in done), p99_of([one.response_ns for one in done]))
