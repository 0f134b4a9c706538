"""Every backend with real etcd, real Toxiproxy and real harm. Most tests share one cluster of each and heal it."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import Cluster, ClusterWish, Cut, Down, Paused, System, Toxic
from chaoskit.errors import ClusterNotReady, InfrastructureError, ProxyError
from chaoskit.systems import SYSTEMS
from chaoskit.topology import Link, between, client_links, isolate, member_names
from tests.backends import EACH_BACKEND, HANDS, Hands

pytestmark = pytest.mark.integration

VERSION = "3.6.14"
N1_N2 = Link("n1", "n2")
SLOW = Toxic(frozenset({N1_N2}), "latency", (("latency", 60),))
REFUSED = {"process": "connection refused", "docker": "closed without an answer"}  # a published port always accepts
T = TypeVar("T")


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A registry of the test's own, and an environment that would break members that inherit it."""
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAOSKIT_STATE", str(state))
        patch.setenv("ETCD_NAME", "not-your-name")
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            patch.setenv(variable, "http://127.0.0.1:9")
        yield state


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    system = SYSTEMS["etcd"](VERSION)
    yield system
    system.close()


@pytest.fixture(scope="module", params=EACH_BACKEND)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def hands(backend: str) -> Hands:
    return HANDS[backend]()


@pytest.fixture(scope="module")
def run_dir(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def shared(backend: str, system: System, run_dir: Path) -> Iterator[Cluster]:
    began = time.monotonic()
    cluster = start(backend, system, run_dir)
    print(f"{backend}: three members ready in {time.monotonic() - began:.2f} s")
    yield cluster
    cluster.close()
    cluster.close()


@pytest.fixture
def cluster(shared: Cluster, system: System) -> Iterator[Cluster]:
    """The shared cluster, healthy before and after."""
    until(lambda: leader(shared, system), "a leader before the test")
    yield shared
    shared.heal()
    assert [shared.process(member).state for member in shared.members] == ["running"] * 3
    for link in between(["n1"], shared.members) | client_links(shared.members):
        until(lambda link=link: shared.probe(link, 1).answered, f"{link} passing after the heal")
    assert shared.trouble() == []


def start(backend: str, system: System, run_dir: Path, count: int = 3, **flags: str) -> Cluster:
    wish = ClusterWish(f"test-{run_dir.name}", member_names(count), VERSION, flags, run_dir, {})
    return BACKENDS[backend]().start(wish, system, print)


def leader(cluster: Cluster, system: System, among: tuple[str, ...] = ()) -> str:
    """The leader that all of these members name; "" when they do not agree."""
    endpoints = cluster.direct_endpoints()
    statuses = [system.status(endpoints[member], 0.5) for member in among or cluster.members]
    named = {status.leader if status else "" for status in statuses}
    return named.pop() if len(named) == 1 else ""


def put(cluster: Cluster, system: System, member: str, timeout_s: float = 0.5) -> int | None:
    return system.put(cluster.client_endpoints()[member], "key", "value", timeout_s)


def until(look: Callable[[], T], what: str, deadline_s: float = 15) -> T:
    deadline = time.monotonic() + deadline_s
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)
    return seen


def test_every_client_endpoint_takes_a_write_through_its_proxy(cluster: Cluster, system: System) -> None:
    assert all(put(cluster, system, member) for member in cluster.members)
    assert cluster.client_endpoints().keys() == cluster.direct_endpoints().keys()
    assert not set(cluster.client_endpoints().values()) & set(cluster.direct_endpoints().values())


def test_every_member_says_what_it_uses_and_counts(cluster: Cluster, system: System) -> None:
    endpoint, before = cluster.direct_endpoints()["n1"], cluster.resources("n1")
    counted = system.metrics(endpoint, 1)
    for _ in range(50):
        put(cluster, system, "n1")
    after, counted_after = cluster.resources("n1"), system.metrics(endpoint, 1)
    assert before and after and counted and counted_after
    assert 0 < before.cpu_s < after.cpu_s < 60
    assert 5 << 20 < after.memory_bytes < 1 << 30
    if os.geteuid() == 0:  # others may not look into a process that belongs to root
        assert after.written_bytes and before.written_bytes is not None and after.read_bytes is not None
        assert after.written_bytes > before.written_bytes
    assert counted_after.fsyncs > counted.fsyncs
    assert counted_after.received_bytes > counted.received_bytes
    assert counted_after.db_bytes > 0
    cluster.inflict("down", Down(("n1",)))
    assert cluster.resources("n1") is None
    assert system.metrics(endpoint, 0.5) is None


