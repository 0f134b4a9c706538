"""The load worker against a real etcd: what it sends, records, survives."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chaoskit.clusters import binaries
from chaoskit.errors import LoadError
from chaoskit.history import History, Operation, Outcome, ShardReader, load
from chaoskit.load import LoadOrder, LoadProcess, WorkloadOrder
from chaoskit.spec import Spec
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.workloads import WORKLOADS
from tests.ports import free_port

pytestmark = pytest.mark.integration

SECOND = 1_000_000_000
PREFIX = "ck/test/"


class Etcd:
    """One real member, with an HTTP client of its own as the independent view."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.client_port, self._peer_port = free_port(), free_port()
        self.endpoint = f"127.0.0.1:{self.client_port}"
        self.start()

    def start(self) -> None:
        client, peer = f"http://{self.endpoint}", f"http://127.0.0.1:{self._peer_port}"
        with (self._folder / "etcd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(binaries.find("etcd", "3.6.14").path), "--data-dir", str(self._folder / "data")),
                    *("--listen-client-urls", client, "--advertise-client-urls", client),
                    *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                    *("--initial-cluster", f"default={peer}"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self.answers, 15, "etcd to answer")

    def answers(self) -> bool:
        with suppress(OSError):
            return self.revision() > 0
        return False

    def ask(self, path: str, question: Mapping[str, object]) -> dict[str, Any]:
        request = urllib.request.Request(f"http://{self.endpoint}/v3/{path}", json.dumps(question).encode())
        with urllib.request.urlopen(request, timeout=2) as answer:
            return dict(json.load(answer))

    def revision(self) -> int:
        return int(self.ask("maintenance/status", {})["header"]["revision"])

    def count(self, prefix: str) -> int:
        key, end = prefix.encode(), prefix[:-1].encode() + bytes([ord(prefix[-1]) + 1])
        question = {"key": base64.b64encode(key).decode(), "range_end": base64.b64encode(end).decode()}
        return int(self.ask("kv/range", {**question, "count_only": True}).get("count", 0))

    def slow_watchers(self) -> int:
        """How many etcd itself counts as slow."""
        with urllib.request.urlopen(f"http://{self.endpoint}/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
        return next(
            int(float(line.split()[1])) for line in lines if line.startswith("etcd_debugging_mvcc_slow_watcher")
        )

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def wait_for(what: Callable[[], bool], deadline_s: float, name: str) -> None:
    ends_at = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < ends_at, f"waited {deadline_s:g} s for {name}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    member = Etcd(tmp_path_factory.mktemp("etcd"))
    yield member
    member.kill()


def workload(kind: str, **settings: object) -> WorkloadOrder:
    spec = WORKLOADS[kind]
    assert issubclass(spec, Spec)
    return WorkloadOrder.of(kind, spec.model_validate(settings))


def order(run_dir: Path, endpoint: str, workloads: Mapping[str, WorkloadOrder], **more: Any) -> LoadOrder:
    facts: dict[str, Any] = {
        "run_id": "test", "seed": 7, "prefix": PREFIX, "keys": 200, "endpoints": {"n1": endpoint},
        "workloads": workloads, "shard": str(run_dir / "history" / "worker-0.shard"), **more,
    }  # fmt: skip
    return LoadOrder(**facts)


@contextmanager
def running(run_dir: Path, order: LoadOrder, *, go: bool = True) -> Iterator[LoadProcess]:
    worker = LoadProcess(order, run_dir, CLIENTS[order.client]().environment)
    worker.start()
    try:
        worker.wait_ready(30)
        if go:
            worker.go()
        yield worker
    finally:
        worker.kill()


def of_kind(history: History, *kinds: str) -> list[Operation]:
    return [op for op in history.operations if op.kind in kinds]


def p99_s(times_ns: list[int]) -> float:
    return sorted(times_ns)[len(times_ns) * 99 // 100] / SECOND


def response_s(ops: list[Operation]) -> float:
    return p99_s([op.done_ns - op.due_ns for op in ops])


def service_s(ops: list[Operation]) -> float:
    return p99_s([op.done_ns - op.sent_ns for op in ops])


# ── a healthy run, looked at from several sides ──────────────────────────────────────────────────────────────────────

HEALTHY = {
    "put": workload("put", rate="150/s", clients=16),
    "read": workload("read", rate="100/s", clients=8),
    "watch": workload("watch", watchers=20, fanout=2),
    "lease": workload("lease", leases=10, ttl="2s", clients=3),
}
HEALTHY_S = 4


@pytest.fixture(scope="module")
def healthy(etcd: Etcd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[History, int]]:
    """A run without faults, and by how much etcd's own revision rose."""
    run_dir = tmp_path_factory.mktemp("healthy")
    before = etcd.revision()
    with running(run_dir, order(run_dir, etcd.endpoint, HEALTHY)) as worker:
        time.sleep(HEALTHY_S)
        worker.stop_arrivals()
        time.sleep(1.2)
        worker.finish(10)
        assert worker.poll() is None
        yield load(run_dir / "history"), etcd.revision() - before


def test_the_asked_rates_are_reached_and_every_call_succeeds(healthy: tuple[History, int]) -> None:
    history, _ = healthy
    assert Counter(op.outcome for op in history.operations) == {Outcome.OK: len(history.operations)}
    assert len(of_kind(history, "put")) == pytest.approx(150 * HEALTHY_S, rel=0.02)
    assert len(of_kind(history, "read")) == pytest.approx(100 * HEALTHY_S, rel=0.02)
    assert not history.unsent


def test_etcd_counts_as_many_writes_as_the_history(healthy: tuple[History, int]) -> None:
    history, risen = healthy
    writes = of_kind(history, "put", "lease_put")
    assert len(writes) == risen
    assert len({op.revision for op in writes}) == risen
    assert len({op.value for op in writes}) == risen


def test_every_write_reaches_as_many_watches_as_fanout_says_each_once(healthy: tuple[History, int]) -> None:
    history, _ = healthy
    delivered = Counter((event.revision, event.key, event.value) for event in history.watch_events)
    written = {(op.revision, op.key, op.value) for op in of_kind(history, "put")}
    assert delivered == dict.fromkeys(written, 2)
    assert len(history.watch_opened) == 20
    assert Counter(closed.reason for closed in history.watch_closed) == {"stopped": 20}


def test_a_read_returns_the_value_id_of_the_write_with_its_revision(healthy: tuple[History, int]) -> None:
    history, _ = healthy
    written = {op.revision: (op.key, op.value) for op in of_kind(history, "put")}
    found = [op for op in of_kind(history, "read") if op.mod_revision in written]
    assert len(found) > 100
    assert all((op.key, op.value) == written[op.mod_revision] for op in found)


def test_each_lease_is_renewed_every_third_of_its_ttl_until_the_end(healthy: tuple[History, int]) -> None:
    history, _ = healthy
    renewals = Counter(op.lease for op in of_kind(history, "lease_keepalive"))
    granted = {op.lease for op in of_kind(history, "lease_grant")}
    assert set(renewals) == granted == {op.lease for op in of_kind(history, "lease_put")}
    lived_s = HEALTHY_S + 1.2
    assert all(abs(count - lived_s / (2 / 3)) <= 1.5 for count in renewals.values())
    assert Counter(ended.reason for ended in history.lease_ended) == {"stopped": 10}
    assert {op.ttl_s for op in of_kind(history, "lease_keepalive", "lease_grant")} == {2}


def test_the_generator_reports_on_itself_every_second(healthy: tuple[History, int]) -> None:
    history, _ = healthy
    assert len(history.generator) >= HEALTHY_S
    assert sum(sample.sent for sample in history.generator) <= len(history.operations)
    assert all(0 < sample.cpu < 2 and sample.rss_bytes > 10 << 20 for sample in history.generator)


def test_the_same_seed_gives_the_same_arrivals_and_keys(
    healthy: tuple[History, int], etcd: Etcd, tmp_path: Path
) -> None:
    with running(tmp_path, order(tmp_path, etcd.endpoint, {"put": HEALTHY["put"], "read": HEALTHY["read"]})) as worker:
        time.sleep(2)
        worker.stop_arrivals()
        worker.finish(10)
    again = load(tmp_path / "history")
    for kind in ("put", "read"):
        now, then = of_kind(again, kind), of_kind(healthy[0], kind)
        assert len(now) > 150
        assert [(op.due_ns - now[0].due_ns, op.key) for op in now] == [
            (op.due_ns - then[0].due_ns, op.key) for op in then[: len(now)]
        ]


def test_a_ramp_holds_its_first_rate_in_the_warmup_and_is_offered_exactly(etcd: Etcd, tmp_path: Path) -> None:
    ramp = workload("put", rate={"from": "50/s", "to": "250/s", "over": "2s"})
    with running(tmp_path, order(tmp_path, etcd.endpoint, {"put": ramp}, warmup_s=1.0)) as worker:
        time.sleep(4.5)
        worker.stop_arrivals()
        worker.finish(10)
    puts = of_kind(load(tmp_path / "history"), "put")
    zero_ns = puts[0].due_ns
    offered = Counter((op.due_ns - zero_ns) // SECOND for op in puts)
    assert [offered[second] for second in range(4)] == pytest.approx([50, 100, 200, 250], abs=3)


def test_clients_of_the_closed_model_call_when_they_have_their_answer_and_are_recorded_as_such(
    etcd: Etcd, tmp_path: Path
) -> None:
    read = workload("read", rate={"think": "10ms"}, clients=4)
    with running(tmp_path, order(tmp_path, etcd.endpoint, {"read": read})) as worker:
        time.sleep(1)
        with etcd.frozen():
            time.sleep(1)
        time.sleep(0.5)
        worker.stop_arrivals()
        worker.finish(10)
    history = load(tmp_path / "history")
    assert [(model.kind, model.clients, model.think_ns) for model in history.closed_models] == [("read", 4, 10**7)]
    assert all(op.due_ns == op.sent_ns and not op.queued for op in history.operations)
    by_client: dict[int, list[Operation]] = {}
    for op in history.operations:
        by_client.setdefault(op.client, []).append(op)
    assert len(by_client) == 4
    for ops in by_client.values():
        assert len(ops) > 30
        assert min(after.sent_ns - before.done_ns for before, after in pairwise(ops)) >= 10**7


def test_locusts_own_page_shows_the_load_and_cannot_stop_it(etcd: Etcd, tmp_path: Path) -> None:
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    with running(tmp_path, order(tmp_path, etcd.endpoint, {"put": HEALTHY["put"]}, web_ui_port=port)) as worker:
        time.sleep(1.5)
        for path, body in (("/stop", None), ("/swarm", b"user_count=1&spawn_rate=1"), ("/stats/reset", None)):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(page + path, body, timeout=2)
        time.sleep(1)
        with urllib.request.urlopen(f"{page}/stats/requests", timeout=2) as answer:
            stats = json.load(answer)
        with urllib.request.urlopen(f"{page}/stats/requests/csv", timeout=2) as answer:
            csv = answer.read().decode()
        with urllib.request.urlopen(page, timeout=2) as answer:
            assert b"<title>Locust" in answer.read()
        worker.stop_arrivals()
        worker.finish(10)
        assert worker.poll() is None
    assert stats["state"] == "running"
    (row,) = [row for row in stats["stats"] if row["name"] == "put"]
    assert row["num_requests"] >= 150
    assert "etcd,put," in csv
    assert len(of_kind(load(tmp_path / "history"), "put")) > 300


def test_a_port_that_is_taken_costs_the_page_and_not_the_load(etcd: Etcd, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(tmp_path, order(tmp_path, etcd.endpoint, {"put": HEALTHY["put"]}, web_ui_port=port)) as worker:
            time.sleep(1)
            worker.stop_arrivals()
            worker.finish(10)
            assert worker.poll() is None
    assert len(of_kind(load(tmp_path / "history"), "put")) > 20
    assert "no web UI" in (tmp_path / "logs" / "worker-0.log").read_text()


# ── stalls ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_two_second_stall_shows_in_the_response_time_which_service_time_would_hide(
    etcd: Etcd, tmp_path: Path
) -> None:
    put = workload("put", rate="150/s", clients=4)
    with running(tmp_path, order(tmp_path, etcd.endpoint, {"put": put}, timeout_s=5.0)) as worker:
        time.sleep(3)
        with etcd.frozen():
            time.sleep(2)
        time.sleep(5)
        worker.stop_arrivals()
        worker.finish(10)
    puts = of_kind(load(tmp_path / "history"), "put")
    assert len(puts) == pytest.approx(1500, rel=0.02)  # what was due in the stall was sent after it
    assert response_s(puts) == pytest.approx(1.9, abs=0.2)
    assert service_s(puts) < 0.3  # what a closed model would have said
    assert sum(op.queued for op in puts) > 250


def test_what_is_in_flight_or_unsent_when_the_load_ends_is_recorded_as_such(etcd: Etcd, tmp_path: Path) -> None:
    put = workload("put", rate="100/s", clients=5)
    with running(tmp_path, order(tmp_path, etcd.endpoint, {"put": put}, timeout_s=60.0)) as worker:
        time.sleep(1)
        with etcd.frozen():
            time.sleep(1)
            worker.stop_arrivals()
            worker.finish(4)
        assert worker.poll() is None
    history = load(tmp_path / "history")
    assert Counter(op.outcome for op in history.operations)[Outcome.UNKNOWN] == 5
    assert all(op.done_ns for op in history.operations)
    dues = sorted([op.due_ns for op in history.operations] + [due for late in history.unsent for due in late.dues_ns])
    gaps = {after - before for before, after in pairwise(dues)}
    assert max(gaps) - min(gaps) <= 2, "an arrival is missing"
    assert len(dues) == pytest.approx(200, rel=0.05)


# ── ends of all kinds ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_killed_worker_is_noticed_and_its_shard_still_reads(etcd: Etcd, tmp_path: Path) -> None:
    with running(tmp_path, order(tmp_path, etcd.endpoint, HEALTHY, prefix="ck/killed/")) as worker:
        time.sleep(2)
        with etcd.frozen():
            time.sleep(1)
            os.kill(worker.pid, signal.SIGKILL)
        wait_for(lambda: worker.poll() is not None, 2, "poll to say so")
        assert "was ended by SIGKILL" in str(worker.poll())
        worker.finish(5)
        assert "was ended by SIGKILL" in str(worker.poll())
    history = load(tmp_path / "history")
    in_flight = [op for op in history.operations if not op.done_ns]
    assert len(of_kind(history, "put")) > 200
    assert len(in_flight) >= 16  # all put clients at least, stuck in the frozen server
    assert {op.outcome for op in in_flight} == {Outcome.UNKNOWN}


def test_a_torn_end_of_a_shard_is_left_out(etcd: Etcd, tmp_path: Path) -> None:
    with running(tmp_path, order(tmp_path, etcd.endpoint, HEALTHY)) as worker:
        time.sleep(1)
        worker.kill()
    shard = tmp_path / "history" / "worker-0.shard"
    shard.write_bytes(shard.read_bytes()[:-3])
    reader = ShardReader(shard)
    assert list(reader)
    assert reader.torn


def test_a_worker_does_not_outlive_a_controller_that_was_killed(etcd: Etcd, tmp_path: Path) -> None:
    order(tmp_path, etcd.endpoint, HEALTHY).write(tmp_path / "order.json")
    code = (
        "import sys, time; from pathlib import Path; from chaoskit.load import LoadOrder, LoadProcess;"
        "from chaoskit.systems.etcd.clients import CLIENTS;"
        "order = LoadOrder.read(Path(sys.argv[1]) / 'order.json');"
        "worker = LoadProcess(order, Path(sys.argv[1]), CLIENTS[order.client]().environment); worker.start();"
        "worker.wait_ready(30); worker.go(); print(worker.pid, flush=True); time.sleep(60)"
    )
    controller = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    worker_pid = int(controller.stdout.readline())
    assert Path(f"/proc/{worker_pid}").exists()
    controller.kill()
    controller.wait()
    wait_for(lambda: not alive(worker_pid), 2, "the worker to be gone")


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_a_worker_that_cannot_get_ready_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    worker = LoadProcess(
        order(tmp_path, nobody, {"watch": workload("watch", watchers=2)}), tmp_path, CLIENTS["etcd3"]().environment
    )
    worker.start()
    try:
        with pytest.raises(LoadError, match=r"not ready after 3 s.*worker-0\.log"):
            worker.wait_ready(3)
    finally:
        worker.kill()
    assert not alive(worker.pid)


def test_a_worker_that_cannot_even_start_says_why(tmp_path: Path) -> None:
    broken = order(tmp_path, "127.0.0.1:1", {"put": workload("put", rate="1/s")}, client="nonsense")
    worker = LoadProcess(broken, tmp_path, CLIENTS["etcd3"]().environment)
    worker.start()
    try:
        with pytest.raises(LoadError, match="nonsense"):
            worker.wait_ready(20)
    finally:
        worker.kill()


# ── members, watches, leases ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("failover", [True, False])
def test_after_a_call_that_failed_a_client_goes_to_the_next_member_unless_it_is_pinned(
    failover: bool, etcd: Etcd, tmp_path: Path
) -> None:
    members = {"n1": f"127.0.0.1:{free_port()}", "n2": etcd.endpoint}
    put = workload("put", rate="100/s", clients=10)
    facts = order(tmp_path, etcd.endpoint, {"put": put}, endpoints=members, failover=failover)
    with running(tmp_path, facts) as worker:
        time.sleep(2)
        worker.stop_arrivals()
        worker.finish(10)
    history = load(tmp_path / "history")
    lost = [op for op in history.operations if op.outcome is not Outcome.OK]
    assert {op.member for op in lost} == {"n1"}
    if failover:
        assert sorted(op.client for op in lost) == [0, 2, 4, 6, 8]
    else:
        assert len(lost) > 50


@pytest.mark.parametrize("mode", ["resume", "naive"])
def test_a_watch_is_reopened_when_its_member_comes_back(mode: str, tmp_path: Path) -> None:
    etcd = Etcd(tmp_path)
    workloads = {"put": workload("put", rate="100/s"), "watch": workload("watch", watchers=4, reconnect=mode)}
    try:
        with running(tmp_path, order(tmp_path, etcd.endpoint, workloads, timeout_s=1.0)) as worker:
            time.sleep(1.5)
            etcd.kill()
            etcd.start()
            time.sleep(3)
            worker.stop_arrivals()
            time.sleep(1.5)
            worker.finish(10)
    finally:
        etcd.kill()
    history = load(tmp_path / "history")
    last_seen = {
        watch: max(event.revision for event in history.watch_events if (event.watch, event.attempt) == (watch, 0))
        for watch in range(4)
    }
    for opened in (opened for opened in history.watch_opened if opened.attempt == 1):
        assert opened.start_revision == (last_seen[opened.watch] + 1 if mode == "resume" else 0)
    assert max(opened.attempt for opened in history.watch_opened) >= 1
    seen = Counter((event.revision, event.key) for event in history.watch_events)
    assert set(seen.values()) == {1}
    written = {(op.revision, op.key) for op in of_kind(history, "put") if op.outcome is Outcome.OK}
    if mode == "resume":
        assert written <= set(seen)


def test_a_lease_that_the_server_says_is_gone_is_ended_and_replaced(etcd: Etcd, tmp_path: Path) -> None:
    leases = {"lease": workload("lease", leases=3, ttl="2s")}
    with running(tmp_path, order(tmp_path, etcd.endpoint, leases, prefix="ck/gone/")) as worker:
        time.sleep(1)
        victim = next(op.lease for op in read_so_far(tmp_path) if op.kind == "lease_grant")
        etcd.ask("lease/revoke", {"ID": str(victim)})
        time.sleep(1.5)
        assert etcd.count("ck/gone/lease/") == 3
        worker.finish(10)
    history = load(tmp_path / "history")
    assert [(end.lease, end.reason) for end in history.lease_ended if end.reason == "expired"] == [(victim, "expired")]
    assert len(of_kind(history, "lease_grant")) == 4
    assert len({op.key for op in of_kind(history, "lease_put")}) == 3


def read_so_far(run_dir: Path) -> list[Operation]:
    return load(run_dir / "history").operations


def test_a_storm_of_leases_is_granted_when_its_burst_begins_and_expires_by_itself(etcd: Etcd, tmp_path: Path) -> None:
    facts = order(
        tmp_path, etcd.endpoint, {"put": workload("put", rate="50/s")}, prefix="ck/storm/",
        bursts={"storm": workload("lease_storm", leases=150, ttl="4s", ttl_jitter="50%", clients=10)},
    )  # fmt: skip
    with running(tmp_path, facts) as worker:
        time.sleep(0.5)
        assert etcd.count("ck/storm/storm/") == 0
        worker.begin_burst("storm")
        wait_for(lambda: etcd.count("ck/storm/storm/") == 150, 5, "all keys of the storm")
        wait_for(lambda: etcd.count("ck/storm/storm/") == 0, 12, "all leases to expire")
        worker.end_burst("storm")
        worker.stop_arrivals()
        worker.finish(10)
    history = load(tmp_path / "history")
    ttls = Counter(op.ttl_s for op in of_kind(history, "storm_grant"))
    assert {3, 4, 5, 6} <= set(ttls) <= {2, 3, 4, 5, 6, 7}  # 4 s ± 50 %, and up to 0.75 s until the last grant
    assert Counter(end.reason for end in history.lease_ended) == {"left to expire": 150}
    assert min(op.due_ns for op in of_kind(history, "storm_grant")) > min(op.due_ns for op in of_kind(history, "put"))


def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(etcd: Etcd, tmp_path: Path) -> None:
    with running(tmp_path, order(tmp_path, etcd.endpoint, {"put": HEALTHY["put"]})) as worker:
        assert os.getpgid(worker.pid) != os.getpgid(0)
        assert os.getsid(worker.pid) != os.getsid(0)


# ── slow consumers ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("client", ["native", "etcd3"])
def test_a_slow_watch_is_slow_for_the_server_gets_everything_in_the_end_and_holds_up_nobody(
    client: str, etcd: Etcd, tmp_path: Path
) -> None:
    workloads = {
        "put": workload("put", rate="300/s", value_size="4KiB", clients=16),
        "watch": workload("watch", watchers=4),
        "slow_watch": workload("slow_watch", watchers=3, stops_for="3s", every="4s"),
    }
    with running(tmp_path, order(tmp_path, etcd.endpoint, workloads, client=client)) as worker:
        felt = []
        for _ in range(16):
            time.sleep(0.5)
            felt.append(etcd.slow_watchers())
        worker.stop_arrivals()
        time.sleep(3)
        worker.finish(10)
    history = load(tmp_path / "history")
    slow = {opened.watch for opened in history.watch_opened if opened.slow}
    written = {op.revision: op.done_ns for op in of_kind(history, "put") if op.outcome is Outcome.OK}
    lags: dict[bool, list[int]] = {True: [], False: []}
    for event in history.watch_events:
        lags[event.watch in slow].append(event.received_ns - written[event.revision])
    assert max(felt) > 0, "etcd never had a slow watcher"
    assert len(lags[False]) == len(written)
    assert len(lags[True]) == 3 * len(written)
    assert max(lags[True]) > 1 * SECOND
    assert sorted(lags[False])[len(lags[False]) // 2] < sorted(lags[True])[len(lags[True]) // 2] / 5
    assert Counter(closed.reason for closed in history.watch_closed) == {"stopped": 7}
