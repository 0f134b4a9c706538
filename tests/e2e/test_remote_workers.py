"""Workers on other machines: they join over an encrypted Locust master, and strangers do not."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from chaoskit.history import History, load
from tests.e2e.chaoskit_process import Finished, broken, chaoskit, conclusive, start
from tests.e2e.machines import HOST, Network, network, pid_of_remote_worker, start_worker
from tests.e2e.test_interruption import wait_for_line
from tests.integration.certificates import Certificates
from tests.integration.etcd_members import Members
from tests.integration.guest_house import PASSWORD, USER, VARIABLE, Owner, mutual_tls, tls_flags

pytestmark = pytest.mark.e2e

PORT = 5657
WHERE = f"{HOST}:{PORT}"
AHEAD_S = 5000
SHARED = """
title: Shared with other machines
cluster: {{version: "3.6.14", members: 3}}
warmup: 1s
load:
  workers: 3
  on-worker-loss: {on_loss}
  put: {{rate: 200/s, clients: 16}}
  read: {{rate: 100/s, clients: 8}}
  watch: {{watchers: 9}}
  lease: {{leases: 9, ttl: 5s}}
method:
  - wait: {baseline}s
  - fault: partition
    isolate: leader
    for: 2s
  - wait: 8s
slo:
  - watch.lost == 0
  - lease.early_expiry == 0
