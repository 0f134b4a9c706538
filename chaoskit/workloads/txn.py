"""Read-modify-writes by compare-and-swap on shared keys, at a rate."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.shapes import Pace, PaceSpec, pace_of
from chaoskit.spec import Spec
from chaoskit.workloads.distributions import Distribution, Fixed, Uniform, ValueSize
from chaoskit.workloads.keys import put_key


class Txn(Spec):
    """Reads a key (`txn_read`), then writes it in a transaction (`txn`) that holds only if nobody changed the key in
    between. One that does not hold is a conflict: acknowledged, counted, and not tried again. The response time of
    `txn` is that of both calls; its service time is the transaction's alone. After a read without an answer nothing is
    written."""

    kind: ClassVar[str] = "txn"
    operations: ClassVar[tuple[str, ...]] = ("txn", "txn_read")

    rate: PaceSpec
    """Read-modify-writes that are due, over all clients, such as 50/s."""
    value_size: ValueSize = Fixed(256)
    """Length of each value: fixed, between two, or several with their shares."""
    distribution: Distribution = Uniform()
    """Which keys: all alike, one after the other, few of them often, or a share of all on the first few."""
    clients_: int = Field(16, ge=1, le=10_000)
    """Simulated clients: as many can be at it at once; the more on the same keys, the more conflicts."""

    def clients(self) -> int:
        return self.clients_

    def pace(self) -> Pace | None:
        return pace_of(self.rate)

    def live(self, session: Session) -> None:
        choose = self.distribution.over(session.keys)
        session.ready()
        for due_ns in session.arrivals():
            key = put_key(session.prefix, choose(session.rng, session.arrival))
            size = self.value_size.draw(session.rng)
            if read := session.get(key, due_ns=due_ns, kind="txn_read"):
                session.sleep_until(due_ns)  # has passed: the transaction waited for its read, not for the generator
                session.compare_and_swap(key, mod_revision=read.mod_revision, size=size, due_ns=due_ns)