@pytest.mark.parametrize("mode", ["blackhole", "reject"])
def test_without_its_leader_the_majority_writes_again_and_the_minority_does_not(
    backend: str, cluster: Cluster, system: System, mode: str
) -> None:
    old = leader(cluster, system)
    others = tuple(member for member in cluster.members if member != old)
    began = time.monotonic()
    cluster.inflict("cut", Cut(isolate(cluster.members, [old]), mode))
    until(lambda: leader(cluster, system, others) not in ("", old), "a new leader")
    until(lambda: put(cluster, system, others[0]), "a write by the majority")
    print(f"{mode}: the majority writes after {time.monotonic() - began:.2f} s")
    assert put(cluster, system, old, timeout_s=1.5) is None
    probed = cluster.probe(Link(old, others[0]), 0.3)
    assert (probed.answered, probed.how) == (
        False,
        {"blackhole": "silence for 0.3 s", "reject": REFUSED[backend]}[mode],
    )
    assert cluster.probe(Link(others[0], others[1]), 1).answered, "only the leader was cut off"
    began = time.monotonic()
    cluster.release("cut")
    until(lambda: put(cluster, system, old), "a write by the old leader")
    print(f"{mode}: the old leader writes {time.monotonic() - began:.2f} s after the heal")


def test_a_link_stays_cut_until_its_last_holder_lets_go(cluster: Cluster) -> None:
    cluster.inflict("one", Cut(frozenset({N1_N2})))
    cluster.inflict("two", Cut(frozenset({N1_N2, Link("n1", "n3")})))
    cluster.release("one")
    assert not cluster.probe(N1_N2, 0.2).answered
    cluster.release("two")
    assert cluster.probe(N1_N2, 1).answered
    cluster.release("two")


def test_rejecting_hides_a_blackhole_that_is_still_there_afterwards(backend: str, cluster: Cluster) -> None:
    cluster.inflict("silent", Cut(frozenset({N1_N2}), "blackhole"))
    cluster.inflict("loud", Cut(frozenset({N1_N2}), "reject"))
    assert cluster.probe(N1_N2, 0.2).how == REFUSED[backend]
    cluster.release("loud")
    assert cluster.probe(N1_N2, 0.2).how == "silence for 0.2 s"


def test_latencies_of_two_holders_add_up_on_both_streams(cluster: Cluster) -> None:
    for holder in ("a/b", "a-b"):
        cluster.inflict(holder, SLOW)
    assert 0.24 <= cluster.probe(N1_N2, 3).seconds < 1
    cluster.release("a/b")
    assert 0.12 <= cluster.probe(N1_N2, 3).seconds < 0.24
    cluster.release("a-b")
    assert cluster.probe(N1_N2, 3).seconds < 0.12


def test_a_narrow_link_takes_its_time_for_a_padded_probe(cluster: Cluster) -> None:
    link = Link("client", "n2")
    cluster.inflict("narrow", Toxic(frozenset({link}), "bandwidth", (("rate", 200),)))
    assert 0.4 <= cluster.probe(link, 5, padding=100_000).seconds < 2
    cluster.release("narrow")
    assert cluster.probe(link, 5, padding=100_000).seconds < 0.4