seed: 7
"""


@pytest.fixture
def token() -> str:
    return secrets.token_urlsafe(24)


@pytest.fixture
def machines() -> Iterator[Network]:
    with network() as made:
        yield made


def start_run(
    tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch, on_loss: str = "inconclusive", baseline: int = 4,
    where: str = WHERE,
) -> subprocess.Popen[str]:  # fmt: skip
    (tmp_path / "shared.yaml").write_text(SHARED.format(on_loss=on_loss, baseline=baseline))
    monkeypatch.setenv("CHAOSKIT_TOKEN", token)
    out = ("--backend", "process", "--json", "--out", str(tmp_path / "reports"))
    return start("run", "shared.yaml", "--remote-workers", "2", "--listen", where, *out, cwd=tmp_path)


def ended(process: subprocess.Popen[str], deadline_s: float = 120) -> Finished:
    out, err = process.communicate(timeout=deadline_s)
    return Finished(process.returncode, out, err)


def run_dir(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "reports").glob("shared/2*")
    return folder


def history_of(tmp_path: Path) -> History:
    return load(run_dir(tmp_path) / "history")


def test_workers_on_two_machines_with_other_clocks_make_one_load_and_a_stranger_does_not_matter(
    machines: Network, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(tmp_path, token, monkeypatch)
    elsewhere = [
        start_worker(machines.machine(), "--master", WHERE, cwd=tmp_path, token=token, ahead_s=AHEAD_S * place)
        for place in (1, 2)
    ]
    wait_for_line(run, "-- baseline --")
    stranger(WHERE)
    done = ended(run)
    of_load = [one for one in done.results["findings"] if one["kind"] == "guarantee" or "whole" in one["promise"]]
    assert len(of_load) > 10
    assert not [one["sentence"] for one in of_load if one["verdict"] != "pass"]  # how fast is the machine's matter
    for worker in elsewhere:
        told = ended(worker, 20)
        assert told.code == 0, told.err
    history = history_of(tmp_path)
    assert {op.worker for op in history.operations} == {0, 1, 2}
    assert dues(history) == pytest.approx(expected_dues(history), abs=5e6)  # ns: one schedule in spite of three clocks
    offsets_s = {clock.worker: -clock.offset_ns / 1e9 for clock in history.clocks}
    assert sorted(offsets_s.values()) == pytest.approx([AHEAD_S, 2 * AHEAD_S], abs=0.05)
    assert all(0 < clock.uncertainty_ns < 50e6 for clock in history.clocks)
    assert not secret_told(token, tmp_path, done)


def dues(history: History) -> list[int]:
    puts = sorted(op.due_ns for op in history.operations if op.kind == "put")
    return [due - puts[0] for due in puts[:800]]


def expected_dues(history: History) -> list[int]:
    return [number * 5_000_000 for number in range(800)]


def secret_told(token: str, tmp_path: Path, done: Finished) -> list[str]:
    files = [path for path in run_dir(tmp_path).rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    return [*map(str, files), *(stream for stream in (done.out, done.err) if token in stream)]


def stranger(where: str) -> None:
    """Says what a Locust worker says, without the keys."""
    with zmq.Context() as context:
        for kind in (zmq.DEALER, zmq.REQ, zmq.ROUTER):
            with context.socket(kind) as socket:
                socket.linger = 0
                socket.setsockopt(zmq.IDENTITY, b"stranger")
                socket.connect(f"tcp://{where}")
                if kind != zmq.ROUTER:
                    socket.send(b"\x93\xacclient_ready\xa62.47.0\xa8stranger")
                time.sleep(0.3)
                assert not socket.poll(200)


@pytest.mark.parametrize(
    ("number", "on_loss", "code"),
    [(signal.SIGKILL, "inconclusive", 5), (signal.SIGKILL, "redistribute", 0), (signal.SIGSTOP, "redistribute", 0)],
)
def test_a_remote_worker_is_lost(
    number: signal.Signals, on_loss: str, code: int, machines: Network, tmp_path: Path, token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = start_run(tmp_path, token, monkeypatch, on_loss, baseline=12 if number == signal.SIGSTOP else 5)
    elsewhere = [start_worker(machines.machine(), "--master", WHERE, cwd=tmp_path, token=token) for _ in range(2)]
    wait_for_line(run, "-- baseline --")
    time.sleep(1)
    victim = pid_of_remote_worker(2, token)
    lost_ns = time.monotonic_ns()
    os.kill(victim, number)
    done = ended(run)
    if number == signal.SIGSTOP:
        os.kill(victim, signal.SIGCONT)
    codes = sorted(ended(worker, 20).code for worker in elsewhere)
    conclusive(done)
    assert codes == [0, 4]
    assert done.code == code, broken(done.results)
    history = history_of(tmp_path)
    (mark,) = [mark for mark in history.marks if mark.kind == "worker_lost"]
    assert mark.worker == 2
    last_ns = max(op.done_ns for op in history.operations if op.worker == 2)
    assert last_ns > lost_ns - 1e9, "more than the last second is lost"
    after = {op.worker for op in history.operations if op.kind == "put" and op.due_ns > mark.at_ns + 0.5e9}
    assert after <= {0, 1}
    if on_loss == "redistribute":
        clients = {op.client for op in history.operations if op.kind == "put"}
        again = {op.client for op in history.operations if op.kind == "put" and op.due_ns > mark.at_ns + 0.5e9}
        assert again == clients


def test_workers_on_other_machines_load_a_cluster_of_somebody_else(
    machines: Network, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TLS and users: each worker takes certificates and password from its own machine, or says what it lacks."""
    monkeypatch.setenv("CHAOSKIT_TOKEN", token)
    certificates = Certificates(tmp_path / "certificates", HOST)
    access = mutual_tls(certificates)
    members = Members("3.6.14", tmp_path / "etcd", 1, tls_flags(certificates, mutual=True), access, HOST)
    try:
        Owner(members, access).let_in()
        cert, key = certificates.client
        (tmp_path / "guest.yaml").write_text(f"""
title: Somebody else's
cluster:
  backend: external
  endpoints: ["https://{members.endpoint}"]
  tls: {{cacert: {certificates.ca}, cert: {cert}, key: {key}}}
  auth: {{user: {USER}, password: "${{{VARIABLE}}}"}}
load:
  workers: 2
  timeout: 5s
  put: {{rate: 60/s, clients: 8}}
  watch: {{watchers: 4}}
warmup: 1s
method: [{{wait: 3s}}]
slo: [watch.lost == 0]
""")
        where = ("--remote-workers", "2", "--listen", WHERE)
        out = ("--json", "--out", str(tmp_path / "reports"))
        with monkeypatch.context() as informed:
            informed.setenv(VARIABLE, PASSWORD)
            run = start("run", "guest.yaml", *where, *out, cwd=tmp_path)
            first = start_worker(machines.machine(), "--master", WHERE, cwd=tmp_path, token=token)
        ignorant = start_worker(machines.machine(), "--master", WHERE, cwd=tmp_path, token=token)
        told = ended(ignorant, 30)
        assert told.code == 4
        assert f"no password for user {USER}: the environment variable {VARIABLE} is not set" in told.err
        monkeypatch.setenv(VARIABLE, PASSWORD)
        wait_for_line(run, "was turned away: the members ask for what this machine lacks: no password for user")
        second = start_worker(machines.made[-1], "--master", WHERE, cwd=tmp_path, token=token)
        done = ended(run)
        assert [ended(worker, 20).code for worker in (first, second)] == [0, 0]
    finally:
        members.close()
    conclusive(done)
    assert (done.code, broken(done.results)) == (0, []), done.err
    assert {op.worker for op in load(next((tmp_path / "reports").glob("*/2*/history"))).operations} == {0, 1}
    assert PASSWORD not in done.out + done.err


