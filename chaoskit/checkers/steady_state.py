"""Was the cluster well before anything was done to it? Every promise under `steady-state:`, and a minimal goodput."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.checkers.slo import evaluate, parse_all
from chaoskit.checkers.slo_metrics import BASELINE
from chaoskit.contracts import Promises
from chaoskit.history import History
from chaoskit.results import Figures
from chaoskit.verdict import Finding, Verdict

MINIMAL_GOODPUT = 0.5
"""Of what is offered: below, nothing that happens later says anything about the fault."""


class SteadyStateChecker:
    """Holds the promises against the baseline; the minimal goodput nobody needs to ask for."""

    name = "steady-state"

    def check(self, _history: History, figures: Figures, promises: Promises) -> Sequence[Finding]:
        slos = parse_all(promises.steady_state, figures)
        return [_minimal_goodput(figures), *(evaluate(slo, figures, "steady-state") for slo in slos)]


def _minimal_goodput(figures: Figures) -> Finding:
    ops = [one for phase in figures.phases if phase.name == BASELINE for one in phase.ops.values()]
    ok = sum(one.ok for one in ops)
    offered = sum(one.ok + one.failed + one.unknown + one.unsent for one in ops)
    if not offered:
        verdict, says = Verdict.UNKNOWN, "nothing was asked of the cluster in the baseline"
    else:
        verdict = Verdict.PASS if ok >= MINIMAL_GOODPUT * offered else Verdict.FAIL
        says = f"{ok} of {offered} operations of the baseline were acknowledged"
    return Finding(
        checker="steady-state",
        promise="Minimal goodput",
        kind="steady-state",
        verdict=verdict,
        sentence=f"Minimal goodput ({MINIMAL_GOODPUT:.0%} of what is offered): {says}",
        numbers={"ok": ok, "offered": offered},
    )
