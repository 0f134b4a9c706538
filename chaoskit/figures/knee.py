"""The knee: the highest rate whose responses stay quick, found by a search that raises a rate until it breaks.

A step holds when the response P99 of what was due in it is within the search's limit and what was acknowledged within
it is at least 90 % of what it offered. The knee is the rate of the last step before the first that did not hold. Where
the generator was saturated, or a step was cut short before it broke, nobody knows what the cluster could have done.
"""

from __future__ import annotations

from collections import Counter

from msgspec.structs import replace

from chaoskit.figures.generator import Generator
from chaoskit.figures.histograms import NS_PER_MS, NS_PER_S
from chaoskit.figures.operations import Tallies
from chaoskit.figures.phases import Phases
from chaoskit.history import History, Outcome, Search
from chaoskit.history.records import step_phase
from chaoskit.results import KneeFigures, KneeOutcome, KneeStep, StepVerdict

KEEPS_UP = 0.9
"""Of what a step offers has to be acknowledged within it; the same share that `etcdctl check perf` asks for."""
LEAST_CALLS = 100
"""Fewer have no P99."""
WHOLE = 0.95
"""Of its planned length: a shorter step that had not broken yet proves nothing."""


class Knees:
    """Every search of a history."""

    def __init__(self, history: History, phases: Phases, tallies: list[Tallies], generator: Generator) -> None:
        self._searches = history.searches
        self._acknowledged = _acknowledged(history, phases)
        self._phases = phases
        self._tallies = tallies
        self._generator = generator
        self._segments = {segment.name: index for index, segment in phases.named}

    def figures(self) -> tuple[KneeFigures, ...]:
        return tuple(map(self._one, self._searches))

    def _one(self, search: Search) -> KneeFigures:
        steps = tuple(self._step(search, rate) for rate in search.rates_per_s[: search.begun])
        held = next((place for place, step in enumerate(steps) if step.verdict != "held"), len(steps))
        end = steps[held] if held < len(steps) else None
        at_least = steps[held - 1].rate_per_s if held else None
        outcome: KneeOutcome = "unknown"
        if end and end.verdict == "broke":
            outcome = "found" if held else "broke at once"
        elif end is None and search.begun == len(search.rates_per_s):
            outcome = "not reached"
        return KneeFigures(
            name=search.name,
            operation=search.kind,
            p99_limit_ms=search.p99_limit_ns / NS_PER_MS,
            outcome=outcome,
            at_least_per_s=at_least,
            below_per_s=end.rate_per_s if end and end.verdict == "broke" else None,
            why=_why(search, steps, end),
            steps=steps,
        )

    def _step(self, search: Search, rate_per_s: float) -> KneeStep:
        name = step_phase(search.name, rate_per_s)
        index = self._segments.get(name)
        if index is None:
            return KneeStep(rate_per_s=rate_per_s, phase=name, verdict="unknown", why="its phase is not in the history")
        segment, tally = self._phases.segments[index], self._tallies[index].get(search.kind)
        if tally is None or not segment.seconds:
            why = f"no {search.kind} was due"
            return KneeStep(rate_per_s=rate_per_s, phase=name, seconds=segment.seconds, verdict="unknown", why=why)
        found = tally.figures(segment.seconds)
        step = KneeStep(
            rate_per_s=rate_per_s,
            phase=name,
            seconds=segment.seconds,
            offered_per_s=found.offered_per_s,
            goodput_per_s=self._acknowledged[search.kind, index] / segment.seconds,
            p99_ms=found.response_ms.p99,
            service_p99_ms=found.service_ms.p99,
            lag_p99_ms=self._generator.lag_p99_ms(index),
            cpu=self._generator.cpu_max(index),
            verdict="held",
        )
        return self._judged(step, search, index, calls=found.response_ms.count + found.failed)

    def _judged(self, step: KneeStep, search: Search, index: int, calls: int) -> KneeStep:
        assert step.offered_per_s is not None
        assert step.goodput_per_s is not None
        limit_ms = search.p99_limit_ns / NS_PER_MS
        broke = [f"P99 {step.p99_ms:.4g} ms > {limit_ms:g} ms"] if step.p99_ms and step.p99_ms > limit_ms else []
        if step.goodput_per_s < KEEPS_UP * step.offered_per_s:
            broke.append(f"goodput {step.goodput_per_s:.1f}/s < {KEEPS_UP:.0%} of {step.offered_per_s:.1f}/s offered")
        if self._generator.saturated(index):
            lag = "unknown" if step.lag_p99_ms is None else f"{step.lag_p99_ms:.2f} ms"
            cpu = "unknown" if step.cpu is None else f"{step.cpu:.0%}"
            says = f"the generator, not the cluster: scheduling lag P99 {lag}, highest CPU of a worker {cpu}"
            return _with(step, "unknown", "; ".join([says, *broke]))
        if calls < LEAST_CALLS:
            return _with(step, "unknown", f"{calls} calls have no P99")
        if broke:
            return _with(step, "broke", "; ".join(broke))
        if step.seconds * NS_PER_S < WHOLE * search.every_ns:
            return _with(step, "unknown", f"cut short after {step.seconds:.1f} s, before it broke")
        return step


def _acknowledged(history: History, phases: Phases) -> Counter[tuple[str, int]]:
    """By kind and phase in which it was done, whenever it was due: what is due at a step's end is done in the next."""
    kinds = {search.kind for search in history.searches}
    return Counter(
        (op.kind, phases.index_at(op.done_ns))
        for op in (history.operations if kinds else ())
        if op.kind in kinds and op.outcome is Outcome.OK
    )


def _with(step: KneeStep, verdict: StepVerdict, why: str) -> KneeStep:
    return replace(step, verdict=verdict, why=why)


def _why(search: Search, steps: tuple[KneeStep, ...], end: KneeStep | None) -> str:
    if end:
        return f"at {end.rate_per_s:g}/s: {end.why}"
    if search.begun < len(search.rates_per_s):
        return f"ended after {len(steps)} of {len(search.rates_per_s)} steps: {search.stopped or 'nobody said why'}"
    return "every step held"


def where_it_lies(knee: KneeFigures) -> str:
    """`2000/s`, `≥ 4000/s (not reached)`, `< 500/s (broke at its first step)`, `≥ 500/s, and no more is known`."""
    match knee.outcome, knee.at_least_per_s, knee.below_per_s:
        case "found", float(rate), _:
            return f"{rate:g}/s"
        case "not reached", float(rate), _:
            return f"≥ {rate:g}/s (not reached)"
        case "broke at once", _, float(rate):
            return f"< {rate:g}/s (broke at its first step)"
        case _, float(rate), _:
            return f"≥ {rate:g}/s, and no more is known"
    return "not known"
