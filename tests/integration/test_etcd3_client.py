"""The etcd3 package behind the Client contract, in gevent-patched workers against real members."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.systems.etcd.clients import CLIENTS
from tests.integration.etcd_members import VERSIONS, Members

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=VERSIONS)
def members(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    running = Members(request.param, tmp_path_factory.mktemp("etcd"))
    yield running
    running.close()


def play(scene: str, members: Members, on_first_line: Callable[[], None] | None = None) -> dict[str, Any]:
    """One scene of `etcd3_worker`, in a process as a load worker has it."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.etcd3_worker", scene, members.endpoint, str(members.pid())],
        cwd=ROOT,
        env=os.environ | CLIENTS["etcd3"]().environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout
    try:
        if on_first_line:
            worker.stdout.readline()
            on_first_line()
        said, _ = worker.communicate(timeout=40)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0
    seen: dict[str, Any] = json.loads(said)
    return seen


def test_calls_carry_what_the_server_answered(members: Members) -> None:
    seen = play("calls", members)
    assert seen == {"missing": True, "read": True, "ttl": [60, 60, 0], "held": True, "revoked": 0}


def test_failures_keep_status_and_message_and_tell_failed_from_unknown(members: Members) -> None:
    seen = play("errors", members)
    refused = "UNAVAILABLE: failed to connect to all addresses"
    assert seen["large"] == ["FAILED", "INVALID_ARGUMENT: etcdserver: request is too large"]
    assert seen["larger"][0] == "FAILED"
    assert seen["larger"][1].startswith("RESOURCE_EXHAUSTED: grpc: received message larger than max")
    assert seen["lease"] == seen["revoke"] == ["FAILED", "NOT_FOUND: etcdserver: requested lease not found"]
    assert seen["empty"] == ["FAILED", "INVALID_ARGUMENT: etcdserver: key is not provided"]
    for call in ("put", "keepalive", "watch"):
        assert seen[f"refused {call}"][0] == "FAILED"
        assert seen[f"refused {call}"][1].startswith(refused)
        assert seen[f"paused {call}"][0] == "UNKNOWN"
        assert seen[f"paused {call}"][1].startswith("DEADLINE_EXCEEDED")
    assert float(seen["paused for"][1]) < 1.5
    assert seen["closed put"][0] == "UNKNOWN"


def test_greenlets_that_share_a_client_keep_their_own_deadlines(members: Members) -> None:
    assert all(0 <= late < 0.3 for late in play("timeouts_of_concurrent_calls_do_not_mix", members)["late"])


def test_watches_of_one_client_deliver_events_progress_and_the_created_revision(members: Members) -> None:
    seen = play("watches", members)
    assert seen["created"] == [0, 0]
    assert seen["first"] == ["2"]
    assert seen["second"] == [
        [0, "put", "w/a", "1"],
        [1, "put", "w/a", "2"],
        [2, "put", "w/b", "3"],
        [3, "put", "w/a", "4"],
        [4, "delete", "w/b", ""],
    ]
    assert seen["closed"] == []


def test_a_compacted_watch_is_closed_with_the_revision_from_which_it_can_go_on(members: Members) -> None:
    assert play("compaction", members) == {"reasons": ["compacted"], "compact": 0}


def test_a_killed_member_resets_each_watch_once_and_costs_no_busy_loop(members: Members) -> None:
    try:
        seen = play("killed", members)
    finally:
        members.restart()
    assert seen["reasons"] == [["reset"], ["reset"]]
    assert seen["refused"][0] == "FAILED"
    assert seen["cpu"] < 0.5


def test_a_paused_member_is_found_out_by_missing_progress_within_six_seconds(tmp_path: Path) -> None:
    members = Members("3.6.14", tmp_path / "etcd")
    try:
        seen = play("paused", members)
    finally:
        members.close()
    assert seen["reasons"] == [["progress deadline"], ["progress deadline"]]
    assert seen["took"] < 6


def test_a_watch_that_was_created_too_late_is_never_taken_for_the_next_one(members: Members) -> None:
    """etcd3 gives a created response to whoever waits, so a stream on which one came late cannot be used further."""
    seen = play("late_creation", members)
    assert seen == {"late": "UNKNOWN", "first": ["reset"], "heard": ["right"]}


def test_a_hundred_reconnects_leave_no_thread_and_no_descriptor_behind(members: Members) -> None:
    seen = play("churn", members)
    assert all(after <= before + 2 for before, after in zip(seen["before"], seen["after"], strict=True)), seen


@pytest.mark.parametrize("version", VERSIONS)
def test_a_member_without_a_leader_closes_its_watches_and_opens_none(version: str, tmp_path: Path) -> None:
    members = Members(version, tmp_path / "etcd", count=3)
    try:
        seen = play("leaderless", members, lambda: (members.kill("n2"), members.kill("n3"))[0])
    finally:
        members.close()
    assert seen["reasons"] == ["no leader"]
    assert "etcdserver: no leader" in seen["refused"][1]


def test_a_process_that_gevent_did_not_patch_is_refused() -> None:
    code = "from chaoskit.systems.etcd.clients import CLIENTS; CLIENTS['etcd3']().connect('n1', '127.0.0.1:1')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "gevent-patched" in done.stderr
