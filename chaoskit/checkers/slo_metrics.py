"""Every figure that a promise can be about, by subject: put, watch, slow_watch, lease, write, recovery and so on.

Values are seconds, shares 0..1, counts, or rates per second; None where the run tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Literal

from chaoskit.results import Figures, OperationFigures, Percentiles, PhaseFigures, WatchFigures

PACED = ("put", "read", "delete", "txn", "range")
OPERATIONS = (
    *PACED, "txn_read", "range_page", "lease_grant", "lease_keepalive", "lease_revoke",
)  # fmt: skip
WHOLE_RUN = "the whole run"
BASELINE = "baseline"

Unit = Literal["duration", "share", "count", "rate"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What a promise is held against: the whole judged run or one phase."""

    name: str
    ops: Mapping[str, OperationFigures]
    watch: WatchFigures
    slow_watch: WatchFigures
    write_gap_s: float | None
    leader_changes: int
    saturated: bool
    run: Figures


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure that a promise can be about; `read` gives it in seconds, 0..1, a count, or per second."""

    unit: Unit
    read: Callable[[Scope], float | None]
    by_phase: bool = True
    timing: bool = False  # a saturated generator makes it worthless


def _operation(
    kind: str, unit: Unit, read: Callable[[OperationFigures], float | None], *, timing: bool = False
) -> Metric:
    def of(scope: Scope) -> float | None:
        return read(scope.ops[kind]) if kind in scope.ops else None

    return Metric(unit, of, timing=timing)


def _seconds(percentiles: Percentiles, name: str) -> float | None:
    value: float | None = getattr(percentiles, name)
    return None if value is None else value / 1000


def _response(name: str, figures: OperationFigures) -> float | None:
    return _seconds(figures.response_ms, name)


def _service(name: str, figures: OperationFigures) -> float | None:
    return _seconds(figures.service_ms, name)


def _lag(name: str, figures: WatchFigures) -> float | None:
    return _seconds(figures.lag_ms, name)


def _expiry_lag(name: str, run: Figures) -> float | None:
    value: float | None = getattr(run.lease.expiry_lag_s, name)
    return value


def _errors(figures: OperationFigures) -> float | None:
    bad = figures.failed + figures.unknown + figures.unsent
    return bad / (bad + figures.ok) if bad + figures.ok else None


def _conflicts(figures: OperationFigures) -> float | None:
    return figures.conflicts / figures.ok if figures.ok else None


_PERCENTILES = ("p50", "p90", "p99", "p99_9", "max")


def _operation_metrics(kind: str) -> dict[str, Metric]:
    metrics = {
        "errors": _operation(kind, "share", _errors),
        "goodput": _operation(kind, "rate", lambda figures: figures.goodput_per_s),
        "offered": _operation(kind, "rate", lambda figures: figures.offered_per_s),
        "achieved": _operation(kind, "rate", lambda figures: figures.achieved_per_s),
        "ok": _operation(kind, "count", lambda figures: figures.ok),
        "failed": _operation(kind, "count", lambda figures: figures.failed),
        "unknown": _operation(kind, "count", lambda figures: figures.unknown),
        "unsent": _operation(kind, "count", lambda figures: figures.unsent),
    }
    if kind == "txn":
        metrics["conflicts"] = _operation(kind, "share", _conflicts)
    for name in (*_PERCENTILES, "stddev"):
        metrics[name] = _operation(kind, "duration", partial(_response, name), timing=True)
        metrics[f"service.{name}"] = _operation(kind, "duration", partial(_service, name), timing=True)
    return metrics


def _watch(of: Callable[[Scope], WatchFigures]) -> dict[str, Metric]:
    def metric(unit: Unit, read: Callable[[WatchFigures], float | None], *, timing: bool = False) -> Metric:
        return Metric(unit, lambda scope: read(of(scope)) if of(scope).watches else None, timing=timing)

    return {
        "lost": metric("count", lambda figures: figures.silent_loss),
        "client_loss": metric("count", lambda figures: figures.client_loss),
        "declared_loss": metric("count", lambda figures: figures.declared_loss),
        "tail": metric("count", lambda figures: figures.tail),
        "duplicate": metric("count", lambda figures: figures.duplicate),
        "out_of_order": metric("count", lambda figures: figures.out_of_order),
        "late": metric("count", lambda figures: figures.late, timing=True),
        "stall": metric("duration", lambda figures: figures.stall_max_s),
        "reconnects": metric("count", lambda figures: sum(figures.reconnects.values())),
    } | {f"lag.{name}": metric("duration", partial(_lag, name), timing=True) for name in _PERCENTILES}


def _lease(read: Callable[[Figures], float | None], unit: Unit = "count") -> Metric:
    return Metric(unit, lambda scope: read(scope.run) if scope.run.lease.granted else None, by_phase=False)


_LEASE = {
    "early_expiry": _lease(lambda run: run.lease.early_expiry),
    "late_expiry": _lease(lambda run: run.lease.late_expiry),
    "client_expiry": _lease(lambda run: run.lease.client_expiry),
    "expired_as_asked": _lease(lambda run: run.lease.expired_as_asked),
} | {f"expiry_lag.{name}": _lease(partial(_expiry_lag, name), "duration") for name in _PERCENTILES}


def _goodput(scope: Scope) -> float | None:
    """All that is due by a rate together: leases pace themselves, further pages and reads of transactions follow."""
    rates = [scope.ops[kind].goodput_per_s for kind in PACED if kind in scope.ops]
    return sum(rates) if rates else None


def _recovery(_scope: Scope) -> float | None:
    raise AssertionError("recoveries are judged fault by fault, never by scope")


def _knee(_scope: Scope) -> float | None:
    raise AssertionError("knees are judged search by search, never by scope")


RUN: dict[str, dict[str, Metric]] = {
    "watch": _watch(lambda scope: scope.watch),
    "slow_watch": _watch(lambda scope: scope.slow_watch),
    "lease": _LEASE,
    "write": {
        "gap": Metric("duration", lambda scope: scope.write_gap_s),
        "gap_per_client": Metric("duration", lambda scope: scope.run.write_gap_per_client_s, by_phase=False),
    },
    "recovery": {"time": Metric("duration", _recovery), "since_heal": Metric("duration", _recovery)},
    "leader": {"changes": Metric("count", lambda scope: scope.leader_changes)},
    "goodput": {"": Metric("rate", _goodput)},
    "knee": {"": Metric("rate", _knee)},
}


def metrics_of(subject: str) -> dict[str, Metric]:
    return RUN.get(subject) or _operation_metrics(subject)


def scopes_of(figures: Figures, glob: str) -> list[Scope]:
    if not glob:
        return [_whole_run(figures)]
    return [_of_phase(phase, figures) for phase in figures.phases if fnmatchcase(phase.name, glob)]


def _whole_run(figures: Figures) -> Scope:
    return Scope(
        WHOLE_RUN, figures.totals, figures.watch, figures.slow_watch, figures.write_gap_s, figures.leader_changes,
        bool(figures.generator.saturated_phases), figures,
    )  # fmt: skip


def _of_phase(phase: PhaseFigures, figures: Figures) -> Scope:
    return Scope(
        phase.name, phase.ops, phase.watch, phase.slow_watch, phase.write_gap_s, phase.leader_changes,
        phase.name in figures.generator.saturated_phases, figures,
    )  # fmt: skip
