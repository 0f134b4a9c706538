"""Was it the cluster that set the figures, or our own load generator?

A saturated phase makes the latency verdicts on it unknown. Without a promise about latency it is only shown.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.checkers.slo import depends_on_timing, parse_all
from chaoskit.contracts import Promises
from chaoskit.history import History
from chaoskit.results import Figures, GeneratorFigures
from chaoskit.verdict import Finding, Verdict


class GeneratorChecker:
    """The load generator kept up, or no promise depends on it: lag P99 ≤ 5 ms, no worker's CPU stays above 90 %."""

    name = "generator"

    def check(self, _history: History, figures: Figures, promises: Promises) -> Sequence[Finding]:
        slos = parse_all((*promises.slo, *promises.steady_state), figures)
        saturated = figures.generator.saturated_phases
        if not saturated:
            return [_finding(Verdict.PASS, f"Generator kept up: {_health(figures.generator)}", figures.generator)]
        if not any(depends_on_timing(slo) for slo in slos):
            return []
        sentence = f"Generator saturated in {', '.join(saturated)}: {_health(figures.generator)}"
        return [_finding(Verdict.UNKNOWN, sentence, figures.generator)]


def _health(generator: GeneratorFigures) -> str:
    lag = "unknown" if generator.lag_ms.p99 is None else f"{generator.lag_ms.p99:.2f} ms"
    cpu = "unknown" if generator.cpu is None else f"{generator.cpu:.0%}"
    return f"scheduling lag P99 {lag}, highest CPU of a worker {cpu}"


def _finding(verdict: Verdict, sentence: str, generator: GeneratorFigures) -> Finding:
    numbers = {"lag_p99_ms": generator.lag_ms.p99, "cpu": generator.cpu}
    return Finding(
        checker="generator",
        promise="Generator kept up",
        kind="generator",
        verdict=verdict,
        sentence=sentence,
        numbers={name: number for name, number in numbers.items() if number is not None},
    )
