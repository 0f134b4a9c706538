"""Reads of the keys that `put` writes, at a fixed rate."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.spec import Spec
from chaoskit.units import Rate, parse_rate, within
from chaoskit.workloads.keys import put_key


class Read(Spec):
    """Reads single random keys of those that `put` writes, at a fixed rate, whatever the cluster does."""

    kind: ClassVar[str] = "read"
    operations: ClassVar[tuple[str, ...]] = ("read",)

    rate: Annotated[Rate, within("1/m", "100000/s", parse_rate)]
    """Reads that are due, over all clients, such as 200/s."""
    consistency: Literal["linearizable", "serializable"] = "linearizable"
    """linearizable: the newest value, asks a majority; serializable: what the member has, also when it is cut off."""
    clients_: int = Field(32, ge=1, le=10_000)
    """Simulated clients: as many reads can be on their way at once."""

    def clients(self) -> int:
        return self.clients_

    def rate_per_s(self) -> float | None:
        return self.rate

    def live(self, session: Session) -> None:
        serializable = self.consistency == "serializable"
        session.ready()
        for due_ns in session.arrivals():
            key = put_key(session.prefix, session.rng.randrange(session.keys))
            session.get(key, due_ns=due_ns, serializable=serializable)
