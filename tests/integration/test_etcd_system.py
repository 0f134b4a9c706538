"""The controller's view of real etcd members: status, writes, audit watchers through whatever happens to them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chaoskit.clusters import binaries
from chaoskit.history import LogEvent, LogGap
from chaoskit.systems.etcd.system import Etcd
from tests.integration.etcd_members import VERSIONS, Members, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=VERSIONS)
def members(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    running = Members(request.param, tmp_path_factory.mktemp("etcd"))
    yield running
    running.close()


class Log(list[LogEvent | LogGap]):
    """What an audit watcher recorded."""

    def values(self) -> list[str]:
        return [each.value for each in self if isinstance(each, LogEvent)]

    def gaps(self) -> list[LogGap]:
        return [each for each in self if isinstance(each, LogGap)]

    def revisions(self) -> list[int]:
        return [each.revision for each in self if isinstance(each, LogEvent)]


def test_status_is_the_members_own_view(members: Members) -> None:
    revision = members.put("status/a", "1|")
    status = members.status()
    assert status.leader == "n1"
    assert status.revision >= revision
    assert status.version == members.system.version
    assert status.term and status.raft_index and status.db_size


def test_a_member_that_is_down_answers_none_at_once(members: Members) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"127.0.0.1:{listener.getsockname()[1]}"
    began = time.monotonic()
    assert members.system.status(nobody, 5) is None
    assert members.system.put(nobody, "k", "v", 5) is None
    assert time.monotonic() - began < 1


def test_a_member_that_is_paused_answers_none_within_the_deadline(members: Members) -> None:
    members.status()
    os.kill(members.pid(), signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert members.system.status(members.endpoint, 0.3) is None
        assert members.system.put(members.endpoint, "k", "v", 0.3) is None
        assert time.monotonic() - began < 1
    finally:
        os.kill(members.pid(), signal.SIGCONT)
    wait_until(lambda: members.system.status(members.endpoint, 0.5), 5, "the member after the pause")


def test_a_member_is_reached_again_soon_after_its_restart(members: Members) -> None:
    members.kill()
    for _ in range(20):
        assert members.system.status(members.endpoint, 0.1) is None
    members.start()
    probe = Etcd(members.system.version)
    wait_until(lambda: probe.status(members.endpoint, 0.1), 20, "a fresh channel")
    ready = time.monotonic()
    wait_until(lambda: members.system.status(members.endpoint, 0.5), 5, "the old channel")
    assert time.monotonic() - ready < 0.9  # a backoff of at most 0.5 s, with jitter
    probe.close()


def test_a_link_with_300_ms_of_latency_can_still_be_connected(members: Members) -> None:
    """With a connect deadline of 100 ms, which a short reconnect backoff brings along, it never could."""
    host, port = members.endpoint.split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def relay() -> None:
            client, _ = listener.accept()
            server = socket.create_connection((host, int(port)))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pass_on_late, args=(source, sink, 0.3), daemon=True).start()

        threading.Thread(target=relay, daemon=True).start()
        slow = Etcd(members.system.version)
        assert slow.status(f"127.0.0.1:{listener.getsockname()[1]}", 4)
        slow.close()


def _pass_on_late(source: socket.socket, sink: socket.socket, delay_s: float) -> None:
    with source, sink, suppress(OSError):
        while chunk := source.recv(65536):
            time.sleep(delay_s)
            sink.sendall(chunk)


def test_the_audit_watcher_records_every_event_below_the_prefix_from_the_first_revision_on(members: Members) -> None:
    before = members.put("ck1/put/a", "w0-1|padding")
    members.put("other/a", "not ours")
    log = Log()
    audit = members.system.audit("n1", members.endpoint, "ck1/", log.append)
    wait_until(lambda: log.values() == ["w0-1"], 5, "the event before the audit began")
    began_ns = time.monotonic_ns()
    after = members.put("ck1/put/b", "w0-2|")
    wait_until(lambda: len(log) == 2, 2, "the event after")
    assert log[0] == LogEvent("n1", before, "put", "ck1/put/a", "w0-1", 0, log[0].seen_ns)
    assert began_ns < log[1].seen_ns < time.monotonic_ns()
    last = members.put("other/b", "3")
    wait_until(lambda: audit.revision >= last > after, 3, "progress past a foreign write")
    audit.close()


def test_after_close_nothing_is_recorded_and_no_thread_is_left(members: Members) -> None:
    threads = threading.active_count()
    log = Log()
    audit = members.system.audit("n1", members.endpoint, "ck2/", log.append)
    members.put("ck2/a", "1|")
    wait_until(lambda: log.values() == ["1"], 3, "the event")
    audit.close()
    members.put("ck2/a", "2|")
    assert threading.active_count() == threads
    assert log.values() == ["1"]


def test_the_audit_watcher_misses_nothing_through_kills_and_pauses(members: Members) -> None:
    log = Log()
    audit = members.system.audit("n1", members.endpoint, "ck3/", log.append)
    written = [members.put("ck3/a", "1|")]
    members.restart()
    written.append(members.put("ck3/a", "2|"))
    wait_until(lambda: log.values() == ["1", "2"], 5, "the event after the restart")
    os.kill(members.pid(), signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(members.pid(), signal.SIGCONT)
    written.append(members.put("ck3/b", "3|"))
    wait_until(lambda: log.values() == ["1", "2", "3"], 5, "the event after the pause")
    assert log.revisions() == written
    audit.close()


def test_compacted_revisions_are_recorded_as_a_gap(members: Members) -> None:
    revisions = [members.put("ck4/a", f"{number}|") for number in range(5)]
    members.compact(revisions[3])
    log = Log()
    audit = members.system.audit("n1", members.endpoint, "ck4/", log.append)
    wait_until(lambda: log.values() == ["3", "4"], 5, "the events that are left")
    assert log.gaps() == [LogGap("n1", 1, revisions[3] - 1, "compacted")]
    audit.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_flag_of_the_line_is_let_through_or_refused_for_a_reason_and_none_is_called_unknown(version: str) -> None:
    binary = binaries.find("etcd", version).path
    done = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=20, check=False)
    flags = dict.fromkeys(re.findall(r"^ +--([a-z0-9-]+)", done.stdout + done.stderr, re.MULTILINE), "1")
    assert len(flags) > 100
    refused = Etcd(version).refused_flags(flags)
    assert [name for name, why in refused.items() if "no such flag" in why or "calls it" in why] == []
    assert {"snapshot-count", "heartbeat-interval", "unsafe-no-fsync"} <= flags.keys() - refused.keys()


def test_a_dead_stream_is_found_by_missing_progress(tmp_path: Path) -> None:
    """A member that is paused for good, seen through a second one: the watcher must come back by itself."""
    members = Members("3.6.14", tmp_path / "etcd")
    log = Log()
    audit = members.system.audit("n1", members.endpoint, "ck/", log.append)
    try:
        members.put("ck/a", "1|")
        wait_until(lambda: log.values() == ["1"], 3, "the first event")
        os.kill(members.pid(), signal.SIGSTOP)
        stream = audit._stream
        wait_until(lambda: audit._stream is not stream, 6, "the stream to be given up")
        os.kill(members.pid(), signal.SIGCONT)
        members.put("ck/a", "2|")
        wait_until(lambda: log.values() == ["1", "2"], 6, "the event after the pause")
    finally:
        members.close()


def test_a_leader_is_named_by_every_member_and_by_none_without_a_quorum(tmp_path: Path) -> None:
    members = Members("3.6.14", tmp_path / "etcd", count=3)
    try:
        system = members.system
        leaders = {status.leader for each in members.endpoints if (status := system.status(each, 2))}
        assert len(leaders) == 1
        assert leaders < {"n1", "n2", "n3"}
        members.kill("n2")
        members.kill("n3")
        wait_until(lambda: (status := system.status(members.endpoint, 1)) and status.leader == "", 10, "no leader")
        assert system.put(members.endpoint, "k", "v", 0.3) is None
    finally:
        members.close()