def test_members_on_loopback_are_no_load_for_other_machines(
    machines: Network, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_TOKEN", token)
    members = Members("3.6.14", tmp_path / "etcd")
    try:
        (tmp_path / "guest.yaml").write_text(
            f"title: x\ncluster: {{backend: external, endpoints: ['http://{members.endpoint}']}}\n"
            "load: {put: {rate: 10/s}}\nmethod: [{wait: 1s}]\n"
        )
        done = chaoskit(
            "run", "guest.yaml", "--remote-workers", "1", "--listen", WHERE, "--out", str(tmp_path), cwd=tmp_path
        )
    finally:
        members.close()
    assert done.code == 4
    assert f"workers on other machines cannot reach n1 at {members.endpoint}: that is loopback" in done.err


def test_a_worker_says_why_it_cannot_join(tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = f"127.0.0.1:{PORT}"
    nobody = start_worker("", "--master", where, "--wait", "1s", cwd=tmp_path, token=token)
    told = ended(nobody, 30)
    assert told.code == 4
    assert f"nothing listens at {where}" in told.err
    run = start_run(tmp_path, token, monkeypatch, where=where)
    wait_for_line(run, "waiting for 2 load workers")
    wrong = start_worker("", "--master", where, cwd=tmp_path, token="another-token-altogether")
    told = ended(wrong, 60)
    assert told.code == 4
    assert "does not know this token" in told.err
    older = "import chaoskit; chaoskit.__version__ = '0.0.9'; from chaoskit.cli import main; main()"
    other = start_worker("", "--master", where, cwd=tmp_path, token=token, code=older)
    told = ended(other, 60)
    assert told.code == 4
    assert "the worker is chaoskit 0.0.9, the run is" in told.err
    wait_for_line(run, "was turned away: the worker is chaoskit 0.0.9")
    run.send_signal(signal.SIGINT)
    assert ended(run, 30).code == 130


@pytest.mark.parametrize("side", ["worker", "master killed", "controller killed"])
def test_whoever_is_stopped_the_other_side_is_told_and_nothing_is_left(
    side: str, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"127.0.0.1:{PORT}"
    run = start_run(tmp_path, token, monkeypatch, where=where, baseline=30)
    elsewhere = [start_worker("", "--master", where, cwd=tmp_path, token=token) for _ in range(2)]
    wait_for_line(run, "-- baseline --")
    if side == "worker":
        elsewhere[0].send_signal(signal.SIGINT)
        assert ended(elsewhere[0], 20).code == 130
        done = ended(run)
        assert done.code == 5
        assert "it was stopped on its own machine" in " ".join(broken(done.results))
        assert ended(elsewhere[1], 20).code == 0
        return
    began = time.monotonic()
    if side == "controller killed":
        run.kill()
    else:
        os.kill(pid_of_master(tmp_path), signal.SIGKILL)
    for worker in elsewhere:
        told = ended(worker, 20)
        assert told.code == 4
        assert "its load was ended at once" in told.err
    assert time.monotonic() - began < 10
    if side == "master killed":
        assert ended(run).code == 5
    else:
        ended(run)
        assert chaoskit("clean", cwd=tmp_path).code == 0


def pid_of_master(tmp_path: Path) -> int:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                environment = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "CHAOSKIT_LOAD_MASTER=" + str(tmp_path) in environment:
                return int(folder.name)
    raise AssertionError("there is no master")


def test_the_token_file_must_be_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef0123456789\n")
    file.chmod(0o644)
    refused = start("worker", "--master", "127.0.0.1:1", "--token-file", str(file), cwd=tmp_path)
    told = ended(refused, 30)
    assert told.code == 2
    assert "others can read it" in told.err
    assert not json.dumps(told.err).count("0123456789abcdef")
