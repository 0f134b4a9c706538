"""What members used: from samples of counters to rates per phase and second, and etcd's own metrics."""

from __future__ import annotations

import pytest

from chaoskit.contracts import Promises
from chaoskit.figures import compute
from chaoskit.figures.phases import Phases
from chaoskit.figures.resources import Resources
from chaoskit.history import History, Phase, ResourceSample
from chaoskit.reporters import member_load
from chaoskit.results import MemberLoad
from chaoskit.systems.etcd.metrics import parse
from tests.unit import sample_results

pytestmark = pytest.mark.unit

S = 1_000_000_000


def history(*samples: ResourceSample) -> History:
    phases = [Phase("baseline", "baseline", 0, 4 * S), Phase("fault:kill", "fault", 4 * S, 8 * S)]
    return History(phases=phases, resources=list(samples))


def sample(at_s: float, cpu_s: float, pid: int = 1, **more: float) -> ResourceSample:
    return ResourceSample(int(at_s * S), "n1", pid, cpu_s=cpu_s, **more)  # type: ignore[arg-type]


def of(*samples: ResourceSample) -> dict[str, MemberLoad]:
    whole = history(*samples)
    return Resources(whole, Phases(whole)).of_phases("n1")


def test_rates_are_growth_over_time_and_belong_to_the_phase_of_the_later_sample() -> None:
    load = of(sample(1, 10.0), sample(2, 10.5), sample(3, 11.5), sample(5, 13.5))
    assert load["baseline"].cpu == pytest.approx(0.75)
    assert load["baseline"].cpu_max == pytest.approx(1.0)
    assert load["fault:kill"].cpu == pytest.approx(1.0)


def test_a_restarted_member_gives_no_rate_across_its_start() -> None:
    load = of(sample(1, 10.0), sample(2, 10.5), sample(5, 0.1, pid=2), sample(6, 0.3, pid=2))
    assert load["baseline"].cpu == pytest.approx(0.5)
    assert load["fault:kill"].cpu == pytest.approx(0.2)


def test_what_nobody_could_say_is_none_and_never_zero() -> None:
    load = of(sample(1, 1.0), sample(2, 1.0))["baseline"]
    assert load.cpu == 0
    assert load.memory_max_bytes is load.written_bytes_per_s is load.fsync_ms is load.db_bytes is None
    assert of() == {}


def test_latencies_of_the_disk_are_means_over_the_phase() -> None:
    load = of(sample(1, 0, fsyncs=10, fsync_s=1.0), sample(2, 0, fsyncs=30, fsync_s=1.1))["baseline"]
    assert load.fsync_ms == pytest.approx(5.0)


def test_the_timeline_has_what_each_member_used_and_counted() -> None:
    first = sample(0.5, 0, memory_bytes=1, written_bytes=0, sent_bytes=5, fsyncs=1, fsync_s=0.1, proposals_pending=9)
    second = sample(2.5, 1, memory_bytes=7, written_bytes=4, sent_bytes=25, fsyncs=3, fsync_s=0.5, proposals_pending=2)
    timeline = compute(history(first, second), Promises()).timeline
    assert timeline[2].cpu == {"n1": pytest.approx(0.5)}
    assert timeline[2].memory_bytes == {"n1": 7}
    assert timeline[2].written_bytes_per_s == {"n1": pytest.approx(2)}
    assert timeline[2].sent_bytes_per_s == {"n1": pytest.approx(10)}
    assert timeline[2].fsync_ms == {"n1": pytest.approx(200)}
    assert timeline[2].proposals_pending == {"n1": 2}
    assert timeline[2].read_bytes_per_s == timeline[2].db_bytes == {}, "what nobody could say is left out"
    assert timeline[0].cpu == timeline[0].memory_bytes == {}


def test_the_table_of_before_and_after_has_judged_phases_only_and_a_gap_where_a_member_was_down() -> None:
    assert list(member_load.before_and_after(sample_results.FAIL)) == [
        ("baseline", ("21%  38.0 MiB", "42%  38.0 MiB", "20%  38.0 MiB")),
        ("fault:partition", ("44%  41.0 MiB", "2%  41.0 MiB", "–")),
        ("recovery:partition", ("43%  44.0 MiB", "22%  44.0 MiB", "25%  44.0 MiB")),
    ]


def test_etcd_s_metrics_are_read_and_series_of_one_name_added_up() -> None:
    text = """# HELP etcd_server_has_leader …
etcd_server_has_leader 1
etcd_server_leader_changes_seen_total 2
etcd_server_proposals_pending 3
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 5
etcd_disk_wal_fsync_duration_seconds_sum 0.25
etcd_disk_wal_fsync_duration_seconds_count 50
etcd_mvcc_db_total_size_in_bytes 24576
etcd_network_peer_sent_bytes_total{To="a"} 100
etcd_network_peer_sent_bytes_total{To="b"} 1e+03
etcd_network_client_grpc_sent_bytes_total 7
"""
    metrics = parse(text)
    assert metrics is not None
    assert (metrics.fsyncs, metrics.fsync_s, metrics.leader_changes, metrics.proposals_pending) == (50, 0.25, 2, 3)
    assert (metrics.db_bytes, metrics.sent_bytes) == (24576, 1107)
    assert parse("<html>404</html>") is None
    assert parse("") is None


def test_sizes_and_shares_are_shown_with_their_units() -> None:
    cells = member_load._cells(MemberLoad(cpu=0.5, memory_max_bytes=3 << 20, db_bytes=100, fsync_ms=1.234))
    assert cells[0] == "50%" and cells[2] == "3.0 MiB" and cells[7] == "1.23 ms" and cells[-1] == "100 B"
