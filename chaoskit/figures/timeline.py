"""The run second by second: what was done in each, and who led."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from msgspec import structs

from chaoskit.figures.generator import Generator
from chaoskit.figures.histograms import NS_PER_MS, NS_PER_S, p99_of
from chaoskit.figures.members import Leaders
from chaoskit.figures.phases import Phases
from chaoskit.figures.resources import Resources
from chaoskit.history import History, Outcome
from chaoskit.results import Second


@dataclass(slots=True)
class _Slot:
    ok: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    unknown: int = 0
    responses_ns: list[int] = field(default_factory=list)
    watch_events: int = 0


def timeline(
    history: History, phases: Phases, leaders: Leaders, used: Resources, generator: Generator
) -> tuple[Second, ...]:
    """One entry a second since the first phase began. What was still in flight at the end is in none."""
    slots = [_Slot() for _ in range(-(-(phases.ends_ns - phases.begins_ns) // NS_PER_S))]
    _fill_operations(history, phases, slots)
    for event in history.watch_events:
        index = (event.received_ns - phases.begins_ns) // NS_PER_S
        if 0 <= index < len(slots):
            slots[index].watch_events += 1
    by_second, of_generator = used.by_second(), generator.by_second()
    return tuple(
        structs.replace(
            _second(index, slot, phases, leaders), **by_second.get(index, {}), **of_generator.get(index, {})
        )
        for index, slot in enumerate(slots)
    )


def _fill_operations(history: History, phases: Phases, slots: list[_Slot]) -> None:
    for op in history.operations:
        index = (op.done_ns - phases.begins_ns) // NS_PER_S
        if not 0 <= index < len(slots):
            continue
        slot = slots[index]
        if op.outcome is Outcome.FAILED:
            slot.failed += 1
            continue
        slot.responses_ns.append(op.done_ns - op.due_ns)
        if op.outcome is Outcome.OK:
            slot.ok[op.kind] += 1
        else:
            slot.unknown += 1


def _second(index: int, slot: _Slot, phases: Phases, leaders: Leaders) -> Second:
    p99_ns = p99_of(slot.responses_ns)
    leadership = leaders.at(phases.begins_ns + (index + 1) * NS_PER_S - 1)
    return Second(
        at_s=index,
        ok=dict(sorted(slot.ok.items())),
        failed=slot.failed,
        unknown=slot.unknown,
        p99_ms=None if p99_ns is None else p99_ns / NS_PER_MS,
        watch_events=slot.watch_events,
        leader=leadership.leader if leadership else "",
    )
