"""What only the native client has: a life without monkey patching, TLS, passwords, and damaged answers."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.clusters import binaries
from chaoskit.contracts import CallFailed, Client, Reply, WatchMessage
from chaoskit.history import Outcome
from chaoskit.systems.etcd.clients.native import ConnectionSettings, NativeFactory, Tls, pulse
from tests.integration.certificates import Certificates
from tests.integration.etcd_members import Members, wait_until
from tests.integration.mutating_proxy import DAMAGES, MutatingProxy

pytestmark = pytest.mark.integration

VERSION = "3.6.14"
TIMEOUT_S = 0.3


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    running = Members(VERSION, tmp_path_factory.mktemp("etcd"))
    yield running
    running.close()


def put(client: Client, key: bytes = b"a", timeout_s: float = 3) -> Reply:
    return client.put(key, b"1", lease=0, timeout_s=timeout_s)


def test_it_needs_gevent_but_not_a_patched_process(members: Members) -> None:
    code = f"""
from gevent.monkey import is_anything_patched
from chaoskit.systems.etcd.clients import CLIENTS
client = CLIENTS["native"]().connect("n1", {members.endpoint!r})
assert client.put(b"a", b"1", lease=0, timeout_s=5).revision
assert not is_anything_patched()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


# ── damaged answers ──────────────────────────────────────────────────────────────────────────────────────────────────


class Pulse:
    """How long the event loop stood still at most."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._job = gevent.spawn(self._beat)

    def _beat(self) -> None:
        while True:
            before = time.monotonic()
            gevent.sleep(0.01)
            self.longest_s = max(self.longest_s, time.monotonic() - before)

    def stop(self) -> float:
        self._job.kill()
        return self.longest_s


def work(client: Client, number: int) -> list[Outcome]:
    """Some calls, each of which must come back in time, whatever comes back."""
    outcomes = []
    key = b"f/%d" % number
    calls: list[Callable[[], Reply]] = [
        lambda: client.put(key, bytes(2000), lease=0, timeout_s=TIMEOUT_S),
        lambda: client.get(b"f/0", serializable=True, timeout_s=TIMEOUT_S),
        lambda: client.range(b"f/", b"f0", limit=5, revision=0, serializable=True, timeout_s=TIMEOUT_S),
        lambda: client.compare_and_swap(key, b"2", mod_revision=7, timeout_s=TIMEOUT_S),
        lambda: client.delete(key, timeout_s=TIMEOUT_S),
    ]
    for call in calls:
        began = time.monotonic()
        try:
            call()
            outcomes.append(Outcome.OK)
        except CallFailed as failed:
            outcomes.append(failed.outcome)
        assert time.monotonic() - began < TIMEOUT_S + 1
    return outcomes


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One damage in ten is a wrong length: after it the client waits for the rest of a frame that does not exist."""
    monkeypatch.setattr(pulse, "_FRAME_S", 1.0)


