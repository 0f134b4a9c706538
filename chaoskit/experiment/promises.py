"""Promises held against the plan: one about a phase or a workload that the run lacks could only end as unknown."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from chaoskit.checkers import slo
from chaoskit.errors import Problem, unknown
from chaoskit.experiment.document import Document, Path
from chaoskit.experiment.model import EVERY_OPERATION
from chaoskit.experiment.plan import Burst, FaultStep, Plan, Search
from chaoskit.workloads import WORKLOADS


def unkeepable(plan: Plan, document: Document) -> list[Problem]:
    """Promises of the plan that nothing in it can decide."""
    return [
        document.place(path).problem(path, why)
        for path, text in _promises(plan)
        if (why := _why_not(slo.parse(text, EVERY_OPERATION), plan))
    ]


def _promises(plan: Plan) -> Iterator[tuple[Path, str]]:
    for number, text in enumerate(plan.steady_state):
        yield ("steady-state", number), text
    for number, text in enumerate(plan.slo):
        yield ("slo", number), text


def _why_not(promise: slo.Slo, plan: Plan) -> str | None:
    names = _names(plan)
    if promise.phases and not any(fnmatchcase(name, promise.phases) for name in names):
        return unknown("phase", promise.phases, names)
    if promise.subject == "knee" and not any(isinstance(step, Search) for step in plan.method):
        return "nothing in the method is a search, so there is no knee"
    recorded = _recorded(plan)
    if promise.subject in (*EVERY_OPERATION, "watch", "lease") and promise.subject not in recorded:
        return f"nothing in load or in a burst records {promise.subject}; there are: {', '.join(sorted(recorded))}"
    return None


def _names(plan: Plan) -> list[str]:
    """Of phases, of faults, which `recovery.time` can name, and of searches, which `knee` can."""
    faults = [timed.name for step in plan.method if isinstance(step, FaultStep) for timed in step.faults]
    searches = [step.name for step in plan.method if isinstance(step, Search)]
    return [phase.name for phase in plan.phases()] + faults + searches


def _recorded(plan: Plan) -> set[str]:
    bursts = [step.workload for step in plan.method if isinstance(step, Burst)]
    kinds = {workload.kind for workload in (*plan.load.workloads.values(), *bursts)}
    leases = {"lease"} if "lease_storm" in kinds else set()
    return kinds | leases | {operation for kind in kinds for operation in WORKLOADS[kind].operations}
