"""Which phase a moment belongs to, and seconds since the run began.

Phases do not overlap here: where two do, the one that began later has the moment. Warmup and drain are never judged.
Time between two judged phases, such as from an injection to its proof, belongs to a nameless segment: it counts in the
whole run and in no phase.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from chaoskit.figures.histograms import NS_PER_S
from chaoskit.history import History

NOWHERE = -1
"""The index of no phase."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The stretch of time that belongs to one phase alone."""

    name: str
    kind: str
    judged: bool
    begins_ns: int
    ends_ns: int

    @property
    def seconds(self) -> float:
        return (self.ends_ns - self.begins_ns) / NS_PER_S


class Phases:
    """The phases of a history in the order of time."""

    def __init__(self, history: History) -> None:
        self.begins_ns = history.begins_ns
        self.ends_ns = history.ends_ns
        self.segments = _segments(history)
        self._begins = [segment.begins_ns for segment in self.segments]
        self.judged_span = _judged_span(history, self.segments)

    @property
    def named(self) -> list[tuple[int, Segment]]:
        """The phases themselves with their indexes, without what lies between them."""
        return [(index, segment) for index, segment in enumerate(self.segments) if segment.name]

    def index_at(self, at_ns: int) -> int:
        """Of the segment that holds this moment, or NOWHERE."""
        index = bisect_right(self._begins, at_ns) - 1
        return index if index >= 0 and at_ns < self.segments[index].ends_ns else NOWHERE

    def judged_at(self, at_ns: int) -> bool:
        index = self.index_at(at_ns)
        return index != NOWHERE and self.segments[index].judged

    def seconds(self, at_ns: int) -> float:
        """Since the first phase began."""
        return (at_ns - self.begins_ns) / NS_PER_S

    def seconds_if_reached(self, at_ns: int) -> float | None:
        """None for the time 0, which means that a point was not reached."""
        return self.seconds(at_ns) if at_ns else None

    def of_kind(self, kind: str) -> list[Segment]:
        return [segment for segment in self.segments if segment.kind == kind]


def _segments(history: History) -> tuple[Segment, ...]:
    phases = sorted(history.phases, key=lambda phase: phase.begins_ns)
    named: list[Segment] = []
    for phase, following in zip_longest(phases, phases[1:]):
        ends_ns = min(phase.ends_ns, following.begins_ns) if following else phase.ends_ns
        judged = phase.judged and phase.kind not in ("warmup", "drain")
        named.append(Segment(phase.name, phase.kind, judged, phase.begins_ns, ends_ns))
    return tuple(_with_fillers(named))


def _with_fillers(named: list[Segment]) -> Iterator[Segment]:
    judged = [segment for segment in named if segment.judged]
    for before, segment in zip([None, *named], named, strict=False):
        if before and before.ends_ns < segment.begins_ns:
            inside = judged and judged[0].begins_ns <= before.begins_ns < judged[-1].begins_ns
            yield Segment("", "between", bool(inside), before.ends_ns, segment.begins_ns)
        yield segment


def _judged_span(history: History, segments: tuple[Segment, ...]) -> tuple[int, int] | None:
    """From the first judged moment to the last, or to where the load stopped; None when nothing is judged."""
    judged = [segment for segment in segments if segment.judged]
    if not judged:
        return None
    begins, ends = judged[0].begins_ns, judged[-1].ends_ns
    stopped = history.mark("load_stopped")
    return begins, max(begins, min(ends, stopped.at_ns)) if stopped else ends