@given(st.sampled_from(DAMAGES), st.integers(1, 4), st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_answers_neither_hang_nor_crash_it_and_it_recovers(
    members: Members, impatient: None, damage: str, every: int, seed: int
) -> None:
    proxy, heard = MutatingProxy(members.endpoint), list[WatchMessage]()
    with proxy as address, gevent.Timeout(30):
        client = NativeFactory().connect("n1", address)
        put(client)
        client.watch(b"f/", b"f0", 0, heard.append, timeout_s=3)
        proxy.damage, proxy.every, proxy.rng = damage, every, Random(seed)
        pulse = Pulse()
        jobs = [gevent.spawn(work, client, number) for number in range(8)]
        gevent.joinall(jobs, raise_error=True)
        proxy.damage = ""
        ends_at = time.monotonic() + 10
        while True:
            try:
                put(client, timeout_s=1)
                break
            except CallFailed as failed:
                assert time.monotonic() < ends_at, failed
                gevent.sleep(0.01)
        assert pulse.stop() < 1
        assert [message.kind for message in heard].count("closed") <= 1
        client.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 600 << 10


def test_a_server_that_speaks_another_language_is_found_out(members: Members) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        served = gevent.socket.socket(fileno=listener.detach())
        connection, _ = served.accept()
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    client = NativeFactory().connect("n1", f"127.0.0.1:{listener.getsockname()[1]}")
    gevent.spawn(greet)
    with pytest.raises(CallFailed, match="HTTP/1") as failed:
        put(client)
    assert failed.value.outcome is Outcome.FAILED


def test_a_server_that_accepts_and_says_nothing_is_given_up_before_anything_is_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = NativeFactory().connect("n1", f"127.0.0.1:{listener.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(CallFailed, match="UNAVAILABLE") as failed:
            put(client, timeout_s=0.5)
        assert failed.value.outcome is Outcome.FAILED
        assert time.monotonic() - began < 1


def test_a_caller_in_a_hurry_does_not_keep_the_loop_from_turning_while_a_member_is_down() -> None:
    client, pulse, ends_at = NativeFactory().connect("n1", "127.0.0.1:1"), Pulse(), time.monotonic() + 0.5
    calls = 0
    while time.monotonic() < ends_at:
        with pytest.raises(CallFailed):
            put(client)
        calls += 1
    assert pulse.stop() < 0.3
    assert calls < 500


def test_a_member_that_stops_in_order_says_goaway_and_is_called_anew(tmp_path: Path) -> None:
    members = Members(VERSION, tmp_path / "etcd")
    try:
        client, outcomes = NativeFactory().connect("n1", members.endpoint), list[Outcome]()
        put(client)
        members.stop()
        for _ in range(20):
            with pytest.raises(CallFailed) as failed:
                put(client)
            outcomes.append(failed.value.outcome)
        assert set(outcomes[1:]) == {Outcome.FAILED}, "a call after the GOAWAY was not sent"
        members.start()
        wait_until(lambda: answers(client), 15, "the member")
        client.close()
    finally:
        members.close()


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A member that wants to see certificates; its `host:port`."""
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    (client, peer), folder = [each.getsockname()[1] for each in ports], tmp_path_factory.mktemp("secure")
    for each in ports:
        each.close()
    url, peer_url = f"https://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    flags = {
        "data-dir": folder / "data", "listen-client-urls": url, "advertise-client-urls": url,
        "listen-peer-urls": peer_url, "initial-advertise-peer-urls": peer_url, "initial-cluster": f"default={peer_url}",
        "cert-file": certificates.server[0], "key-file": certificates.server[1], "client-cert-auth": "true",
        "trusted-ca-file": certificates.ca, "watch-progress-notify-interval": "500ms",
    }  # fmt: skip
    argv = [str(binaries.find("etcd", VERSION).path), *(f"--{flag}={value}" for flag, value in flags.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    yield f"127.0.0.1:{client}"
    process.kill()
    process.wait()


def answers(client: Client) -> bool:
    try:
        return put(client).revision > 0
    except CallFailed as failed:
        assert failed.outcome is Outcome.FAILED, failed
        return False


def test_mutual_tls_carries_calls_large_values_and_watches(secure: str, certificates: Certificates) -> None:
    tls = Tls(certificates.ca, *certificates.client)
    client, heard = NativeFactory(ConnectionSettings(tls=tls)).connect("n1", secure), list[WatchMessage]()
    wait_until(lambda: answers(client), 15, "the member")
    client.watch(b"big", b"", 0, heard.append, timeout_s=3)
    value = bytes(1_400_000)
    client.put(b"big", value, lease=0, timeout_s=10)
    assert client.get(b"big", serializable=False, timeout_s=10).value == value
    with gevent.Timeout(5):
        while not heard:
            gevent.sleep(0.01)
    assert heard[0].events[0][3] == value
    client.close()


def test_without_a_certificate_or_with_a_foreign_authority_nothing_is_sent(
    secure: str, certificates: Certificates
) -> None:
    known = NativeFactory(ConnectionSettings(tls=Tls(certificates.ca, *certificates.client))).connect("n1", secure)
    wait_until(lambda: answers(known), 15, "the member")
    strangers = {
        "no certificate": ConnectionSettings(tls=Tls(certificates.ca)),
        "a foreign authority": ConnectionSettings(tls=Tls(certificates.stranger, *certificates.client)),
        "another name": ConnectionSettings(tls=Tls(certificates.ca, *certificates.client, server_name="example.org")),
        "plaintext": ConnectionSettings(),
    }
    for who, each in strangers.items():
        client = NativeFactory(each).connect("n1", secure)
        with pytest.raises(CallFailed) as failed:
            put(client)
        assert failed.value.outcome is Outcome.FAILED, who
        client.close()
    known.close()


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """A member with users root and reader, whose tokens live for a second."""
    running = Members(VERSION, tmp_path_factory.mktemp("guarded"), flags={"auth-token-ttl": "1"})
    control = str(binaries.find("etcd", VERSION).path.parent / "etcdctl")
    for line in (
        "user add root:secret", "user grant-role root root", "role add reads", "user add reader:secret",
        "role grant-permission reads read a", "user grant-role reader reads", "auth enable",
    ):  # fmt: skip
        argv = [control, f"--endpoints={running.endpoint}", *line.split()]
        subprocess.run(argv, check=True, capture_output=True, timeout=20)
    yield running
    running.close()


def as_user(members: Members, user: str, password: str = "secret") -> Client:
    return NativeFactory(ConnectionSettings(user=user, password=password)).connect("n1", members.endpoint)


def test_a_user_with_a_password_is_let_in_and_greenlets_share_the_token(guarded: Members) -> None:
    client, heard = as_user(guarded, "root"), list[WatchMessage]()
    gevent.joinall([gevent.spawn(put, client) for _ in range(20)], raise_error=True)
    client.watch(b"a", b"", 0, heard.append, timeout_s=3)
    put(client)
    with gevent.Timeout(5):
        while not heard:
            gevent.sleep(0.01)


def test_every_call_carries_the_token(guarded: Members) -> None:
    client = as_user(guarded, "root")
    put(client)
    assert client.range(b"a", b"b", limit=1, revision=0, serializable=False, timeout_s=3).count == 1
    assert not client.compare_and_swap(b"a", b"", mod_revision=1, timeout_s=3).succeeded
    assert client.delete(b"a", timeout_s=3).count == 1
    lease = client.lease_grant(60, timeout_s=3).lease
    assert client.lease_keepalive(lease, timeout_s=3).ttl_s == 60
    client.lease_revoke(lease, timeout_s=3)
    reader, refused = as_user(guarded, "reader"), list[str]()
    for call in (
        lambda: reader.range(b"b", b"c", limit=1, revision=0, serializable=False, timeout_s=3),
        lambda: reader.compare_and_swap(b"a", b"", mod_revision=0, timeout_s=3),
        lambda: reader.delete(b"a", timeout_s=3),
    ):
        with pytest.raises(CallFailed, match="permission denied") as failed:
            call()
        refused.append(failed.value.outcome.name)
    assert refused == ["FAILED"] * 3


def test_who_may_not_is_refused_for_certain(guarded: Members) -> None:
    reader = as_user(guarded, "reader")
    assert reader.get(b"a", serializable=False, timeout_s=3)
    for client, match in ((reader, "permission denied"), (as_user(guarded, "root", "wrong"), "authentication failed")):
        with pytest.raises(CallFailed, match=match) as failed:
            put(client)
        assert failed.value.outcome is Outcome.FAILED


def test_an_expired_token_fails_one_call_for_certain_and_the_next_has_a_new_one(guarded: Members) -> None:
    client = as_user(guarded, "root")
    put(client)
    gevent.sleep(3)
    with pytest.raises(CallFailed, match="invalid auth token") as failed:
        put(client)
    assert failed.value.outcome is Outcome.FAILED
    assert put(client).revision


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(ConnectionSettings(user="root", password="secret"))
