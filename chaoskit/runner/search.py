"""When to end a search, by what the workers report as it happens. Whether a step held is judged from the history later.

It ends a step early only when nothing that is still to come in it could save it, so that the two do not contradict
each other; and it looks at the step before as well, because a second is reported after it is over.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaoskit.contracts import LiveSample
from chaoskit.figures.knee import KEEPS_UP

NS_PER_S = 1_000_000_000
_SLOW_SHARE = 0.01  # more than that many over the limit, and the P99 is


@dataclass(slots=True)
class _Step:
    rate_per_s: float
    begins_ns: int
    ends_ns: int
    done: float = 0.0
    slow: float = 0.0

    def add(self, sample: LiveSample, kind: str) -> None:
        """The part of a second that lies in this step counts for it."""
        inside_ns = min(sample.at_ns, self.ends_ns) - max(sample.at_ns - NS_PER_S, self.begins_ns)
        share = max(inside_ns, 0) / NS_PER_S
        self.done += share * sample.ok.get(kind, 0)
        self.slow += share * sample.slow.get(kind, 0)

    def broken(self, now_ns: int, limit_ns: int) -> str:
        """Why it cannot hold any more."""
        calls = self.rate_per_s * (self.ends_ns - self.begins_ns) / NS_PER_S
        if self.slow > _SLOW_SHARE * calls:
            return f"{self.slow:.0f} of {calls:.0f} calls were over the limit"
        passed_ns = min(now_ns, self.ends_ns) - self.begins_ns - limit_ns
        behind = self.rate_per_s * passed_ns / NS_PER_S - self.done
        if behind > (1 - KEEPS_UP) * calls:
            return f"{behind:.0f} of {calls:.0f} calls were behind"
        return ""


class BreakWatch:
    """Seconds in, the reason to stop out. `begin` each step, `add` each second."""

    def __init__(self, kind: str, limit_s: float) -> None:
        self._kind = kind
        self._limit_ns = round(limit_s * NS_PER_S)
        self._steps: list[_Step] = []
        self._seen_ns = 0

    def begin(self, rate_per_s: float, begins_ns: int, ends_ns: int) -> None:
        self._steps = [*self._steps[-1:], _Step(rate_per_s, begins_ns, ends_ns)]

    def add(self, sample: LiveSample | None) -> str:
        """Why the search is over; nothing while it may go on. The same second counts once."""
        if sample is None or sample.at_ns == self._seen_ns:
            return ""
        self._seen_ns = sample.at_ns
        for step in self._steps:
            step.add(sample, self._kind)
        broken = ((step, step.broken(sample.at_ns, self._limit_ns)) for step in self._steps)
        return next((f"at {step.rate_per_s:g}/s {why}" for step, why in broken if why), "")
