"""Promises about leases: none ends before its time, and none that is gone is said to live.

A late end is reported and breaks no promise; a client that renewed too late has itself to blame.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.contracts import Promises
from chaoskit.history import History
from chaoskit.results import Figures, LeaseFigures
from chaoskit.verdict import Finding, Verdict


class LeaseChecker:
    """No lease ends early, none that is gone is renewed. Silent about a run without leases."""

    name = "lease"

    def check(self, _history: History, figures: Figures, _promises: Promises) -> Sequence[Finding]:
        lease = figures.lease
        return [_no_early_expiry(lease), _gone_is_gone(lease)] if lease.granted else []


def _no_early_expiry(lease: LeaseFigures) -> Finding:
    promise = "No early expiry"
    if lease.early_expiry is None:
        sentence = f"{promise} not known: the ground truth has a hole"
        return _finding(promise, Verdict.UNKNOWN, sentence, lease)
    if lease.early_expiry:
        sentence = f"{promise} broken: {lease.early_expiry} of {lease.granted} leases; first: {lease.early[0]}"
        return _finding(promise, Verdict.FAIL, sentence, lease, broken=lease.early_expiry, evidence=lease.early)
    sentence = f"{promise} held: {lease.granted} leases, {lease.keepalives} acknowledged keepalives"
    return _finding(promise, Verdict.PASS, sentence, lease)


def _gone_is_gone(lease: LeaseFigures) -> Finding:
    promise = "A lease that is gone is not renewed"
    if lease.renewed_after_gone:
        sentence = f"{promise} broken: {lease.renewed_after_gone} keepalives; first: {lease.renewed[0]}"
        broken = lease.renewed_after_gone
        return _finding(promise, Verdict.FAIL, sentence, lease, broken=broken, evidence=lease.renewed)
    return _finding(promise, Verdict.PASS, f"{promise} held", lease)


def _finding(
    promise: str,
    verdict: Verdict,
    sentence: str,
    lease: LeaseFigures,
    *,
    broken: int = 0,
    evidence: tuple[str, ...] = (),
) -> Finding:
    return Finding(
        checker="lease",
        promise=promise,
        kind="guarantee",
        verdict=verdict,
        sentence=sentence,
        numbers={"broken": broken, "granted": lease.granted},
        evidence=evidence,
    )
