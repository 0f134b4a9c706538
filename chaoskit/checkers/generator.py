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
    """The load generator kept up, or no promise depends on it: lag P99 ≤ 5 ms, no worker's CPU stays above 90 %, none
    stands still for more than 1 % of a phase."""

    name = "generator"

    def check(self, _history: History, figures: Figures, promises: Promises) -> Sequence[Finding]:
        slos = parse_all((*promises.slo, *promises.steady_state), figures)
        saturated = figures.generator.saturated_phases
        if not saturated:
            stalled = max(
                (one for phase in figures.phases if (one := phase.generator_stalled) is not None), default=None
            )
            health = _health(figures.generator.lag_ms.p99, figures.generator.cpu, stalled)
            return [_finding(Verdict.PASS, f"Generator kept up: {health}", figures.generator)]
        if not any(depends_on_timing(slo) for slo in slos):
            return []
        worst = [
            f"{phase.name} ({_health(phase.generator_lag_p99_ms, phase.generator_cpu_max, phase.generator_stalled)})"
            for phase in figures.phases
            if phase.name in saturated
        ]
        return [_finding(Verdict.UNKNOWN, f"Generator saturated in {', '.join(worst)}", figures.generator)]


def _health(lag_p99_ms: float | None, cpu: float | None, stalled: float | None) -> str:
    lag = "unknown" if lag_p99_ms is None else f"{lag_p99_ms:.2f} ms"
    still = f", its event loop stood still for {stalled:.1%} of the time" if stalled else ""
    return f"scheduling lag P99 {lag}, highest CPU of a worker {'unknown' if cpu is None else f'{cpu:.0%}'}{still}"


def _finding(verdict: Verdict, sentence: str, generator: GeneratorFigures) -> Finding:
    numbers = {
        "lag_p99_ms": generator.lag_ms.p99,
        "cpu": generator.cpu,
        "loop_stall_ms": generator.loop_stall_ms,
        "gc_pause_ms": generator.gc_pause_ms,
    }
    return Finding(
        checker="generator",
        promise="Generator kept up",
        kind="generator",
        verdict=verdict,
        sentence=sentence,
        numbers={name: number for name, number in numbers.items() if number is not None},
    )
