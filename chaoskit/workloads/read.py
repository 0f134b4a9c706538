"""Reads of the keys that `put` writes, at a rate."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.shapes import Pace, PaceSpec, pace_of
from chaoskit.spec import Spec
from chaoskit.workloads.distributions import Distribution, Uniform
from chaoskit.workloads.keys import put_key


class Read(Spec):
    """Reads single keys of those that `put` writes, at a rate, whatever the cluster does."""

    kind: ClassVar[str] = "read"
    operations: ClassVar[tuple[str, ...]] = ("read",)

    rate: PaceSpec
    """Reads that are due, over all clients, such as 200/s; or as for put."""
    consistency: Literal["linearizable", "serializable"] = "linearizable"
    """linearizable: the newest value, asks a majority; serializable: what the member has, also when it is cut off."""
    distribution: Distribution = Uniform()
    """Which keys: all alike, one after the other, few of them often, or a share of the reads on the first few."""
    clients_: int = Field(32, ge=1, le=10_000)
    """Simulated clients: as many reads can be on their way at once."""

    def clients(self) -> int:
        return self.clients_

    def pace(self) -> Pace | None:
        return pace_of(self.rate)

    def live(self, session: Session) -> None:
        serializable = self.consistency == "serializable"
        choose = self.distribution.over(session.keys)
        session.ready()
        for due_ns in session.arrivals():
            key = put_key(session.prefix, choose(session.rng, session.arrival))
            session.get(key, due_ns=due_ns, serializable=serializable)
