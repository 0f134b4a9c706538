"""Writes of unique values, at a rate."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.shapes import Pace, PaceSpec, pace_of
from chaoskit.spec import Spec
from chaoskit.workloads.distributions import Distribution, Fixed, Uniform, ValueSize
from chaoskit.workloads.keys import put_key


class Put(Spec):
    """Writes at a rate, whatever the cluster does: when it stalls, the writes that were due meanwhile follow as
    fast as the clients can, and their waiting counts. Each goes to one key, with a value that no other has."""

    kind: ClassVar[str] = "put"
    operations: ClassVar[tuple[str, ...]] = ("put",)

    rate: PaceSpec
    """Writes that are due, over all clients, such as 300/s, or {from: 100/s, to: 900/s, over: 20s}; or {think: 0s}."""
    value_size: ValueSize = Fixed(256)
    """Length of each value: fixed, between two, or several with their shares; never shorter than its unique head of
    some 10 bytes."""
    distribution: Distribution = Uniform()
    """Which keys: all alike, one after the other, few of them often, or a share of the writes on the first few."""
    clients_: int = Field(64, ge=1, le=10_000)
    """Simulated clients: as many writes can be on their way at once."""

    def clients(self) -> int:
        return self.clients_

    def pace(self) -> Pace | None:
        return pace_of(self.rate)

    def live(self, session: Session) -> None:
        choose = self.distribution.over(session.keys)
        session.ready()
        for due_ns in session.arrivals():
            key = put_key(session.prefix, choose(session.rng, session.arrival))
            session.put(key, size=self.value_size.draw(session.rng), due_ns=due_ns)
