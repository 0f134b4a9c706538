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

    def by_second(self) -> dict[int, dict[str, dict[str, float]]]:
        """Second → name of a field of `results.Second` → member → figure. Nothing where nobody could say."""
        found: defaultdict[int, defaultdict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
        for member, steps in self._steps.items():
            for step in steps:
                for name, figure in _of_one(step):
                    found[self._second(step)][name][member] = figure
        return {second: dict(by_name) for second, by_name in found.items()}

    def _second(self, step: _Step) -> int:
        return (step.after.at_ns - self._phases.begins_ns) // NS_PER_S


def _steps(samples: Sequence[ResourceSample]) -> Iterator[_Step]:
    for before, after in pairwise(samples):
        if before.pid == after.pid and after.at_ns > before.at_ns:
            yield _Step(before, after)


_RATES = {
    "cpu": "cpu_s",
    "read_bytes_per_s": "read_bytes",
    "written_bytes_per_s": "written_bytes",
    "received_bytes_per_s": "received_bytes",
    "sent_bytes_per_s": "sent_bytes",
}
_GAUGES = ("memory_bytes", "proposals_pending", "db_bytes")
_MEANS = {"fsync_ms": ("fsync_s", "fsyncs"), "commit_ms": ("commit_s", "commits")}


def _of_one(step: _Step) -> Iterator[tuple[str, float]]:
    figures: dict[str, float | None] = {
        **{name: _rate([step], counter) for name, counter in _RATES.items()},
        **{name: getattr(step.after, name) for name in _GAUGES},
        **{name: _mean_ms([step], spent, count) for name, (spent, count) in _MEANS.items()},
    }
    yield from ((name, figure) for name, figure in figures.items() if figure is not None)


def _load(steps: Sequence[_Step]) -> MemberLoad:
    memory = [step.after.memory_bytes for step in steps if step.after.memory_bytes is not None]
    pending = [step.after.proposals_pending for step in steps if step.after.proposals_pending is not None]
    sizes = [step.after.db_bytes for step in steps if step.after.db_bytes is not None]
    cores = [grown / step.seconds for step in steps if (grown := _growth(step, "cpu_s")) is not None]
    return MemberLoad(
        **{name: _rate(steps, counter) for name, counter in _RATES.items()},
        **{name: _mean_ms(steps, spent, count) for name, (spent, count) in _MEANS.items()},
        cpu_max=max(cores, default=None),
        memory_max_bytes=max(memory, default=None),
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
