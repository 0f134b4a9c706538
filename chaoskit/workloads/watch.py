"""Watches on the keys that `put` writes, reopened when they end."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from chaoskit.contracts import Session
from chaoskit.shapes import Pace
from chaoskit.spec import Spec
from chaoskit.workloads.keys import put_range


class Watch(Spec):
    """Watches that together cover the keys of `put` exactly `fanout` times, each a slice of them. With more watchers
    than keys to go round, a slice is one key and some keys are watched more often."""

    kind: ClassVar[str] = "watch"
    operations: ClassVar[tuple[str, ...]] = ()

    watchers: int = Field(ge=1, le=10_000)
    """Watches, each by a client of its own."""
    reconnect: Literal["resume", "naive"] = "resume"
    """resume: reopen at the last revision seen + 1, miss nothing; naive: reopen at "now", miss what came between."""
    fanout: int = Field(1, ge=1)
    """How many watches deliver each write; `watchers` must be a multiple of it."""

    streams: int | None = Field(None, ge=1, le=10_000)
    """gRPC streams that they share, each at one member: 1 is all on one, as many as `watchers` is one each; unless set
    one at each member, and another for each 1000 watchers there."""

    @model_validator(mode="after")
    def _whole_laps(self) -> Watch:
        if self.watchers % self.fanout:
            raise ValueError(f"watchers must be a multiple of fanout, {self.watchers} is none of {self.fanout}")
        if self.streams and self.streams > self.watchers:
            raise ValueError(f"{self.streams} streams are more than {self.watchers} watchers can use")
        return self

    def clients(self) -> int:
        return self.watchers

    def pace(self) -> Pace | None:
        return None

    def live(self, session: Session) -> None:
        key, range_end = self.slice(session.number, session.prefix, session.keys)
        stream = session.number % self.streams if self.streams else None
        session.keep_watching(key, range_end, self.reconnect, stream=stream)

    def slice(self, number: int, prefix: str, keys: int) -> tuple[str, str]:
        """Key and range end of one watcher's share."""
        slices = self.watchers // self.fanout
        first = number % slices * keys // slices
        behind = max((number % slices + 1) * keys // slices, first + 1)
        return put_range(prefix, first, behind, keys)
