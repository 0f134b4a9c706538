"""Leases that are kept alive, each with one key."""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from typing import ClassVar, NamedTuple

from pydantic import Field

from chaoskit.contracts import Reply, Session
from chaoskit.shapes import Pace
from chaoskit.spec import Spec
from chaoskit.workloads.ttl import TTL

_S = 1_000_000_000
_PAUSE_NS = _S // 5  # between tries to get a lease or its key while the cluster refuses
_VALUE_BYTES = 32


class _Held(NamedTuple):
    """A lease that somebody keeps alive, ordered by when its next keepalive is due."""

    due_ns: int
    number: int  # of the lease within the workload
    lease: int
    ttl_s: int  # granted
    key: str


class Lease(Spec):
    """Leases with one key each, kept alive every third of the TTL that the server granted, spread evenly in time. A
    client that could not renew in time keeps trying until the server says that the lease is gone, and takes another."""

    kind: ClassVar[str] = "lease"
    operations: ClassVar[tuple[str, ...]] = ("lease_keepalive", "lease_grant", "lease_put")

    leases: int = Field(ge=1, le=100_000)
    """Leases held at any time."""
    ttl: TTL = 5.0
    """Time to live that is asked for, in whole seconds; the server raises what is shorter than 1.5 elections."""
    clients_: int | None = Field(None, ge=1, le=10_000)
    """Simulated clients that share the leases, each with one call at a time; unless set one for each lease up to 64,
    and one for each 200 beyond."""

    def clients(self) -> int:
        return min(self.leases, self.clients_ or max(64, self.leases // 200))

    def pace(self) -> Pace | None:
        return None

    def live(self, session: Session) -> None:
        held: list[_Held] = []  # a heap
        for number in range(session.number, self.leases, self.clients()):
            self._renew_due(session, held)  # granting many takes longer than the first of them live
            if one := self._take(session, number):
                heappush(held, one)
        session.ready()
        while held and not session.stopping and session.sleep_until(held[0].due_ns):
            self._renew_first(session, held)
        for one in held:
            session.lease_ended(one.lease, one.key, "stopped")

    def _renew_due(self, session: Session, held: list[_Held]) -> None:
        while held and held[0].due_ns <= session.now_ns() and session.sleep_until(held[0].due_ns):
            self._renew_first(session, held)

    def _renew_first(self, session: Session, held: list[_Held]) -> None:
        if renewed := self._renew(session, held[0]):
            heapreplace(held, renewed)
        else:
            heappop(held)

    def _renew(self, session: Session, held: _Held) -> _Held | None:
        """One keepalive. Due times are fixed: after a stall the missed ones follow at once, with their waiting."""
        reply = session.lease_keepalive(held.lease, due_ns=held.due_ns, ttl_s=held.ttl_s)
        if reply is not None and reply.ttl_s <= 0:
            session.lease_ended(held.lease, held.key, "expired")
            return self._take(session, held.number)
        return held._replace(due_ns=held.due_ns + _interval_ns(held.ttl_s))

    def _take(self, session: Session, number: int) -> _Held | None:
        """A new lease with its key, tried until the server acknowledged both; None when the load stopped before."""
        while not session.stopping:
            granted = session.lease_grant(int(self.ttl), due_ns=session.now_ns())
            if granted is None:
                session.sleep_until(session.now_ns() + _PAUSE_NS)
            elif held := self._put_key(session, number, granted):
                return held
        return None

    def _put_key(self, session: Session, number: int, granted: Reply) -> _Held | None:
        """Bind the key to the lease, for as long as the lease can be expected to live."""
        key = f"{session.prefix}lease/{number:06d}"
        gone_ns = session.now_ns() + granted.ttl_s * _S
        while not session.stopping and session.now_ns() < gone_ns:
            if session.put(key, size=_VALUE_BYTES, due_ns=session.now_ns(), lease=granted.lease, kind="lease_put"):
                due_ns = self._first_due_ns(session.now_ns(), number, granted.ttl_s)
                return _Held(due_ns, number, granted.lease, granted.ttl_s, key)
            session.sleep_until(session.now_ns() + _PAUSE_NS)
        session.lease_ended(granted.lease, key, "left to expire")
        return None

    def _first_due_ns(self, now_ns: int, number: int, ttl_s: int) -> int:
        """Each lease has its own place in the interval, so that keepalives come evenly whenever leases were granted."""
        interval_ns = _interval_ns(ttl_s)
        return now_ns + (number * interval_ns // self.leases - now_ns) % interval_ns


def _interval_ns(ttl_s: int) -> int:
    return ttl_s * _S // 3
