"""Leases: did each live as long as the server had promised, and not much longer?

The promise: an acknowledged renewal (the grant, or a keepalive with a TTL above 0) keeps the lease until its *send*
time + TTL. The end: the LOG's delete of a key that was attached to the lease, first seen by any audit watcher; a sight
is never before the fact, so an early expiry that is counted is a real one. A keepalive that is told "gone" before that
time is one as well.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from chaoskit.figures.histograms import NS_PER_S, Latencies
from chaoskit.figures.members import Leaders
from chaoskit.figures.truth import EVIDENCE_LIMIT, Entry, Truth
from chaoskit.history import FaultSpan, History, LeaseEnded, Operation, Outcome
from chaoskit.results import LeaseFigures

ELECTION_NS = 3 * NS_PER_S
SLACK_NS = 5 * NS_PER_S
REVOKES_PER_S = 1000
"""etcd revokes at most this many expired leases a second, so many leases that expire at once take longer."""
_SHORTLY_BEFORE_NS = 15 * NS_PER_S


@dataclass(slots=True)
class Lease:
    """All that is known of one lease."""

    grant: Operation
    keepalives: list[Operation] = field(default_factory=list)  # by due time
    revokes: list[Operation] = field(default_factory=list)
    key: str = ""
    deleted: Entry | None = None
    ended: LeaseEnded | None = None

    @property
    def ttl_ns(self) -> int:
        return self.grant.ttl_s * NS_PER_S

    def renewals(self) -> list[Operation]:
        """Acknowledged ones, the grant first."""
        return [self.grant, *(op for op in self.keepalives if op.outcome is Outcome.OK and op.ttl_s > 0)]

    def promised_until(self, at_ns: int) -> tuple[Operation, int]:
        """The acknowledged renewal sent last before a moment, and the time that it promised."""
        last = max((op for op in self.renewals() if op.sent_ns <= at_ns), key=lambda op: op.sent_ns, default=self.grant)
        return last, last.sent_ns + self.ttl_ns

    def maybe_renewed_ns(self, at_ns: int) -> int:
        """The last moment before `at_ns` at which any keepalive may have renewed it, acknowledged or not."""
        tried = (op for op in self.keepalives if op.outcome is not Outcome.FAILED and op.sent_ns <= at_ns)
        return max((op.done_ns or at_ns for op in tried), default=self.grant.done_ns)

    def revoked_before(self, at_ns: int) -> bool:
        """Whether we ourselves may have ended it."""
        return any(op.sent_ns <= at_ns and op.outcome is not Outcome.FAILED for op in self.revokes)


def figures(history: History, truth: Truth, leaders: Leaders) -> LeaseFigures:
    leases = _gather(history, truth)
    if not leases:
        return LeaseFigures()
    judge = _Judge(history, leaders, len(leases))
    for lease in leases.values():
        judge.look_at(lease)
    blind = not history.log or bool(truth.holes)
    return LeaseFigures(
        granted=len(leases),
        keepalives=sum(op.outcome is Outcome.OK for lease in leases.values() for op in lease.keepalives),
        early_expiry=len(judge.early) if judge.early or not blind else None,
        late_expiry=len(judge.late) if judge.late or not blind else None,
        client_expiry=judge.client_expiry,
        expired_as_asked=judge.expired_as_asked,
        expiry_lag_s=judge.expiry_lag.percentiles(NS_PER_S),
        early=tuple(judge.early[:EVIDENCE_LIMIT]),
        late=tuple(judge.late[:EVIDENCE_LIMIT]),
        renewed_after_gone=len(judge.renewed_after_gone),
        renewed=tuple(judge.renewed_after_gone[:EVIDENCE_LIMIT]),
    )


class _Judge:
    """Sorts the ends of leases: early, late, the client's own doing, as asked."""

    def __init__(self, history: History, leaders: Leaders, leases: int) -> None:
        self._faults = history.faults
        self._doubt_ns = {clock.worker: history.clock_doubt_ns(clock.worker) for clock in history.clocks}
        self._leaders = leaders
        self._observed_until_ns = max((event.seen_ns for event in history.log), default=0)
        self._slack_ns = SLACK_NS + leases * NS_PER_S // REVOKES_PER_S
        self.early: list[str] = []
        self.late: list[str] = []
        self.renewed_after_gone: list[str] = []
        self.client_expiry = 0
        self.expired_as_asked = 0
        self.expiry_lag = Latencies()

    def look_at(self, lease: Lease) -> None:
        gone_ns = lease.deleted.seen_ns if lease.deleted else 0
        expired = gone_ns > 0 and not lease.revoked_before(gone_ns)
        if expired:
            self._after_gone(lease, gone_ns)
        if expired and gone_ns < lease.promised_until(gone_ns)[1] - self._doubt_of(lease):
            self.early.append(self._explain_deleted(lease, gone_ns))
        elif refused := self._refused_early(lease):
            self.early.append(self._explain_refused(lease, refused))
        elif not lease.revokes:
            if expired:
                self._expired_in_time(lease, gone_ns)
            if lease.key:
                self._check_late(lease, gone_ns)

    def _doubt_of(self, lease: Lease) -> int:
        """By how much the holder's times may be wrong against the audit's, in ns."""
        return self._doubt_ns.get(lease.grant.worker, 0)

    def _expired_in_time(self, lease: Lease, gone_ns: int) -> None:
        """Was it wanted?"""
        self.expiry_lag.record(gone_ns - lease.promised_until(gone_ns)[1])
        ended = lease.ended
        if ended and ended.reason == "left to expire":
            self.expired_as_asked += 1
        elif ended is None or ended.reason == "expired" or ended.at_ns > gone_ns:
            self.client_expiry += 1

    def _after_gone(self, lease: Lease, gone_ns: int) -> None:
        for op in lease.renewals():
            if op.sent_ns > gone_ns + self._doubt_of(lease):
                self.renewed_after_gone.append(
                    f"{_name(lease)}: {op.member} answered a keepalive with TTL {op.ttl_s} s, sent "
                    f"{_s(op.sent_ns - gone_ns)} after the key had gone"
                )

    def _refused_early(self, lease: Lease) -> Operation | None:
        """A keepalive that was told "gone" while the lease was still promised."""
        for op in lease.keepalives:
            gone = (op.outcome is Outcome.OK and op.ttl_s == 0) or "lease not found" in op.error
            if gone and not lease.revoked_before(op.done_ns):
                _, promised_ns = lease.promised_until(op.sent_ns)
                if op.done_ns < promised_ns:
                    return op
        return None

    def _check_late(self, lease: Lease, gone_ns: int) -> None:
        """Each change of leader may begin the TTL anew, because a new leader does not know how much was left."""
        until_ns = gone_ns or self._observed_until_ns
        renewed_ns = lease.maybe_renewed_ns(until_ns)
        changes = self._leaders.changes(renewed_ns, until_ns)
        allowed_ns = lease.ttl_ns * (1 + changes) + ELECTION_NS + self._slack_ns
        if until_ns > renewed_ns + allowed_ns:
            what = "went" if gone_ns else "had not gone"
            self.late.append(
                f"{_name(lease)}: {lease.key} {what} {_s(until_ns - renewed_ns)} after the last renewal, "
                f"with {changes} changes of leader between"
            )

    # ── sentences ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _explain_deleted(self, lease: Lease, gone_ns: int) -> str:
        last, promised_ns = lease.promised_until(gone_ns)
        assert lease.deleted is not None  # the caller saw when it went
        return (
            f"{_name(lease)}: {lease.key} was deleted at revision {lease.deleted.revision}, "
            f"{_s(promised_ns - gone_ns)} before its time; {_renewal(last, gone_ns)}{self._around(gone_ns)}"
        )

    def _explain_refused(self, lease: Lease, refused: Operation) -> str:
        last, promised_ns = lease.promised_until(refused.sent_ns)
        return (
            f"{_name(lease)}: {refused.member} said that it was gone, {_s(promised_ns - refused.done_ns)} "
            f"before its time; {_renewal(last, refused.done_ns)}{self._around(refused.done_ns)}"
        )

    def _around(self, at_ns: int) -> str:
        """What else was going on."""
        facts = [fact for fault in self._faults if (fact := _fault_fact(fault, at_ns))]
        changes = self._leaders.changed_between(at_ns - _SHORTLY_BEFORE_NS, at_ns)
        facts += [
            f"leadership went from {old.leader} to {new.leader} in term {new.term}, {_s(at_ns - new.begins_ns)} before"
            for old, new in changes
        ]
        leader = self._leaders.at(at_ns)
        if leader and not changes:
            facts.append(f"{leader.leader} led in term {leader.term}")
        return "".join(f"; {fact}" for fact in facts)


