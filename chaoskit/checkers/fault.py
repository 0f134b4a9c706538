"""Did each fault bite, was it undone, did the cluster recover, and did a cut-off minority keep quiet?

A fault that was never proven is no evidence. One that is not proven to be gone is an alarm about the test bed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chaoskit.contracts import Promises
from chaoskit.history import FaultSpan, History
from chaoskit.results import FaultFigures, Figures, RecoveryFigures
from chaoskit.verdict import Finding, FindingKind, Verdict


class FaultChecker:
    """Every fault was proven to bite and to be gone, the cluster recovered, a cut-off minority wrote nothing."""

    name = "fault"

    def check(self, history: History, figures: Figures, _promises: Promises) -> Sequence[Finding]:
        findings = [_proven(fault) for fault in history.faults]
        findings += [_healed(fault) for fault in history.faults if fault.injected_ns]
        findings += [_minority(fault) for fault in figures.faults if fault.old_leader_wrote is not None]
        findings += [_recovered(one, figures) for one in figures.recovery if _seen_long_enough(one)]
        return findings


def unhealed(history: History) -> list[str]:
    """Faults that were injected and never proven to be gone."""
    return [fault.name for fault in history.faults if fault.injected_ns and not fault.healed_ns]


def missing(planned: Collection[str], history: History) -> list[Finding]:
    """Faults that the plan has and the history has not."""
    happened = {fault.name for fault in history.faults}
    return [
        _finding(f"Injected: {name}", "fault", Verdict.UNKNOWN, f"{name} was planned and never injected")
        for name in planned
        if name not in happened
    ]


def _proven(fault: FaultSpan) -> Finding:
    promise = f"Injected: {fault.name}"
    if not fault.verified_ns:
        sentence = f"{fault.name} was not proven to have bitten: {fault.problem or 'no reason is known'}"
        return _finding(promise, "fault", Verdict.UNKNOWN, sentence)
    took_s = (fault.verified_ns - fault.injected_ns) / 1e9
    sentence = f"{fault.name} was proven {took_s:.2f} s after the injection: {fault.evidence}"
    return _finding(promise, "fault", Verdict.PASS, sentence, {"seconds": took_s})


def _healed(fault: FaultSpan) -> Finding:
    promise = f"Healed: {fault.name}"
    if not fault.healed_ns:
        sentence = f"{fault.name} was not proven to be undone: {fault.problem or 'no reason is known'}"
        return _finding(promise, "infrastructure", Verdict.FAIL, sentence)
    took_s = (fault.healed_ns - fault.heal_began_ns) / 1e9
    sentence = f"{fault.name} was proven to be undone after {took_s:.2f} s: {fault.heal_evidence}"
    return _finding(promise, "infrastructure", Verdict.PASS, sentence, {"seconds": took_s})


def _minority(fault: FaultFigures) -> Finding:
    promise = f"A cut-off minority acknowledges no write: {fault.name}"
    if fault.old_leader_wrote:
        sentence = f"{promise} broken: a member without a majority acknowledged a write while it was cut off"
        return _finding(promise, "guarantee", Verdict.FAIL, sentence)
    return _finding(promise, "guarantee", Verdict.PASS, f"{promise} held")


def _seen_long_enough(recovery: RecoveryFigures) -> bool:
    return recovery.seconds is not None or recovery.never_recovered_after_s is not None


def _recovered(recovery: RecoveryFigures, figures: Figures) -> Finding:
    promise = f"Recovered: {recovery.fault}"
    never_s = recovery.never_recovered_after_s or recovery.never_since_heal_after_s
    if never_s is None:
        since_heal = recovery.seconds_since_heal
        healed = "" if since_heal is None else f", {since_heal:g} s after its heal"
        sentence = f"recovered {recovery.seconds:g} s after {recovery.fault} was proven{healed}"
        return _finding(promise, "fault", Verdict.PASS, sentence)
    phases = {f"fault:{recovery.fault}", f"recovery:{recovery.fault}"}
    if phases & set(figures.generator.saturated_phases):
        sentence = f"generator saturated while the recovery from {recovery.fault} was watched"
        return _finding(promise, "fault", Verdict.UNKNOWN, sentence)
    sentence = f"never recovered from {recovery.fault}: > {never_s:g} s"
    return _finding(promise, "fault", Verdict.FAIL, sentence, {"seconds": never_s})


def _finding(
    promise: str, kind: FindingKind, verdict: Verdict, sentence: str, numbers: dict[str, float] | None = None
) -> Finding:
    return Finding(
        checker="fault", promise=promise, kind=kind, verdict=verdict, sentence=sentence, numbers=numbers or {}
    )
