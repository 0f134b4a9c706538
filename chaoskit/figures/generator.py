"""Was it the load generator that set the figures? Scheduling lag, CPU, and in which phases it was saturated.

Lag is sent − due of operations for which a client was free; waiting for a busy client is the cluster's doing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean

from chaoskit.figures.histograms import NS_PER_MS, NS_PER_S, Latencies, p99_of
from chaoskit.figures.operations import closed_kinds
from chaoskit.figures.phases import NOWHERE, Phases
from chaoskit.history import GeneratorSample, History, Operation
from chaoskit.results import GeneratorFigures, WorkerFigures

LAG_LIMIT_MS = 5.0
CPU_LIMIT = 0.9
STALL_LIMIT = 0.01
"""Of a phase: answers that came while the event loop stood still for longer than that are more than a P99 leaves out.
No lag tells of it where clients wait for their answers."""
SUSTAINED_SAMPLES = 3
"""One busy second is a hiccup; this many in a row, or all there are in a shorter phase, are saturation."""


class Generator:
    """The workers' health, by phase."""

    def __init__(self, history: History, phases: Phases) -> None:
        self._history = history
        self._phases = phases
        self._lags = _lags(history, phases)
        self._samples = _samples(history, phases)
        self._workers = sorted({worker for worker, _ in self._lags} | {sample.worker for sample in history.generator})

    def lag_p99_ms(self, index: int) -> float | None:
        """Of all workers together."""
        return self._lag(self._workers, [index]).percentiles().p99

    def cpu_max(self, index: int) -> float | None:
        return max((sample.cpu for sample in self._samples.get(index, ())), default=None)

    def stalled(self, index: int) -> float | None:
        return _stalled(self._samples.get(index, ()))

    def saturated(self, index: int) -> bool:
        """Whether any single worker was: among many, one that lags is no small part of what is slow."""
        lags = [self._lag([worker], [index]).percentiles().p99 for worker in self._workers]
        stalled = self.stalled(index) if self._history.closed_models else None  # elsewhere lag tells
        return (
            any(lag is not None and lag > LAG_LIMIT_MS for lag in lags)
            or (stalled is not None and stalled > STALL_LIMIT)
            or _cpu_sustained(self._samples.get(index, ()))
        )

    def by_second(self) -> dict[int, dict[str, float | None]]:
        """Fields of `results.Second`, by whole seconds since the first phase began."""
        found: defaultdict[int, dict[str, float | None]] = defaultdict(dict)
        for second, lags_ns in _lags_by_second(self._history, self._phases).items():
            lag_ns = p99_of(lags_ns)
            found[second]["generator_lag_p99_ms"] = None if lag_ns is None else lag_ns / NS_PER_MS
        for sample in self._history.generator:
            fields = found[(sample.at_ns - 500 * NS_PER_MS - self._phases.begins_ns) // NS_PER_S]
            figures = {
                "generator_cpu": sample.cpu,
                "loop_stall_ms": sample.loop_stall_ms,
                "gc_pause_ms": sample.gc_pause_ms,
            }
            for name, value in figures.items():
                fields[name] = max(value, fields.get(name) or 0.0)
        return found

    def figures(self) -> GeneratorFigures:
        judged = [index for index, segment in enumerate(self._phases.segments) if segment.judged]
        samples = [sample for index in judged for sample in self._samples.get(index, ())]
        return GeneratorFigures(
            lag_ms=self._lag(self._workers, judged).percentiles(),
            cpu=max((sample.cpu for sample in samples), default=None),
            cpu_mean=fmean(sample.cpu for sample in samples) if samples else None,
            loop_stall_ms=max((sample.loop_stall_ms for sample in samples), default=None),
            rss_bytes=max((sample.rss_bytes for sample in samples), default=None),
            gc_pause_ms=max((sample.gc_pause_ms for sample in samples), default=None),
            gc_share=fmean(sample.gc_ms for sample in samples) / 1000 if samples else None,
            saturated_phases=tuple(
                segment.name for index, segment in self._phases.named if segment.judged and self.saturated(index)
            ),
            workers=tuple(self._worker(worker, judged, samples) for worker in self._workers),
        )

    def _worker(self, worker: int, judged: Sequence[int], samples: Sequence[GeneratorSample]) -> WorkerFigures:
        own = [sample for sample in samples if sample.worker == worker]
        clocks = [clock for clock in self._history.clocks if clock.worker == worker]
        losses = [mark for mark in self._history.marks if mark.kind == "worker_lost" and mark.worker == worker]
        other_clock = any(clock.uncertainty_ns for clock in clocks)
        return WorkerFigures(
            worker=worker,
            host=clocks[0].host if clocks else "",
            sent=sum(sample.sent for sample in own),
            lag_ms=self._lag([worker], judged).percentiles(),
            cpu=max((sample.cpu for sample in own), default=None),
            loop_stall_ms=max((sample.loop_stall_ms for sample in own), default=None),
            rss_bytes=max((sample.rss_bytes for sample in own), default=None),
            clock_offset_s=clocks[0].offset_ns / NS_PER_S if other_clock else 0.0,
            clock_doubt_ms=self._history.clock_doubt_ns(worker) / NS_PER_MS,
            lost_at_s=self._phases.seconds(losses[0].at_ns) if losses else None,
        )

    def _lag(self, workers: Sequence[int], indexes: Sequence[int]) -> Latencies:
        wanted = ((worker, index) for worker in workers for index in indexes)
        return _merged([self._lags[one] for one in wanted if one in self._lags])


def _lags(history: History, phases: Phases) -> dict[tuple[int, int], Latencies]:
    """By worker and index of the phase."""
    lags: defaultdict[tuple[int, int], Latencies] = defaultdict(Latencies)
    for op in _scheduled(history):
        index = phases.index_at(op.due_ns)
        if index != NOWHERE:
            lags[op.worker, index].record(op.sent_ns - op.due_ns)
    return dict(lags)


def _lags_by_second(history: History, phases: Phases) -> dict[int, list[int]]:
    lags: defaultdict[int, list[int]] = defaultdict(list)
    for op in _scheduled(history):
        lags[(op.due_ns - phases.begins_ns) // NS_PER_S].append(op.sent_ns - op.due_ns)
    return lags


def _scheduled(history: History) -> Iterator[Operation]:
    """Those that a free client waited for. Where clients wait for answers, sent is due, which says nothing."""
    closed = closed_kinds(history)
    return (op for op in history.operations if op.sent_ns and not op.queued and op.kind not in closed)


def _stalled(samples: Sequence[GeneratorSample]) -> float | None:
    """Only the longest stall of a second is known, so it is at least this share. Short ones are how a loop turns."""
    by_worker: defaultdict[int, list[float]] = defaultdict(list)
    for sample in samples:
        by_worker[sample.worker].append(sample.loop_stall_ms if sample.loop_stall_ms > LAG_LIMIT_MS else 0.0)
    return max((fmean(stalls_ms) / 1000 for stalls_ms in by_worker.values()), default=None)


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
