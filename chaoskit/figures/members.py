"""Leaders and members over time, from the members' own status and the operating system.

A leadership is a pair of term and leader; a member that is elected again in a later term counts again, as it does in
etcd's own `leader_changes_seen_total`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

from chaoskit.figures.histograms import NS_PER_S
from chaoskit.figures.phases import Phases
from chaoskit.figures.resources import Resources
from chaoskit.history import History, MemberSample
from chaoskit.results import MemberFigures, MemberLoad


@dataclass(frozen=True, slots=True)
class Leadership:
    begins_ns: int  # when a member was first seen to name it
    leader: str
    term: int


class Leaders:
    """Who led when. A member that still names an older term is not believed."""

    def __init__(self, history: History) -> None:
        self.leaderships = _leaderships(history.members)
        self._begins = [leadership.begins_ns for leadership in self.leaderships]

    def at(self, at_ns: int) -> Leadership | None:
        index = bisect_right(self._begins, at_ns) - 1
        return self.leaderships[index] if index >= 0 else None

    def changes(self, after_ns: int, until_ns: int) -> int:
        """How many began in (after, until]; the very first leadership that was seen is no change."""
        begins = self._begins[1:]
        return bisect_right(begins, until_ns) - bisect_right(begins, after_ns)

    def changed_between(self, after_ns: int, until_ns: int) -> list[tuple[Leadership, Leadership]]:
        """The changes themselves, as (old, new)."""
        pairs = zip(self.leaderships, self.leaderships[1:], strict=False)
        return [(old, new) for old, new in pairs if after_ns < new.begins_ns <= until_ns]


def _leaderships(samples: list[MemberSample]) -> list[Leadership]:
    found: list[Leadership] = []
    for sample in samples:
        if sample.state != "up" or not sample.leader:
            continue
        if not found or sample.term > found[-1].term:
            found.append(Leadership(sample.at_ns, sample.leader, sample.term))
    return found


def figures(history: History, phases: Phases, leaders: Leaders, resources: Resources) -> tuple[MemberFigures, ...]:
    """For each member how long it was in which state, each sample holding until the next."""
    samples: defaultdict[str, list[MemberSample]] = defaultdict(list)
    for sample in history.members:
        samples[sample.member].append(sample)
    return tuple(_member(name, samples[name], phases, leaders, resources.of_phases(name)) for name in sorted(samples))


def _member(
    name: str, samples: list[MemberSample], phases: Phases, leaders: Leaders, load: dict[str, MemberLoad]
) -> MemberFigures:
    spent: defaultdict[str, int] = defaultdict(int)
    ends = [sample.at_ns for sample in samples[1:]] + [phases.ends_ns]
    for sample, until_ns in zip(samples, ends, strict=True):
        lasted_ns = max(0, min(until_ns, phases.ends_ns) - max(sample.at_ns, phases.begins_ns))
        leadership = leaders.at(sample.at_ns)
        spent[sample.state] += lasted_ns
        if sample.state == "up" and leadership and leadership.leader == name:
            spent["leader"] += lasted_ns
    return MemberFigures(
        name=name,
        down_s=spent["down"] / NS_PER_S,
        paused_s=spent["paused"] / NS_PER_S,
        silent_s=spent["silent"] / NS_PER_S,
        leader_s=spent["leader"] / NS_PER_S,
        load=load,
    )
