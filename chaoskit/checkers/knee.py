"""What each search found. A knee is a figure, not a promise: `knee >= 2000/s` under `slo:` makes it one."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.contracts import Promises
from chaoskit.figures.knee import where_it_lies
from chaoskit.history import History
from chaoskit.results import Figures, KneeFigures
from chaoskit.verdict import Finding, Verdict


class KneeChecker:
    """A search answered its question: it found the knee, or showed that it lies above all that was asked for."""

    name = "knee"

    def check(self, _history: History, figures: Figures, _promises: Promises) -> Sequence[Finding]:
        return [_finding(knee) for knee in figures.knees]


def _finding(knee: KneeFigures) -> Finding:
    """A rate below the first step, or a saturated generator, leaves the question open."""
    answered = knee.outcome in ("found", "not reached")
    numbers = {"at_least_per_s": knee.at_least_per_s, "below_per_s": knee.below_per_s}
    return Finding(
        checker="knee",
        promise=f"Knee of {knee.operation} ({knee.name})",
        kind="search",
        verdict=Verdict.PASS if answered else Verdict.UNKNOWN,
        sentence=f"Knee of {knee.operation} ({knee.name}): {where_it_lies(knee)} with P99 ≤ {knee.p99_limit_ms:g} ms; "
        f"{knee.why}",
        numbers={name: number for name, number in numbers.items() if number is not None},
        evidence=tuple(f"{step.phase} {step.verdict}: {step.why or 'P99 and goodput'}" for step in knee.steps[-20:]),
    )
