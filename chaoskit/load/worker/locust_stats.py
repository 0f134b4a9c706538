"""Locust's own table of requests, for its web UI, CSV and master: fed once a second, never a source of our figures.

Firing Locust's request event for every operation costs 3 µs, as much as recording it. What its listener would add up
one by one is added up here and merged by `StatsEntry.extend`, as Locust's master merges its workers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from time import time

from locust.env import Environment
from locust.stats import StatsEntry, bucket_response_time

_NS_PER_MS = 1_000_000


class LocustStats:
    """Of one Locust process. `system` stands where Locust has the request's method."""

    def __init__(self, environment: Environment, system: str) -> None:
        self._stats = environment.stats
        self._system = system

    def add(self, responses_ns: Mapping[str, Sequence[int]]) -> None:
        """One second's response times, by kind of operation, whatever their outcomes."""
        for kind, times in responses_ns.items():
            if times:
                second = self._second(kind, times)
                self._stats.get(kind, self._system).extend(second)
                self._stats.total.extend(second)

    def add_error(self, kind: str, status: str) -> None:
        """Not acknowledged. By status alone: Locust keeps a row for each different text."""
        self._stats.log_error(self._system, kind, status)

    def _second(self, kind: str, times: Sequence[int]) -> StatsEntry:
        now = time()
        entry = StatsEntry(self._stats, kind, self._system)
        entry.num_requests = len(times)
        entry.num_reqs_per_sec[int(now)] = len(times)
        entry.last_request_timestamp = now
        entry.total_response_time = sum(times) / _NS_PER_MS  # type: ignore[assignment]  # Locust adds up floats too
        entry.min_response_time = min(times) / _NS_PER_MS  # type: ignore[assignment]
        entry.max_response_time = max(times) / _NS_PER_MS  # type: ignore[assignment]
        for ms, number in Counter([response_ns // _NS_PER_MS for response_ns in times]).items():
            entry.response_times[bucket_response_time(ms)] += number
        return entry
