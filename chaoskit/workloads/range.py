"""Reads of many keys at once, page by page, at a rate."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.shapes import Pace, PaceSpec, pace_of
from chaoskit.spec import Spec
from chaoskit.workloads.distributions import Distribution, Uniform
from chaoskit.workloads.keys import KEYS_LIMIT, put_range

_BEHIND = "\0"  # the smallest key behind another


class Range(Spec):
    """Reads ranges of the keys that `put` writes, at a rate, whatever the cluster does. What does not fit into
    one page is read on at the revision of the first (`range_page`), so that a range is one moment's."""

    kind: ClassVar[str] = "range"
    operations: ClassVar[tuple[str, ...]] = ("range", "range_page")

    rate: PaceSpec
    """Ranges that are due, over all clients, such as 20/s; further pages come on top."""
    span: int = Field(100, ge=1, le=KEYS_LIMIT)
    """Keys that a range covers, whether they exist or not."""
    page_size: int = Field(50, ge=1, le=10_000)
    """Keys that one call returns at most."""
    consistency: Literal["linearizable", "serializable"] = "linearizable"
    """linearizable: the newest values, asks a majority; serializable: what the member has, also when it is cut off."""
    distribution: Distribution = Uniform()
    """Where ranges begin: anywhere alike, one key after the other, few places often, or a share at the first few."""
    clients_: int = Field(16, ge=1, le=10_000)
    """Simulated clients: as many ranges can be read at once."""

    def clients(self) -> int:
        return self.clients_

    def pace(self) -> Pace | None:
        return pace_of(self.rate)

    def live(self, session: Session) -> None:
        choose = self.distribution.over(max(session.keys - self.span, 0) + 1)
        session.ready()
        for due_ns in session.arrivals():
            first = choose(session.rng, session.arrival)
            self._read(session, *put_range(session.prefix, first, first + self.span, session.keys), due_ns)

    def _read(self, session: Session, key: str, range_end: str, due_ns: int) -> None:
        serializable = self.consistency == "serializable"
        page = session.range(key, range_end, limit=self.page_size, due_ns=due_ns, serializable=serializable)
        revision = page.revision if page else 0
        while page and page.more and page.kvs and not session.stopping:
            page = session.range(
                page.kvs[-1][0].decode() + _BEHIND,
                range_end,
                limit=self.page_size,
                due_ns=session.now_ns(),
                revision=revision,
                serializable=serializable,
                kind="range_page",
            )
