"""Writes of unique values to random keys, at a fixed rate."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.spec import Spec
from chaoskit.units import Rate, Size, parse_rate, parse_size, within
from chaoskit.workloads.keys import put_key


class Put(Spec):
    """Writes at a fixed rate, whatever the cluster does: when it stalls, the writes that were due meanwhile follow as
    fast as the clients can, and their waiting counts. Each goes to a random key, with a value that no other has."""

    kind: ClassVar[str] = "put"
    operations: ClassVar[tuple[str, ...]] = ("put",)

    rate: Annotated[Rate, within("1/m", "100000/s", parse_rate)]
    """Writes that are due, over all clients, such as 300/s."""
    value_size: Annotated[Size, within("1B", "1MB", parse_size)] = 256
    """Length of each value; it is never shorter than its unique head of some 10 bytes."""
    clients_: int = Field(64, ge=1, le=10_000)
    """Simulated clients: as many writes can be on their way at once."""

    def clients(self) -> int:
        return self.clients_

    def rate_per_s(self) -> float | None:
        return self.rate

    def live(self, session: Session) -> None:
        session.ready()
        for due_ns in session.arrivals():
            key = put_key(session.prefix, session.rng.randrange(session.keys))
            session.put(key, size=self.value_size, due_ns=due_ns)
