"""Figures of whole runs against what is known to have happened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.chaoskit_process import broken, chaoskit, run_json

pytestmark = pytest.mark.e2e

FREEZE = """
# What this shows: every member stands still for 2 s of a 20 s run.
title: Whole cluster frozen
cluster: {version: "3.6.14"}
load:
  timeout: 5s
  put: {rate: 200/s, clients: 64}
  watch: {watchers: 6, reconnect: resume}
warmup: 1s
method:
  - wait: 9s
  - fault: pause
    target: all
    for: 2s
  - wait: 9s
slo:
  - watch.lost == 0
"""

PARTITION = """
# What this shows: the leader alone on its side of a partition.
title: Leader alone
cluster: {{version: "{version}", members: {members}}}
load:
  put: {{rate: 100/s, clients: 24}}
  watch: {{watchers: 6, reconnect: resume}}
  lease: {{leases: 6, ttl: 10s}}
warmup: 1s
steady-state:
  - put.p99 < 1s  # or one slow fsync of a shared disk is no recovery
method:
  - wait: 4s
  - fault: partition
    isolate: leader
    mode: {mode}
    for: 5s
  - wait: 6s
slo:
  - watch.lost == 0
  - write.gap < 5s
"""


def test_a_freeze_of_two_seconds_shows_in_p99_and_in_the_write_gap(tmp_path: Path) -> None:
    (tmp_path / "freeze.yaml").write_text(FREEZE)
    results = run_json("freeze.yaml", cwd=tmp_path).results
    (fault,) = results["faults"]
    frozen_s = fault["heal_began_at"] - fault["injected_at"]  # `for` counts from the proof, half a second later
    assert 2.0 <= frozen_s < 3.0
    slowest_percent_s = 0.01 * sum(phase["seconds"] for phase in results["phases"] if phase["judged"])
    assert results["write_gap_s"] == pytest.approx(frozen_s, rel=0.10)
    assert results["totals"]["put"]["response_ms"]["p99"] == pytest.approx(
        (frozen_s - slowest_percent_s) * 1e3, rel=0.10
    )


@pytest.mark.parametrize(  # every pair of two of these, not every three
    ("version", "members", "mode"),
    [
        ("3.5.33", 3, "blackhole"),
        ("3.5.33", 5, "reject"),
        ("3.6.14", 3, "reject"),
        ("3.6.14", 5, "blackhole"),
        ("3.7.1", 3, "reject"),
        ("3.7.1", 5, "blackhole"),
    ],
)
def test_the_majority_writes_again_and_the_minority_does_not(
    tmp_path: Path, version: str, members: int, mode: str
) -> None:
    (tmp_path / "alone.yaml").write_text(PARTITION.format(version=version, members=members, mode=mode))
    run = run_json("alone.yaml", cwd=tmp_path)
    results = run.results
    assert (run.code, broken(results)) == (0, []), run.err
    (fault,) = results["faults"]
    assert len(fault["targets"]) == 1
    assert fault["old_leader_wrote"] is False
    assert results["leader_changes"] >= 1
    assert 0 < results["write_gap_s"] < 5
    (recovery,) = results["recovery"]
    assert recovery["seconds"] is not None


def test_judging_again_gives_the_same_result(tmp_path: Path) -> None:
    first = run_json("baseline", "--set", "method[0].wait=4s", cwd=tmp_path)
    again = chaoskit("judge", str(tmp_path / "reports" / "baseline" / "latest"), "--json", cwd=tmp_path)
    assert again.results == first.results


def test_two_runs_on_one_host_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with ThreadPoolExecutor(2) as pool:
        runs = list(
            pool.map(
                lambda name: run_json("leader-kill", "--set", "load.put.rate=50/s", cwd=tmp_path / name), ("one", "two")
            )
        )
    for run in runs:
        assert run.results["watch"]["silent_loss"] == 0
        assert all(fault["healed_at"] for fault in run.results["faults"])
