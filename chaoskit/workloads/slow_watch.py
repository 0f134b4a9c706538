"""Watches whose clients read late: slow consumers, which etcd calls slow watchers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from chaoskit.contracts import LateReading, Session
from chaoskit.shapes import Pace
from chaoskit.spec import Spec
from chaoskit.units import Duration, Rate, parse_duration, parse_rate, within
from chaoskit.workloads.keys import put_range


class SlowWatch(Spec):
    """Slow watchers: each watches all keys of `put` on a stream of its own and reads late, so that the member has to
    hold back what it does not take (a slow watcher of etcd's, then a "victim"). They share no connection with the
    watches of `watch` and have figures of their own, `slow_watch`. When the load stops they read on without delay."""

    kind: ClassVar[str] = "slow_watch"
    operations: ClassVar[tuple[str, ...]] = ()

    watchers: int = Field(ge=1, le=1_000)
    """Slow watches, each on a stream of its own."""
    read_rate: Annotated[Rate, within("1/m", "100000/s", parse_rate)] | None = None
    """Events that each reads, such as 50/s; as fast as they come unless set."""
    stops_for: Annotated[Duration, within("100ms", "1h", parse_duration)] | None = None
    """How long each stops reading, again and again."""
    every: Annotated[Duration, within("200ms", "2h", parse_duration)] = 10.0
    """From one stop to the next; it reads first."""
    reconnect: Literal["resume", "naive"] = "resume"
    """As in `watch`."""

    @model_validator(mode="after")
    def _late_somehow(self) -> SlowWatch:
        if self.read_rate is None and self.stops_for is None:
            raise ValueError("a slow watch needs read_rate or stops_for; without them it is a watch")
        if self.stops_for is not None and self.stops_for >= self.every:
            raise ValueError("stops_for must be shorter than every, or nothing is ever read")
        return self

    def clients(self) -> int:
        return self.watchers

    def pace(self) -> Pace | None:
        return None

    def live(self, session: Session) -> None:
        key, range_end = put_range(session.prefix, 0, session.keys, session.keys)
        late = LateReading(self.read_rate, self.stops_for or 0.0, self.every)
        session.keep_watching(key, range_end, self.reconnect, stream=session.number, late=late)
