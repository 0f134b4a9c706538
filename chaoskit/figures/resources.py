"""What members used, for each phase and each second: rates between two samples of the same process.

A rate belongs to the phase and the second in which its later sample was taken. Counters that began anew, because the
member was started again, give no rate across the start.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chaoskit.figures.histograms import NS_PER_S
from chaoskit.figures.phases import NOWHERE, Phases
from chaoskit.history import History, ResourceSample
from chaoskit.results import MemberLoad


@dataclass(frozen=True, slots=True)
class _Step:
    """Two samples of one process, one after the other."""

    before: ResourceSample
    after: ResourceSample

    @property
    def seconds(self) -> float:
        return (self.after.at_ns - self.before.at_ns) / NS_PER_S


class Resources:
    """All samples of a history, by member."""

    def __init__(self, history: History, phases: Phases) -> None:
        self._phases = phases
        by_member: defaultdict[str, list[ResourceSample]] = defaultdict(list)
        for sample in history.resources:
            by_member[sample.member].append(sample)
        self._steps = {member: list(_steps(samples)) for member, samples in by_member.items()}

    def of_phases(self, member: str) -> dict[str, MemberLoad]:
        """Phase → what this member used in it."""
        by_phase: defaultdict[str, list[_Step]] = defaultdict(list)
        for step in self._steps.get(member, ()):
            index = self._phases.index_at(step.after.at_ns)
            if index != NOWHERE and self._phases.segments[index].name:
                by_phase[self._phases.segments[index].name].append(step)
        return {name: _load(steps) for name, steps in by_phase.items()}

    def cpu_by_second(self) -> dict[int, dict[str, float]]:
        """Second → member → cores in use."""
        return self._by_second("cpu_s")

    def memory_by_second(self) -> dict[int, dict[str, int]]:
        """Second → member → bytes."""
        found: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for member, steps in self._steps.items():
            for step in steps:
                if step.after.memory_bytes is not None:
                    found[self._second(step)][member] = step.after.memory_bytes
        return found

    def _by_second(self, counter: str) -> dict[int, dict[str, float]]:
        found: defaultdict[int, dict[str, float]] = defaultdict(dict)
        for member, steps in self._steps.items():
            for step in steps:
                grown = _growth(step, counter)
                if grown is not None:
                    found[self._second(step)][member] = grown / step.seconds
        return found

    def _second(self, step: _Step) -> int:
        return (step.after.at_ns - self._phases.begins_ns) // NS_PER_S


def _steps(samples: Sequence[ResourceSample]) -> Iterator[_Step]:
    for before, after in pairwise(samples):
        if before.pid == after.pid and after.at_ns > before.at_ns:
            yield _Step(before, after)


def _load(steps: Sequence[_Step]) -> MemberLoad:
    memory = [step.after.memory_bytes for step in steps if step.after.memory_bytes is not None]
    pending = [step.after.proposals_pending for step in steps if step.after.proposals_pending is not None]
    sizes = [step.after.db_bytes for step in steps if step.after.db_bytes is not None]
    cores = [grown / step.seconds for step in steps if (grown := _growth(step, "cpu_s")) is not None]
    return MemberLoad(
        cpu=_rate(steps, "cpu_s"),
        cpu_max=max(cores, default=None),
        memory_max_bytes=max(memory, default=None),
        read_bytes_per_s=_rate(steps, "read_bytes"),
        written_bytes_per_s=_rate(steps, "written_bytes"),
        received_bytes_per_s=_rate(steps, "received_bytes"),
        sent_bytes_per_s=_rate(steps, "sent_bytes"),
        fsync_ms=_mean_ms(steps, "fsync_s", "fsyncs"),
        commit_ms=_mean_ms(steps, "commit_s", "commits"),
        proposals_pending_max=max(pending, default=None),
        db_bytes=sizes[-1] if sizes else None,
    )


def _rate(steps: Sequence[_Step], counter: str) -> float | None:
    known = [(grown, step.seconds) for step in steps if (grown := _growth(step, counter)) is not None]
    seconds = sum(each for _, each in known)
    return sum(grown for grown, _ in known) / seconds if seconds else None


def _mean_ms(steps: Sequence[_Step], spent: str, count: str) -> float | None:
    both = [(_growth(step, spent), _growth(step, count)) for step in steps]
    counted = sum(number for _, number in both if number)
    return sum(seconds for seconds, _ in both if seconds) / counted * 1e3 if counted else None


def _growth(step: _Step, counter: str) -> float | None:
    before, after = getattr(step.before, counter), getattr(step.after, counter)
    return None if before is None or after is None or after < before else after - before
