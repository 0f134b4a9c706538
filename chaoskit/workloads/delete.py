"""Deletes of the keys that `put` writes, at a rate."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.shapes import Pace, PaceSpec, pace_of
from chaoskit.spec import Spec
from chaoskit.workloads.distributions import Distribution, Uniform
from chaoskit.workloads.keys import put_key


class Delete(Spec):
    """Deletes single keys of those that `put` writes, at a rate, whatever the cluster does. A delete of a key
    that does not exist changes nothing and is acknowledged all the same."""

    kind: ClassVar[str] = "delete"
    operations: ClassVar[tuple[str, ...]] = ("delete",)

    rate: PaceSpec
    """Deletes that are due, over all clients, such as 20/s."""
    distribution: Distribution = Uniform()
    """Which keys: all alike, one after the other, few of them often, or a share of the deletes on the first few."""
    clients_: int = Field(16, ge=1, le=10_000)
    """Simulated clients: as many deletes can be on their way at once."""

    def clients(self) -> int:
        return self.clients_

    def pace(self) -> Pace | None:
        return pace_of(self.rate)

    def live(self, session: Session) -> None:
        choose = self.distribution.over(session.keys)
        session.ready()
        for due_ns in session.arrivals():
            session.delete(put_key(session.prefix, choose(session.rng, session.arrival)), due_ns=due_ns)
