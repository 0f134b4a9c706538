"""The packaged experiments keep the expectation that each states in its own comment."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.e2e.chaoskit_process import STEADY, Finished, broken, chaoskit, run_json, run_json_on_any_machine

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("backend")]


def run_packaged(name: str, *arguments: str, cwd: Path) -> Finished:
    """With a steady state that a slow disk of a shared machine meets, too: its latency is not what is tested here."""
    return run_json(name, *STEADY, *arguments, cwd=cwd)


def test_baseline_passes_on_a_healthy_cluster(tmp_path: Path) -> None:
    slowly = {
        "slo[0]": "put.p99 < 1s",
        "slo[1]": "read.p99 < 1s",
        "slo[3]": "write.gap < 3s",
        "slo[5]": "watch.lag.p99 < 2s",
    }
    run = run_packaged("baseline", *(f"--set={path}={slo}" for path, slo in slowly.items()), cwd=tmp_path)
    assert (run.code, broken(run.results)) == (0, []), run.err
    assert run.results["watch"]["silent_loss"] == run.results["watch"]["client_loss"] == 0
    assert run.results["watch"]["delivered"] == run.results["watch"]["expected"] > 0


def test_the_etcd3_package_carries_the_same_experiment(tmp_path: Path) -> None:
    """With a third of the load: it costs nine times the CPU, and a saturated generator would be inconclusive."""
    slower = ("--set", "load.put.rate=100/s", "--set", "load.read.rate=60/s")
    run = run_packaged("baseline", "--set", "load.client=etcd3", *slower, cwd=tmp_path)
    assert run.results["watch"]["silent_loss"] == run.results["watch"]["client_loss"] == 0
    assert run.results["watch"]["delivered"] == run.results["watch"]["expected"] > 0
    assert run.results["totals"]["put"]["failed"] == run.results["totals"]["put"]["unknown"] == 0


@pytest.mark.each_backend
def test_partition_shows_an_outage_a_recovery_and_no_lost_event(tmp_path: Path) -> None:
    run = run_packaged("partition", cwd=tmp_path)
    results = run.results
    assert (run.code, broken(results)) == (0, []), run.err
    partition, kill = results["faults"]
    assert (partition["kind"], kill["kind"]) == ("partition", "kill")
    for fault in (partition, kill):
        assert fault["injected_at"] < fault["verified_at"] < fault["heal_began_at"] < fault["healed_at"]
    assert not partition["old_leader_wrote"]
    assert 0.3 < results["write_gap_s"] < 5
    assert results["leader_changes"] >= 1
    assert results["totals"]["put"]["unknown"] > 0  # most were under way when the partition came
    assert results["watch"]["silent_loss"] == 0
    assert all(recovery["seconds"] is not None for recovery in results["recovery"])


def test_leader_kill_elects_another_leader_and_recovers(tmp_path: Path) -> None:
    run = run_packaged("leader-kill", cwd=tmp_path)
    assert (run.code, broken(run.results)) == (0, []), run.err
    assert run.results["leader_changes"] >= 1
    (killed,) = run.results["faults"][0]["targets"]
    assert next(member for member in run.results["members"] if member["name"] == killed)["down_s"] > 1


def test_a_mixed_load_is_told_the_truth_through_the_death_of_a_leader(tmp_path: Path) -> None:
    run = run_packaged("mixed", cwd=tmp_path)
    results = run.results
    assert (run.code, broken(results)) == (0, []), run.err
    assert results["answers"]["checked"] > 1000
    assert results["answers"]["not_known"] == 0
    assert 0 < results["totals"]["txn"]["conflicts"] < results["totals"]["txn"]["ok"]
    assert all(results["totals"][kind]["ok"] > 0 for kind in ("put", "read", "delete", "range", "range_page"))


def test_naive_watchers_lose_events_in_the_gap_and_it_is_told_apart_from_the_server(tmp_path: Path) -> None:
    run = run_packaged("watch-reconnect", cwd=tmp_path)
    watch = run.results["watch"]
    assert run.code == 0, run.err
    assert watch["client_loss"] > 0
    assert watch["silent_loss"] == watch["declared_loss"] == 0
    assert sum(watch["reconnects"].values()) > 0


def test_resuming_watchers_lose_nothing_in_the_same_gap(tmp_path: Path) -> None:
    run = run_packaged("watch-reconnect", "--var", "RECONNECT=resume", cwd=tmp_path)
    watch = run.results["watch"]
    assert watch["client_loss"] == watch["silent_loss"] == watch["declared_loss"] == 0
    assert sum(watch["reconnects"].values()) > 0


def test_slow_consumers_get_everything_late_and_healthy_watches_do_not_notice(tmp_path: Path) -> None:
    run = run_packaged("slow-watchers", cwd=tmp_path)
    watch, slow = run.results["watch"], run.results["slow_watch"]
    assert (run.code, broken(run.results)) == (0, []), run.err
    assert slow["silent_loss"] == slow["client_loss"] == slow["tail"] == 0
    assert slow["lag_ms"]["p50"] > 5 * watch["lag_ms"]["p99"]


def test_a_slow_follower_does_not_slow_the_majority(tmp_path: Path) -> None:
    run = run_packaged("slow-follower", cwd=tmp_path)
    assert (run.code, broken(run.results)) == (0, []), run.err
    assert run.results["leader_changes"] == 0


def test_a_paused_leader_is_judged_by_its_leases_alone(tmp_path: Path) -> None:
    """The resumed old leader revokes fresh leases in about half of the attempts: counted and explained, or absent."""
    run = run_packaged("pause-leader", cwd=tmp_path)
    results = run.results
    early = results["lease"]["early_expiry"]
    assert run.code == (1 if early else 0), broken(results)
    assert len(results["lease"]["early"]) == min(early, 20)
    assert all("pause" in sentence and "had been undone" in sentence for sentence in results["lease"]["early"])
    assert all("early" in sentence.lower() for sentence in broken(results))


def test_a_search_reports_the_knee_and_judging_again_finds_the_same(tmp_path: Path) -> None:
    """What a shared machine can carry is not tested here; that the steps, the knee and the verdict agree is."""
    run = run_json_on_any_machine("knee", *STEADY, "--var", "STEP=2000/s", cwd=tmp_path)
    results = run.results
    (knee,) = results["knees"]
    assert [step["rate_per_s"] for step in knee["steps"]] == [200, 2200, 4200, 6200, 8200][: len(knee["steps"])]
    for step in knee["steps"]:
        assert step["offered_per_s"] == pytest.approx(step["rate_per_s"], rel=0.05)
    held = [*itertools.takewhile(lambda step: step["verdict"] == "held", knee["steps"])]
    ended = "held" if len(held) == len(knee["steps"]) else knee["steps"][len(held)]["verdict"]
    found = {"held": "not reached", "broke": "found" if held else "broke at once", "unknown": "unknown"}
    assert knee["outcome"] == found[ended]
    assert knee["at_least_per_s"] == (held[-1]["rate_per_s"] if held else None)
    undecided = broken(results)
    assert any("Knee" in line for line in undecided) == (knee["outcome"] not in ("found", "not reached"))
    assert all("Knee" in line or "enerator saturated" in line for line in undecided), run.err
    assert run.code == (5 if undecided else 0), run.err
    again = chaoskit("judge", str(tmp_path / "reports" / "knee" / "latest"), "--json", cwd=tmp_path)
    assert again.results["knees"] == results["knees"]
    assert again.code == run.code


def test_a_lease_storm_expires_all_its_leases_and_shows_its_cost(tmp_path: Path) -> None:
    run = run_packaged("lease-storm", cwd=tmp_path)
    results = run.results
    assert (run.code, broken(results)) == (0, []), run.err
    bursts = [phase for phase in results["phases"] if phase["kind"] == "burst"]
    assert len(bursts) == 2
    assert all(burst["ops"]["put"]["response_ms"]["p99"] > 0 for burst in bursts)
    assert results["lease"]["expired_as_asked"] > 100
