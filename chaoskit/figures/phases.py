"""Which phase a moment belongs to, and seconds since the run began.

Phases do not overlap here: where two do, the one that began later has the moment. Warmup and drain are never judged.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

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
    nexts = [phase.begins_ns for phase in phases[1:]] + [history.ends_ns]
    return tuple(
        Segment(
            phase.name,
            phase.kind,
            phase.judged and phase.kind not in ("warmup", "drain"),
            phase.begins_ns,
            max(phase.begins_ns, min(phase.ends_ns, following)),
        )
        for phase, following in zip(phases, nexts, strict=True)
    )


def _judged_span(history: History, segments: tuple[Segment, ...]) -> tuple[int, int] | None:
    """From the first judged moment to the last, or to where the load stopped; None when nothing is judged."""
    judged = [segment for segment in segments if segment.judged]
    if not judged:
        return None
    begins, ends = judged[0].begins_ns, judged[-1].ends_ns
    stopped = history.mark("load_stopped")
    return begins, max(begins, min(ends, stopped.at_ns)) if stopped else ends
