"""What happened when: phases, each fault's steps, members' states, marks. Samples become changes."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.figures.histograms import NS_PER_S
from chaoskit.history import FaultSpan, History, Mark, MemberSample
from chaoskit.results import Event


def events(history: History) -> tuple[Event, ...]:
    """All moments worth a line, in the order of time; a time of 0 was not reached and has no line."""
    moments = [*_phases(history), *_faults(history), *_members(history.members), *_marks(history.marks)]
    return tuple(_event(history.begins_ns, *moment) for moment in sorted(moments, key=lambda moment: moment[0]))


_Moment = tuple[int, str, str, str]  # at_ns, kind, subject, detail


def _event(begins_ns: int, at_ns: int, kind: str, subject: str, detail: str) -> Event:
    return Event(at_s=round((at_ns - begins_ns) / NS_PER_S, 3), kind=kind, subject=subject, detail=detail)


def _phases(history: History) -> Iterator[_Moment]:
    for phase in history.phases:
        yield phase.begins_ns, "phase_began", phase.name, phase.kind
    if history.phases:
        yield history.ends_ns, "run_ended", "", ""


def _faults(history: History) -> Iterator[_Moment]:
    for span in history.faults:
        yield from (moment for moment in _fault(span) if moment[0])


def _fault(span: FaultSpan) -> Iterator[_Moment]:
    yield span.injected_ns, "fault_injected", span.name, span.detail
    yield span.verified_ns, "fault_verified", span.name, span.evidence
    yield span.heal_began_ns, "fault_heal_began", span.name, ""
    yield span.healed_ns, "fault_healed", span.name, span.heal_evidence
    if span.problem:
        last_ns = max(span.injected_ns, span.verified_ns, span.heal_began_ns, span.healed_ns)
        yield last_ns, "fault_problem", span.name, span.problem


def _members(samples: list[MemberSample]) -> Iterator[_Moment]:
    """One line when a member's state or process changes."""
    last: dict[str, tuple[str, int]] = {}
    for sample in samples:
        now = (sample.state, sample.pid)
        if last.get(sample.member) != now:
            last[sample.member] = now
            detail = f"{sample.state}, pid {sample.pid}" if sample.pid else sample.state
            yield sample.at_ns, "member_state", sample.member, detail


def _marks(marks: list[Mark]) -> Iterator[_Moment]:
    for mark in marks:
        revision = f"revision {mark.revision}" if mark.revision else ""
        yield mark.at_ns, mark.kind, mark.member, ", ".join(filter(None, (mark.detail, revision)))