def _fault_fact(fault: FaultSpan, at_ns: int) -> str:
    what = f"{fault.name} ({', '.join(fault.targets)})"
    if not fault.injected_ns or fault.injected_ns > at_ns:
        return ""
    if not fault.heal_began_ns or at_ns < fault.heal_began_ns:
        return f"{what} had been active for {_s(at_ns - fault.injected_ns)}"
    if at_ns - fault.heal_began_ns <= _SHORTLY_BEFORE_NS:
        return f"{what} had been undone {_s(at_ns - fault.heal_began_ns)} before"
    return ""


def _name(lease: Lease) -> str:
    return f"lease {lease.grant.lease:x} (TTL {lease.grant.ttl_s} s, client {lease.grant.client})"


def _renewal(op: Operation, at_ns: int) -> str:
    if op.kind == "lease_keepalive":
        return f"a keepalive sent {_s(at_ns - op.sent_ns)} before had been acknowledged by {op.member}"
    return f"it had been granted by {op.member}, {_s(at_ns - op.sent_ns)} before"


def _s(duration_ns: int) -> str:
    return f"{duration_ns / NS_PER_S:.2f} s"


# ── gathering ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _gather(history: History, truth: Truth) -> dict[int, Lease]:
    leases: dict[int, Lease] = {}
    keepalives: defaultdict[int, list[Operation]] = defaultdict(list)
    revokes: defaultdict[int, list[Operation]] = defaultdict(list)
    for op in history.operations:
        if op.kind == "lease_keepalive":
            keepalives[op.lease].append(op)
        elif op.kind == "lease_revoke":
            revokes[op.lease].append(op)
        elif op.lease and op.ttl_s and op.outcome is Outcome.OK:
            leases[op.lease] = Lease(op)
    for number, lease in leases.items():
        lease.keepalives = keepalives[number]
        lease.revokes = revokes[number]
    for ended in history.lease_ended:
        if ended.lease in leases:
            leases[ended.lease].ended = ended
    _attach_keys(leases, truth)
    return leases


def _attach_keys(leases: dict[int, Lease], truth: Truth) -> None:
    """A put attaches its key to the put's lease or to none; a delete ends the lease that then holds the key."""
    holder: dict[str, int] = {}
    for entry in truth.entries:
        if entry.type == "put":
            holder[entry.key] = entry.lease
            if entry.lease in leases:
                leases[entry.lease].key = entry.key
        else:
            lease = leases.get(holder.pop(entry.key, 0))
            if lease and (lease.deleted is None or entry.seen_ns < lease.deleted.seen_ns):
                lease.deleted = entry