def test_holders_in_parallel_threads_end_with_a_healed_cluster(backend: str, cluster: Cluster) -> None:
    def torment(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(8):
            harm = rng.choice([Cut(frozenset({N1_N2}), "reject"), Cut(frozenset({N1_N2})), SLOW, Paused(("n1",))])
            cluster.inflict(f"thread {seed}", harm)
            cluster.release(f"thread {seed}")

    cluster.inflict("steady", Cut(frozenset({Link("n1", "n3")}), "reject"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(torment, range(4)))
    assert cluster.probe(Link("n1", "n3"), 0.2).how == REFUSED[backend]
    assert cluster.probe(N1_N2, 1).seconds < 0.12
    assert cluster.process("n1").state == "running"


def test_harm_that_cannot_be_is_refused_and_leaves_nothing(cluster: Cluster) -> None:
    with pytest.raises(ProxyError, match="latancy"):
        cluster.inflict("x", Toxic(frozenset({N1_N2}), "latency", (("latancy", 60),)))
    with pytest.raises(InfrastructureError, match="n9"):
        cluster.inflict("x", Down(("n9",)))
    with pytest.raises(InfrastructureError, match="n1->n9"):
        cluster.inflict("x", Cut(frozenset({Link("n1", "n9")})))


@pytest.mark.parametrize("how", ["KILL", "TERM"])
def test_a_member_that_was_down_comes_back_with_its_data(
    hands: Hands, cluster: Cluster, system: System, run_dir: Path, how: str
) -> None:
    written = put(cluster, system, "n2") or put(cluster, system, "n2", 5)
    assert written
    before = cluster.process("n2")
    cluster.inflict("one", Down(("n2",), how))
    cluster.inflict("two", Down(("n2",), how))
    cluster.release("one")
    assert cluster.process("n2").state == "down"
    cluster.release("two")
    after = cluster.process("n2")
    assert (after.state, after.starts) == ("running", before.starts + 1)
    assert after.pid != before.pid
    endpoint = cluster.direct_endpoints()["n2"]
    status = until(lambda: system.status(endpoint, 0.5), "n2 answering")
    assert status.revision >= written
    log = hands.log(run_dir, f"test-{run_dir.name}", "n2")
    assert "received signal; shutting down" in log or "closed etcd server" in log or how == "KILL"
    until(lambda: leader(cluster, system), "all three agreeing again")


def test_connections_that_find_no_member_are_not_written_down_one_by_one(
    cluster: Cluster, hands: Hands, run_dir: Path
) -> None:
    """In a long outage that would fill the disk."""
    cluster.inflict("down", Down(("n2",)))
    host, port = cluster.client_endpoints()["n2"].split(":")
    before = hands.log(run_dir, f"test-{run_dir.name}", "toxiproxy")
    for _ in range(5):
        with suppress(OSError), socket.create_connection((host, int(port)), 1) as connection:
            connection.recv(1)
    after = hands.log(run_dir, f"test-{run_dir.name}", "toxiproxy")
    assert after == before


def test_a_paused_member_is_silent_and_goes_on_when_the_last_pause_ends(cluster: Cluster, system: System) -> None:
    cluster.inflict("one", Paused(("n3",)))
    cluster.inflict("two", Paused(("n2", "n3")))
    assert [cluster.process(member).state for member in cluster.members] == ["running", "paused", "paused"]
    cluster.release("one")
    assert cluster.process("n3").state == "paused"
    assert system.status(cluster.direct_endpoints()["n3"], 0.2) is None
    cluster.release("two")
    assert cluster.process("n3").state == "running"
    until(lambda: leader(cluster, system), "all three agreeing again")


def test_a_member_that_is_killed_while_paused_is_paused_again_when_started(cluster: Cluster, system: System) -> None:
    cluster.inflict("pause", Paused(("n3",)))
    cluster.inflict("kill", Down(("n3",), "TERM"))
    assert cluster.process("n3").state == "down"
    cluster.release("kill")
    assert cluster.process("n3").state == "paused"
    cluster.release("pause")
    assert cluster.process("n3").state == "running"
    until(lambda: leader(cluster, system), "all three agreeing again")


def test_a_member_that_dies_by_itself_is_told_once_and_not_started_again(
    hands: Hands, cluster: Cluster, system: System, run_dir: Path
) -> None:
    hands.signal(f"test-{run_dir.name}", "n3", signal.SIGKILL)
    [told] = until(cluster.trouble, "somebody noticing")
    assert told.startswith(("member n3 died by itself: SIGKILL", "member n3 died by itself: exit code 137"))
    cluster.heal()
    assert cluster.process("n3").state == "down"
    assert cluster.trouble() == []
    cluster.inflict("again", Down(("n3",)))
    cluster.release("again")
    until(lambda: leader(cluster, system), "all three agreeing again")


def test_a_hung_toxiproxy_is_replaced_and_the_harm_is_still_there(
    backend: str, hands: Hands, cluster: Cluster, run_dir: Path
) -> None:
    cluster.inflict("cut", Cut(frozenset({N1_N2}), "reject"))
    hands.signal(f"test-{run_dir.name}", "toxiproxy", signal.SIGSTOP)
    [told] = until(cluster.trouble, "the watchdog noticing")
    assert "Toxiproxy stopped working and was restarted" in told
    assert cluster.probe(N1_N2, 0.2).how == REFUSED[backend]
    assert cluster.probe(Link("n2", "n3"), 1).answered


def test_a_dead_toxiproxy_is_replaced_within_the_call_that_needs_it(
    hands: Hands, cluster: Cluster, run_dir: Path
) -> None:
    hands.signal(f"test-{run_dir.name}", "toxiproxy", signal.SIGKILL)
    cluster.inflict("cut", Cut(frozenset({N1_N2})))
    assert cluster.probe(N1_N2, 0.2).how == "silence for 0.2 s"
    assert any("Toxiproxy" in told for told in cluster.trouble())


def test_two_clusters_live_side_by_side(backend: str, cluster: Cluster, system: System, tmp_path: Path) -> None:
    other = start(backend, system, tmp_path)
    try:
        assert not set(other.client_endpoints().values()) & set(cluster.client_endpoints().values())
        other.inflict("cut", Cut(frozenset({N1_N2})))
        assert cluster.probe(N1_N2, 1).answered
        assert not other.probe(N1_N2, 0.2).answered
        assert BACKENDS[backend]().sweep(print) == [], "both are alive"
    finally:
        other.close()
    assert put(cluster, system, "n1")


@pytest.mark.parametrize("count", [1, 5, 7])
def test_clusters_of_other_sizes_start_and_leave_only_results(
    backend: str, hands: Hands, system: System, tmp_path: Path, count: int
) -> None:
    cluster = start(backend, system, tmp_path, count)
    try:
        assert put(cluster, system, f"n{count}", 2)
    finally:
        cluster.close()
    assert {path.name for path in tmp_path.iterdir()} == {"journal.jsonl", "logs"}
    assert not hands.left(f"test-{tmp_path.name}")


def test_members_that_cannot_start_are_quoted_and_nothing_is_left(
    backend: str, hands: Hands, system: System, tmp_path: Path, environment: Path
) -> None:
    with pytest.raises(ClusterNotReady, match=r"member n1 ended while starting: exit code 1;[^$]*election-timeout"):
        start(backend, system, tmp_path, **{"heartbeat-interval": "900"})
    assert {path.name for path in tmp_path.iterdir()} == {"journal.jsonl", "logs"}
    assert not hands.left(f"test-{tmp_path.name}")
    assert not list((environment / "runs").glob(f"test-{tmp_path.name}*"))
