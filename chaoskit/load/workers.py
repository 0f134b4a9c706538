"""All load workers of a run as one load: the same steps as one worker's, and what happens when one of several is lost.

The load of the seed is divided among them, so that together they do what one would do alone. The schedules' zero is
given to all of them a moment ahead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from chaoskit.contracts import LiveSample
from chaoskit.load import channel, intervals
from chaoskit.load.share import Divided, Division

_LEAD_NS = 100_000_000  # between telling several workers of a moment and the moment
_SECOND_S = 1.2  # a worker that has not spoken for this long does not hold up the others' second


class Worker(Protocol):
    """One worker, here or elsewhere. `poll` says why it is lost; None while it is well and after an orderly end."""

    number: int
    where: str  # "here", or the host's name

    def start(self) -> None: ...
    def wait_ready(self, deadline_s: float) -> None: ...
    def go(self, zero_ns: int = 0) -> None: ...
    def begin_burst(self, name: str, zero_ns: int = 0) -> None: ...
    def end_burst(self, name: str) -> None: ...
    def begin_search(self, name: str, zero_ns: int = 0) -> None: ...
    def end_search(self, name: str) -> None: ...
    def adopt(self, division: Division, from_ns: int) -> None: ...
    def stop_arrivals(self) -> None: ...
    def second(self) -> channel.Second | None: ...
    def poll(self) -> str | None: ...
    def finish(self, deadline_s: float) -> None: ...
    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Loss:
    """A worker that will not come back."""

    worker: int
    why: str


class Workers:
    """Methods are called by one thread; `latest` and `poll` by any."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = tuple(workers)
        self._lost: dict[int, str] = {}
        self._told: set[int] = set()
        self._divided = Divided(worker.number for worker in self._workers)
        self._seconds = _Seconds()

    def start(self) -> None:
        """Start every worker here, once those that come from elsewhere have joined."""
        for worker in sorted(self._workers, key=lambda worker: worker.where == "here"):
            worker.start()

    def wait_ready(self, deadline_s: float) -> None:
        """Until every client of every worker is set up. Raises LoadError; whoever is lost before `go` ends the run."""
        ends_at = time.monotonic() + deadline_s
        for worker in self._workers:
            worker.wait_ready(max(ends_at - time.monotonic(), 1.0))

    def go(self) -> None:
        """The schedules' zero is now, or a moment ahead for several."""
        zero_ns = self._soon_ns()
        for worker in self._workers:
            worker.go(zero_ns)

    def begin_burst(self, name: str) -> None:
        zero_ns = self._soon_ns()
        for worker in self._well():
            worker.begin_burst(name, zero_ns)

    def end_burst(self, name: str) -> None:
        for worker in self._well():
            worker.end_burst(name)

    def begin_search(self, name: str) -> int:
        """Returns when its first step begins."""
        zero_ns = self._soon_ns()
        for worker in self._well():
            worker.begin_search(name, zero_ns)
        return zero_ns or time.monotonic_ns()

    def end_search(self, name: str) -> None:
        for worker in self._well():
            worker.end_search(name)

    def stop_arrivals(self) -> None:
        """No further arrivals. Calls in flight end by themselves; watches and keepalives go on until `finish`."""
        for worker in self._well():
            worker.stop_arrivals()

    def latest(self) -> LiveSample | None:
        """The newest second of all workers together."""
        return self._seconds.latest([second for worker in self._well() if (second := worker.second())])

    def poll(self) -> str | None:
        """None while some worker is left, and after an orderly end of one; else why there is no load any more."""
        self._look()
        return "; ".join(self._lost.values()) if len(self._lost) == len(self._workers) else None

    def losses(self) -> list[Loss]:
        """Workers lost since this was last asked. One that was silent is ended, so that it cannot come back."""
        self._look()
        new = [Loss(number, why) for number, why in self._lost.items() if number not in self._told]
        for loss in new:
            self._told.add(loss.worker)
            self._by_number(loss.worker).kill()
        return new

    def redistribute(self, worker: int) -> list[int]:
        """The others do the lost worker's share from a moment ahead on. Returns who they are."""
        others = [other.number for other in self._well()]
        from_ns = time.monotonic_ns() + _LEAD_NS
        for heir, division in self._divided.lose(worker, others):
            self._by_number(heir).adopt(division, from_ns)
        return others

    def finish(self, deadline_s: float) -> None:
        """All at once: close watches, let calls in flight end, write everything, exit."""
        self._each(self._well(), lambda worker: worker.finish(deadline_s))
        self._look()

    def kill(self) -> None:
        """End all at once. Idempotent."""
        self._each(self._workers, lambda worker: worker.kill())

    def _each(self, workers: Sequence[Worker], do: Callable[[Worker], None]) -> None:
        if workers:
            with ThreadPoolExecutor(len(workers), "load") as pool:
                list(pool.map(do, workers))

    def _soon_ns(self) -> int:
        return time.monotonic_ns() + _LEAD_NS if len(self._workers) > 1 else 0

    def _well(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.number not in self._lost]

    def _by_number(self, number: int) -> Worker:
        return next(worker for worker in self._workers if worker.number == number)

    def _look(self) -> None:
        for worker in self._well():
            if why := worker.poll():
                who = f"worker {worker.number} ({worker.where}): " if len(self._workers) > 1 else ""
                self._lost[worker.number] = f"{who}{why}"


class _Seconds:
    """Merges the workers' newest seconds, once for each second of the slowest."""

    def __init__(self) -> None:
        self._merged: LiveSample | None = None
        self._used: dict[int, int] = {}  # place → at_ns of the second that is in the last merged one
        self._merged_at = 0.0

    def latest(self, seconds: Sequence[channel.Second]) -> LiveSample | None:
        stamps = {place: second.sample.at_ns for place, second in enumerate(seconds)}
        if not stamps or stamps == self._used:
            return self._merged
        everybody_spoke = all(self._used.get(place) != at_ns for place, at_ns in stamps.items())
        if everybody_spoke or time.monotonic() - self._merged_at > _SECOND_S:
            self._used, self._merged_at = stamps, time.monotonic()
            self._merged = merge(seconds)
        return self._merged


def merge(seconds: Sequence[channel.Second]) -> LiveSample:
    """One second of several workers; the P99 is of all their operations together."""
    samples = [second.sample for second in seconds]
    kinds = {kind for second in seconds for kind in second.response}
    response = {kind: intervals.merged(second.response.get(kind, {}) for second in seconds) for kind in kinds}
    return LiveSample(
        at_ns=max(sample.at_ns for sample in samples),
        ok=_summed([sample.ok for sample in samples]),
        failed=sum(sample.failed for sample in samples),
        unknown=sum(sample.unknown for sample in samples),
        p99_ms={kind: intervals.p99_ns(counts) / 1e6 for kind, counts in sorted(response.items()) if counts},
        watch_events=sum(sample.watch_events for sample in samples),
        watch_lag_ms=max((sample.watch_lag_ms for sample in samples if sample.watch_lag_ms is not None), default=None),
        watches_open=sum(sample.watches_open for sample in samples),
        watch_reached=min((sample.watch_reached for sample in samples if sample.watches_open), default=0),
        in_flight=sum(sample.in_flight for sample in samples),
        ready=all(sample.ready for sample in samples),
        cpu=max(sample.cpu for sample in samples),
        slow=_summed([sample.slow for sample in samples]),
    )


def _summed(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return {kind: sum(one.get(kind, 0) for one in counts) for some in counts for kind in some}
