"""Faults as they were injected, who could write meanwhile, and whether a minority that was cut off did."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from chaoskit.figures.changes import change_of
from chaoskit.figures.histograms import NS_PER_S
from chaoskit.figures.phases import Phases
from chaoskit.history import FaultSpan, History, Outcome, WriteProbe
from chaoskit.results import FaultFigures, MemberWrites
from chaoskit.topology import majority


def figures(history: History, phases: Phases) -> tuple[FaultFigures, ...]:
    """In the order of injection."""
    members = {sample.member for sample in history.members}
    return tuple(
        FaultFigures(
            name=fault.name,
            kind=fault.kind,
            targets=fault.targets,
            detail=fault.detail,
            injected_at=phases.seconds(fault.injected_ns or fault.heal_began_ns),
            verified_at=phases.seconds_if_reached(fault.verified_ns),
            heal_began_at=phases.seconds_if_reached(fault.heal_began_ns),
            healed_at=phases.seconds_if_reached(fault.healed_ns),
            evidence=fault.evidence,
            heal_evidence=fault.heal_evidence,
            problem=fault.problem,
            old_leader_wrote=_minority_wrote(fault, members, history),
            writes=_member_writes(fault, history),
        )
        for fault in history.faults
    )


def cut_off(cut: Iterable[str], members: Collection[str]) -> set[str]:
    """Members that cannot reach a majority by any way that is left.

    A pair is apart when both directions are cut: one alone is no partition. A member that hears a single other one
    still writes when that one hears a majority, so what counts is the size of the island.
    """
    links = {tuple(link.split("->", 1)) for link in cut}
    apart = {frozenset(link) for link in links if len(link) == 2 and link[::-1] in links}
    return {member for member in members if len(_island(member, members, apart)) < majority(len(members))}


def _island(start: str, members: Collection[str], apart: set[frozenset[str]]) -> set[str]:
    island, border = {start}, [start]
    while border:
        here = border.pop()
        reached = [one for one in members if one not in island and frozenset((here, one)) not in apart]
        island.update(reached)
        border += reached
    return island


def _minority_wrote(fault: FaultSpan, members: Collection[str], history: History) -> bool | None:
    """None when nobody was cut off from the majority, or when it was not proven that they were."""
    if not fault.verified_ns:
        return None
    islanders = cut_off(fault.cut, members)
    if not islanders:
        return None
    until_ns = _ends(fault, history)
    by_clients = any(
        change_of(op)
        and op.outcome is Outcome.OK
        and op.member in islanders
        and fault.verified_ns <= op.sent_ns
        and op.done_ns <= until_ns
        for op in history.operations
    )
    return by_clients or any(
        probe.revision
        and probe.member in islanders
        and fault.verified_ns <= probe.sent_ns
        and probe.done_ns <= until_ns
        for probe in history.write_probes
    )


def _member_writes(fault: FaultSpan, history: History) -> tuple[MemberWrites, ...]:
    """What each member could write between the proof of the fault and its heal, by member."""
    if not fault.verified_ns:
        return ()
    tried: dict[str, list[WriteProbe]] = {}
    for probe in history.write_probes:
        if fault.verified_ns <= probe.sent_ns < _ends(fault, history):
            tried.setdefault(probe.member, []).append(probe)
    return tuple(_writes_of(member, probes, fault.verified_ns) for member, probes in sorted(tried.items()))


def _writes_of(member: str, probes: Sequence[WriteProbe], since_ns: int) -> MemberWrites:
    acknowledged = [probe.done_ns for probe in probes if probe.revision]
    return MemberWrites(
        member=member,
        tried=len(probes),
        acknowledged=len(acknowledged),
        first_s=(min(acknowledged) - since_ns) / NS_PER_S if acknowledged else None,
    )


def _ends(fault: FaultSpan, history: History) -> int:
    return fault.heal_began_ns or history.ends_ns
