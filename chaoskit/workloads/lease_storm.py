"""Many leases that expire at once; meant as a burst."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.spec import Spec
from chaoskit.units import Share, parse_share, within
from chaoskit.workloads.ttl import TTL

_S = 1_000_000_000
_PAUSE_NS = _S // 5  # after a refusal
_VALUE_BYTES = 32


class LeaseStorm(Spec):
    """Grants leases with one key each as fast as its clients can and lets them all expire. Without jitter they expire
    as close together as they were granted; with it they spread out."""

    kind: ClassVar[str] = "lease_storm"
    operations: ClassVar[tuple[str, ...]] = ("storm_grant", "storm_put")

    leases: int = Field(ge=1, le=1_000_000)
    """Leases granted, each once."""
    ttl: TTL = 5.0
    """Time to live that is asked for, in whole seconds."""
    ttl_jitter: Annotated[Share, within("0%", "100%", parse_share)] = 0.0
    """How far each TTL may lie from `ttl`, on either side, such as 30%; rounded to whole seconds."""
    clients_: int = Field(64, ge=1, le=10_000)
    """Simulated clients that grant."""

    def clients(self) -> int:
        return min(self.leases, self.clients_)

    def rate_per_s(self) -> float | None:
        return None

    def live(self, session: Session) -> None:
        session.ready()
        for _ in range(session.number, self.leases, self.clients()):
            ttl_s = max(1, round(self.ttl * session.rng.uniform(1 - self.ttl_jitter, 1 + self.ttl_jitter)))
            while not session.stopping and not self._let_one_expire(session, ttl_s):
                session.sleep_until(session.now_ns() + _PAUSE_NS)

    def _let_one_expire(self, session: Session, ttl_s: int) -> bool:
        """Grant one lease and put its key, neither tried again; False when there is no lease."""
        granted = session.lease_grant(ttl_s, due_ns=session.now_ns(), kind="storm_grant")
        if granted is None:
            return False
        key = f"{session.prefix}storm/{granted.lease:x}"
        session.put(key, size=_VALUE_BYTES, due_ns=session.now_ns(), lease=granted.lease, kind="storm_put")
        session.lease_ended(granted.lease, key, "left to expire")
        return True
