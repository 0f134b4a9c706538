"""Was it the load generator that set the figures? Scheduling lag, CPU, and in which phases it was saturated.

Lag is sent − due of operations for which a client was free; waiting for a busy client is the cluster's doing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from chaoskit.figures.histograms import NS_PER_MS, Latencies
from chaoskit.figures.phases import NOWHERE, Phases
from chaoskit.history import GeneratorSample, History
from chaoskit.results import GeneratorFigures

LAG_LIMIT_MS = 5.0
CPU_LIMIT = 0.9
SUSTAINED_SAMPLES = 3
"""One busy second is a hiccup; this many in a row, or all there are in a shorter phase, are saturation."""


class Generator:
    """The workers' health, by phase."""

    def __init__(self, history: History, phases: Phases) -> None:
        self._history = history
        self._phases = phases
        self._lags = _lags(history, phases)
        self._samples = _samples(history, phases)

    def lag_p99_ms(self, index: int) -> float | None:
        return self._lags[index].percentiles().p99 if index in self._lags else None

    def cpu_max(self, index: int) -> float | None:
        return max((sample.cpu for sample in self._samples.get(index, ())), default=None)

    def saturated(self, index: int) -> bool:
        lag = self.lag_p99_ms(index)
        return (lag is not None and lag > LAG_LIMIT_MS) or _cpu_sustained(self._samples.get(index, ()))

    def figures(self) -> GeneratorFigures:
        judged = [index for index, segment in enumerate(self._phases.segments) if segment.judged]
        samples = [sample for index in judged for sample in self._samples.get(index, ())]
        return GeneratorFigures(
            lag_ms=_merged([self._lags[index] for index in judged if index in self._lags]).percentiles(),
            cpu=max((sample.cpu for sample in samples), default=None),
            cpu_mean=fmean(sample.cpu for sample in samples) if samples else None,
            loop_stall_ms=max((sample.loop_stall_ms for sample in samples), default=None),
            rss_bytes=max((sample.rss_bytes for sample in samples), default=None),
            saturated_phases=tuple(
                segment.name for index, segment in self._phases.named if segment.judged and self.saturated(index)
            ),
        )


def _lags(history: History, phases: Phases) -> dict[int, Latencies]:
    lags: defaultdict[int, Latencies] = defaultdict(Latencies)
    for op in history.operations:
        if op.sent_ns and not op.queued:
            index = phases.index_at(op.due_ns)
            if index != NOWHERE:
                lags[index].record(op.sent_ns - op.due_ns)
    return dict(lags)


def _samples(history: History, phases: Phases) -> dict[int, list[GeneratorSample]]:
    """A sample speaks of the second before it, so it belongs where that second's middle lies."""
    samples: defaultdict[int, list[GeneratorSample]] = defaultdict(list)
    for sample in history.generator:
        samples[phases.index_at(sample.at_ns - 500 * NS_PER_MS)].append(sample)
    return dict(samples)


def _cpu_sustained(samples: Sequence[GeneratorSample]) -> bool:
    by_worker: defaultdict[int, list[bool]] = defaultdict(list)
    for sample in samples:
        by_worker[sample.worker].append(sample.cpu > CPU_LIMIT)
    return any(_longest_run(busy) >= min(SUSTAINED_SAMPLES, len(busy)) for busy in by_worker.values())


def _longest_run(flags: Sequence[bool]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def _merged(parts: Sequence[Latencies]) -> Latencies:
    total = Latencies()
    for part in parts:
        total.add(part)
    return total
