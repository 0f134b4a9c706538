"""Locust's table shows the same whether operations are told one by one or a second at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

SCRIPT = """
from random import Random

from locust.env import Environment

from chaoskit.load.worker.locust_stats import LocustStats

rng = Random(5)
ours, theirs = Environment(), Environment()
theirs.create_local_runner()
stats = LocustStats(ours, "etcd")
for _ in range(3):
    times = {kind: [rng.randrange(20_000_000_000) for _ in range(n)] for kind, n in (("put", 200), ("read", 50))}
    stats.add(times | {"nothing": []})
    for kind, responses in times.items():
        for number, response_ns in enumerate(responses):
            failed = number % 40 == 0
            theirs.events.request.fire(
                request_type="etcd", name=kind, response_time=response_ns / 1e6, response_length=0,
                exception=RuntimeError("UNAVAILABLE") if failed else None, context={},
            )
            if failed:
                stats.add_error(kind, "UNAVAILABLE")


def table(environment):
    entries = [environment.stats.total, *(environment.stats.get(kind, "etcd") for kind in ("put", "read"))]
    return [
        (e.name, e.num_requests, e.num_failures, round(e.total_response_time), round(e.min_response_time, 3),
         round(e.max_response_time, 3), sum(e.response_times.values()), sum(e.num_reqs_per_sec.values()),
         round(e.get_response_time_percentile(0.99), -3))
        for e in entries
    ]


assert table(ours) == table(theirs), (table(ours), table(theirs))
assert set(ours.stats.entries) == set(theirs.stats.entries)
assert [e.occurrences for e in ours.stats.errors.values()] == [e.occurrences for e in theirs.stats.errors.values()]
"""


def test_a_second_at_a_time_adds_up_to_what_locust_counts_itself() -> None:
    """In a process of its own, because importing Locust patches the one it is imported into."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
