"""Promises that people write: `put.p99 < 100ms`, `watch.lost == 0`, `goodput > 90% of baseline in recovery:*`.

Grammar, like k6's: `<subject>.<metric> <op> <value> [of baseline] [in <phase>]`. The phase may be a glob, and then each
phase that it matches must hold. Without a phase the whole judged run counts, in a steady state the baseline.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from chaoskit.checkers.slo_metrics import (
    BASELINE,
    OPERATIONS,
    RUN,
    WHOLE_RUN,
    Metric,
    Scope,
    Unit,
    metrics_of,
    scopes_of,
)
from chaoskit.contracts import Promises
from chaoskit.errors import unknown
from chaoskit.figures.knee import where_it_lies
from chaoskit.history import History
from chaoskit.results import Figures, KneeFigures, RecoveryFigures
from chaoskit.units import parse_duration, parse_rate, parse_share
from chaoskit.verdict import Finding, Verdict

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_FORM = re.compile(
    r"\s*(?P<what>[A-Za-z][\w.]*)\s*(?P<op><=|>=|==|!=|<|>)\s*(?P<value>\S+?(?:\s*%)?)(?P<relative>\s+of\s+baseline)?"
    r"(?:\s+in\s+(?P<phases>\S+))?\s*"
)


@dataclass(frozen=True, slots=True)
class Slo:
    """One promise, read."""

    text: str
    subject: str
    name: str  # of the metric, "" for the bare `goodput`
    op: str
    limit: float  # in the metric's unit, or a share of the baseline's
    of_baseline: bool
    phases: str  # a glob, "" for the default


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse(text: str, operations: Collection[str] = OPERATIONS) -> Slo:
    """Raises ValueError that names the choices. `operations` are the kinds that the run's workloads record."""
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(
            f"{text!r} is not a promise; write <subject>.<metric> <op> <value> [of baseline] [in <phase>], "
            "such as put.p99 < 100ms or goodput > 90% of baseline in recovery:*"
        )
    subject, name = _split(match["what"], operations)
    metric = metrics_of(subject)[name]
    phases = match["phases"] or ""
    if phases and not metric.by_phase:
        raise ValueError(f"{match['what']} is counted over the whole run only; leave out 'in {phases}'")
    relative = bool(match["relative"])
    if relative and metric.unit not in ("rate", "duration"):
        raise ValueError(f"{match['what']} is a {metric.unit}; only rates and durations compare with the baseline")
    if relative and subject in ("recovery", "write", "knee"):
        instead = "a rate such as 1500/s" if metric.unit == "rate" else "a duration such as 5s"
        raise ValueError(f"{match['what']} has no value in a baseline to compare with; write {instead}")
    limit = parse_share(match["value"]) if relative else _value(match["value"], metric.unit)
    return Slo(" ".join(text.split()), subject, name, match["op"], limit, relative, phases)


def _split(what: str, operations: Collection[str]) -> tuple[str, str]:
    subject, _, name = what.partition(".")
    if subject == "lease" and name.startswith("keepalive."):
        subject, name = "lease_keepalive", name.removeprefix("keepalive.")
    if subject not in RUN and subject not in operations:
        raise ValueError(unknown("subject", subject, {*RUN, *operations}))
    name = name.replace("p99.9", "p99_9")
    choices = metrics_of(subject)
    if name not in choices:
        if "" in choices:
            raise ValueError(f"{what!r}: {subject} alone is a figure; write {subject} > 200/s")
        raise ValueError(f"{subject}: {unknown('metric', name, choices)}")
    return subject, name


def _value(text: str, unit: Unit) -> float:
    match unit:
        case "duration":
            return parse_duration(text)
        case "share":
            return parse_share(text)
        case "rate":
            return parse_rate(text)
        case "count":
            if not re.fullmatch(r"[0-9]{1,15}", text):
                raise ValueError(f"{text!r} is not a count; write a whole number without a unit, such as 0")
            return float(text)


def parse_all(texts: Collection[str], figures: Figures) -> list[Slo]:
    """Promises that were valid when the run was planned, so its own operations are known."""
    return [parse(text, {*OPERATIONS, *figures.totals}) for text in texts]


# ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Answer:
    """How one scope, or one fault, fared."""

    verdict: Verdict
    says: str
    value: float | None = None
    limit: float | None = None


def evaluate(slo: Slo, figures: Figures, kind: Literal["slo", "steady-state"] = "slo") -> Finding:
    """Hold one promise against the figures. The worst of several scopes speaks."""
    match slo.subject:
        case "recovery":
            answers = _recoveries(slo, figures)
        case "knee":
            answers = _knees(slo, figures)
        case _:
            answers = _answers(slo, figures, kind)
    verdict = Verdict.worst(answer.verdict for answer in answers)
    worst = next(answer for answer in answers if answer.verdict is verdict)
    word = {Verdict.PASS: "held", Verdict.FAIL: "broken", Verdict.UNKNOWN: "not known"}[verdict]
    numbers = {"value": worst.value, "limit": worst.limit}
    return Finding(
        checker=kind,
        promise=slo.text,
        kind=kind,
        verdict=verdict,
        sentence=f"{slo.text} {word}: {worst.says}",
        numbers={name: number for name, number in numbers.items() if number is not None},
        evidence=tuple(answer.says for answer in answers[:20]) if len(answers) > 1 else (),
    )


