"""History → Figures: every number of a run, each family in its own file. docs/figures.md defines them all.

Pure: no clock, no files. The same history gives the same figures for ever, so an old run can be judged again.
"""

from __future__ import annotations

from chaoskit.contracts import Promises
from chaoskit.figures import answers, events, faults, leases, members, operations, truth, watches
from chaoskit.figures.gaps import Gap, Writes
from chaoskit.figures.generator import Generator
from chaoskit.figures.histograms import NS_PER_S
from chaoskit.figures.knee import Knees
from chaoskit.figures.members import Leaders
from chaoskit.figures.phases import Phases
from chaoskit.figures.recovery import Recoveries
from chaoskit.figures.resources import Resources
from chaoskit.figures.timeline import timeline
from chaoskit.history import History
from chaoskit.results import Figures, PhaseFigures

__all__ = ["compute"]


def compute(history: History, promises: Promises) -> Figures:
    """All figures of one run. Takes a few seconds for a million records."""
    phases = Phases(history)
    leaders = Leaders(history)
    tallies = operations.tally(history, phases)
    judged = [index for index, segment in enumerate(phases.segments) if segment.judged]
    judged_seconds = sum(phases.segments[index].seconds for index in judged)
    totals = operations.merge([tallies[index] for index in judged])
    log = truth.build(history)
    watched = watches.analyse(history, promises, phases, log, slow=False)
    slow = watches.analyse(history, promises, phases, log, slow=True)
    generator = Generator(history, phases)
    writes = Writes(history)
    used = Resources(history, phases)
    begins_ns, ends_ns = phases.judged_span or (phases.begins_ns, phases.ends_ns)
    gap = writes.longest_gap(begins_ns, ends_ns)
    return Figures(
        events=events.events(history),
        seconds=(phases.ends_ns - phases.begins_ns) / NS_PER_S,
        phases=tuple(
            PhaseFigures(
                name=segment.name,
                kind=segment.kind,
                judged=segment.judged,
                begins_s=phases.seconds(segment.begins_ns),
                seconds=segment.seconds,
                ops=operations.figures(tallies[index], segment.seconds, history),
                watch=watched.phase_figures(index),
                slow_watch=slow.phase_figures(index),
                write_gap_s=_lasted_s(writes.longest_gap(segment.begins_ns, segment.ends_ns)),
                leader_changes=leaders.changes(segment.begins_ns, segment.ends_ns),
                generator_lag_p99_ms=generator.lag_p99_ms(index),
                generator_cpu_max=generator.cpu_max(index),
                generator_stalled=generator.stalled(index),
            )
            for index, segment in phases.named
        ),
        totals=operations.figures(totals, judged_seconds, history),
        watch=watched.figures(),
        slow_watch=slow.figures(),
        lease=leases.figures(history, log, leaders),
        write_gap_s=_lasted_s(gap),
        write_gap_at_s=phases.seconds(gap.begins_ns) if gap else None,
        write_gap_per_client_s=_lasted_s(writes.longest_gap_of_one_client(begins_ns, ends_ns)),
        recovery=Recoveries(history, phases, leaders, promises.steady_p99_s).figures(),
        faults=faults.figures(history, phases),
        members=members.figures(history, phases, leaders, used),
        leader_changes=leaders.changes(begins_ns, ends_ns),
        generator=generator.figures(),
        timeline=timeline(history, phases, leaders, used, generator),
        log=log.figures,
        answers=answers.check(history, log),
        knees=Knees(history, phases, tallies, generator).figures(),
    )


def _lasted_s(gap: Gap | None) -> float | None:
    return gap.lasted_ns / NS_PER_S if gap else None
