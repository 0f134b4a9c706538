"""Many leases that expire at once; meant as a burst."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.shapes import Pace
from chaoskit.spec import Spec
from chaoskit.units import Rate, Share, parse_rate, parse_share, within
from chaoskit.workloads.ttl import TTL

_S = 1_000_000_000
_VALUE_BYTES = 32


class LeaseStorm(Spec):
    """Grants leases with one key each at a steady rate and lets them all expire at the same moment.

    Each lease is asked for until `ttl` after the last grant, so without jitter they all expire within a second; with
    jitter they spread out. Granting is paced because what is to be seen is the expiry, not the granting.
    """

    kind: ClassVar[str] = "lease_storm"
    operations: ClassVar[tuple[str, ...]] = ("storm_grant", "storm_put")

    leases: int = Field(ge=1, le=1_000_000)
    """Leases granted, each once."""
    ttl: TTL = 5.0
    """From the last grant until all expire, in whole seconds."""
    ttl_jitter: Annotated[Share, within("0%", "100%", parse_share)] = 0.0
    """How far each expiry may lie from the common moment, on either side, as a share of `ttl`, such as 30%."""
    grants: Annotated[Rate, within("1/s", "100000/s", parse_rate)] = 200.0
    """How many leases are granted a second."""
    clients_: int = Field(32, ge=1, le=10_000)
    """Simulated clients that grant."""

    def clients(self) -> int:
        return min(self.leases, self.clients_)

    def pace(self) -> Pace | None:
        return None

    def live(self, session: Session) -> None:
        session.ready()
        begins_ns = session.now_ns()
        expires_ns = begins_ns + round((self.leases / self.grants + self.ttl) * _S)
        for number in range(session.number, self.leases, self.clients()):
            due_ns = begins_ns + round(number / self.grants * _S)
            if not session.sleep_until(due_ns):
                return
            jitter_s = self.ttl * session.rng.uniform(-self.ttl_jitter, self.ttl_jitter)
            self._let_one_expire(session, due_ns, max(1, round((expires_ns - due_ns) / _S + jitter_s)))

    def _let_one_expire(self, session: Session, due_ns: int, ttl_s: int) -> None:
        """Grant one lease and put its key, neither tried again."""
        granted = session.lease_grant(ttl_s, due_ns=due_ns, kind="storm_grant")
        if granted is None:
            return
        key = f"{session.prefix}storm/{granted.lease:x}"
        session.put(key, size=_VALUE_BYTES, due_ns=session.now_ns(), lease=granted.lease, kind="storm_put")
        session.lease_ended(granted.lease, key, "left to expire")