def _answers(slo: Slo, figures: Figures, kind: str) -> list[_Answer]:
    phases = slo.phases or (BASELINE if kind == "steady-state" and metrics_of(slo.subject)[slo.name].by_phase else "")
    scopes = scopes_of(figures, phases)
    if not scopes:
        names = ", ".join(phase.name for phase in figures.phases) or "none"
        return [_Answer(Verdict.UNKNOWN, f"no phase is called {phases!r}; there are: {names}")]
    metric = metrics_of(slo.subject)[slo.name]
    limit = _baseline_value(metric, figures, slo.limit) if slo.of_baseline else slo.limit
    if limit is None:
        return [_Answer(Verdict.UNKNOWN, "there is no baseline to compare with")]
    return [_answer(slo, metric, scope, limit) for scope in scopes]


def _answer(slo: Slo, metric: Metric, scope: Scope, limit: float) -> _Answer:
    value = metric.read(scope)
    where = f"in {scope.name}" if scope.name != WHOLE_RUN else f"over {WHOLE_RUN}"
    if value is None:
        return _Answer(Verdict.UNKNOWN, f"nothing {where} tells", limit=limit)
    holds = _OPERATORS[slo.op](value, limit)
    of_limit = f", {slo.limit:.0%} of baseline is {_show(limit, metric.unit)}" if slo.of_baseline else ""
    closed = slo.subject in scope.ops and scope.ops[slo.subject].closed and metric.timing
    says = f"{_show(value, metric.unit)} {where}{of_limit}{' (closed model: a stall hides)' * closed}"
    if scope.saturated and (metric.timing or (metric.unit == "rate" and not holds)):
        return _Answer(Verdict.UNKNOWN, f"generator saturated, {says}", value, limit)
    return _Answer(Verdict.PASS if holds else Verdict.FAIL, says, value, limit)


def _recoveries(slo: Slo, figures: Figures) -> list[_Answer]:
    chosen = [recovery for recovery in figures.recovery if _names_fault(slo.phases, recovery.fault)]
    if not chosen:
        return [_Answer(Verdict.UNKNOWN, "no such fault was proven")]
    return [_recovered(slo, recovery, figures) for recovery in chosen]


def _knees(slo: Slo, figures: Figures) -> list[_Answer]:
    chosen = [knee for knee in figures.knees if not slo.phases or fnmatchcase(knee.name, slo.phases)]
    return [_knee(slo, knee) for knee in chosen] or [_Answer(Verdict.UNKNOWN, "no such search was made")]


def _knee(slo: Slo, knee: KneeFigures) -> _Answer:
    """A search that did not find its knee still knows between which rates it lies."""
    says = f"{knee.name} {where_it_lies(knee)}"
    low, high = knee.at_least_per_s or 0.0, knee.below_per_s
    holds = _OPERATORS[slo.op]
    if knee.outcome == "found":
        verdict = Verdict.PASS if holds(low, slo.limit) else Verdict.FAIL
        return _Answer(verdict, says, low, slo.limit)
    upwards, downwards = slo.op in (">", ">="), slo.op in ("<", "<=")
    if (upwards and holds(low, slo.limit)) or (downwards and high is not None and high <= slo.limit):
        return _Answer(Verdict.PASS, says, limit=slo.limit)
    if (downwards and not holds(low, slo.limit)) or (upwards and high is not None and high <= slo.limit):
        return _Answer(Verdict.FAIL, says, limit=slo.limit)
    return _Answer(Verdict.UNKNOWN, says, limit=slo.limit)


def _names_fault(glob: str, fault: str) -> bool:
    return not glob or any(fnmatchcase(name, glob) for name in (fault, f"fault:{fault}", f"recovery:{fault}"))


def _recovered(slo: Slo, recovery: RecoveryFigures, figures: Figures) -> _Answer:
    if slo.name == "time":
        value, never_after_s = recovery.seconds, recovery.never_recovered_after_s
    else:
        value, never_after_s = recovery.seconds_since_heal, recovery.never_since_heal_after_s
    saturated = any(_names_fault(phase, recovery.fault) for phase in figures.generator.saturated_phases)
    if value is not None and _OPERATORS[slo.op](value, slo.limit):
        return _Answer(Verdict.PASS, f"{_show(value, 'duration')} after {recovery.fault}", value, slo.limit)
    if value is None and never_after_s is None:
        return _Answer(Verdict.UNKNOWN, f"too little was seen after {recovery.fault}", limit=slo.limit)
    took = f"> {_show(never_after_s, 'duration')}" if value is None and never_after_s else _show(value or 0, "duration")
    if saturated:
        return _Answer(Verdict.UNKNOWN, f"generator saturated, {took} after {recovery.fault}", value, slo.limit)
    return _Answer(Verdict.FAIL, f"{took} after {recovery.fault}", value, slo.limit)


def _baseline_value(metric: Metric, figures: Figures, share: float) -> float | None:
    values = [metric.read(scope) for scope in scopes_of(figures, BASELINE)]
    return None if not values or values[0] is None else share * values[0]


def _show(value: float, unit: Unit) -> str:
    match unit:
        case "duration":
            return f"{value * 1000:.4g} ms" if value < 1 else f"{value:.4g} s"
        case "share":
            return f"{value:.3%}"
        case "rate":
            return f"{value:.1f}/s"
        case "count":
            return f"{value:.0f}"


class SloChecker:
    """Every promise under `slo:`."""

    name = "slo"

    def check(self, _history: History, figures: Figures, promises: Promises) -> Sequence[Finding]:
        return [evaluate(slo, figures) for slo in parse_all(promises.slo, figures)]


def steady_p99_s(texts: Sequence[str]) -> float | None:
    """The highest response P99 in seconds that these promises still call steady; None when none of them limits it."""
    limits = [
        slo.limit for slo in map(parse, texts) if slo.name == "p99" and slo.op in ("<", "<=") and not slo.of_baseline
    ]
    return max(limits, default=None)


def depends_on_timing(slo: Slo) -> bool:
    """Whether a saturated generator makes the verdict worthless."""
    return metrics_of(slo.subject)[slo.name].timing
