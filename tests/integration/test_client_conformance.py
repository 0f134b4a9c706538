"""Every client of the table, and a plain one of grpcio, keeps the promises of `contracts.Client` with every etcd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.etcd_members import VERSIONS, Members
from tests.integration.grpcio_client import EVERY_CLIENT

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=VERSIONS)
def members(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    running = Members(request.param, tmp_path_factory.mktemp("etcd"))
    yield running
    running.close()


@pytest.fixture(params=EVERY_CLIENT)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def play(client: str, scene: str, members: Members, on_first_line: Callable[[], None] | None = None) -> dict[str, Any]:
    """One scene of `client_scenes`, in a process as a load worker has it."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.client_scenes", client, scene, members.endpoint, str(members.pid())],
        cwd=ROOT,
        env=os.environ | EVERY_CLIENT[client]().environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout
    try:
        if on_first_line:
            worker.stdout.readline()
            on_first_line()
        said, _ = worker.communicate(timeout=60)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0
    seen: dict[str, Any] = json.loads(said.splitlines()[-1])
    return seen


def test_calls_carry_what_the_server_answered(client: str, members: Members) -> None:
    seen = play(client, "calls", members)
    assert seen == {"missing": True, "read": True, "ttl": [60, 60, 0], "held": True, "revoked": 0}


def test_failures_keep_status_and_message_and_tell_failed_from_unknown(client: str, members: Members) -> None:
    seen = play(client, "errors", members)
    assert seen["large"] == ["FAILED", "INVALID_ARGUMENT: etcdserver: request is too large"]
    assert seen["larger"][0] == "FAILED"
    assert seen["larger"][1].startswith("RESOURCE_EXHAUSTED: grpc: received message larger than max")
    assert seen["lease"] == seen["revoke"] == ["FAILED", "NOT_FOUND: etcdserver: requested lease not found"]
    assert seen["empty"] == ["FAILED", "INVALID_ARGUMENT: etcdserver: key is not provided"]
    for call in ("put", "keepalive", "watch"):
        assert seen[f"refused {call}"][0] == "FAILED"
        assert seen[f"refused {call}"][1].startswith("UNAVAILABLE")
        assert seen[f"paused {call}"][0] == "UNKNOWN"
        assert seen[f"paused {call}"][1].startswith("DEADLINE_EXCEEDED")
    assert float(seen["paused for"][1]) < 1.5
    assert seen["closed put"][0] != "OK"


def test_greenlets_that_share_a_client_keep_their_own_deadlines(client: str, members: Members) -> None:
    seen = play(client, "timeouts_of_concurrent_calls_do_not_mix", members)
    assert all(0 <= late < 0.3 for late in seen["late"])


def test_greenlets_that_share_a_client_get_their_own_answers(client: str, members: Members) -> None:
    assert play(client, "greenlets", members)["wrong"] == []


def test_leases_that_share_a_client_are_each_kept_alive_by_their_own_answers(client: str, members: Members) -> None:
    assert play(client, "leases", members)["wrong"] == []


def test_keepalives_of_a_member_that_stood_still_are_unknown_and_go_on_when_it_does(
    client: str, members: Members
) -> None:
    seen = play(client, "keepalives_come_back", members, members.restart)
    assert seen == {"paused": ["UNKNOWN"], "resumed": 60, "gone": ["FAILED"], "back": 60}


def test_values_larger_than_every_window_pass_both_ways_at_once(client: str, members: Members) -> None:
    assert play(client, "large", members)["same"] == [True] * 8


def test_a_delete_tells_whether_there_was_anything_to_delete(client: str, members: Members) -> None:
    seen = play(client, "deletes", members)
    assert (seen["gone"], seen["again"], seen["after"]) == ([1, 1], [1, 0], True)
    assert seen["empty"] == ["FAILED", "INVALID_ARGUMENT: etcdserver: key is not provided"]


def test_pages_of_a_range_show_one_revision_whatever_is_written_meanwhile(client: str, members: Members) -> None:
    seen = play(client, "ranges", members)
    assert seen["at"] == [0, 3, 3]
    assert (seen["counts"], seen["more"], seen["right"]) == ([7, 4, 1], [True, True, False], True)
    assert seen["now"] == [["r/4", "new"], ["r/55", "another"], ["r/6", "6"]]
    assert (seen["counted"], seen["nothing"]) == ([7, False], True)
    assert seen["future"][0] == seen["past"][0] == "FAILED"
    assert seen["future"][1] == "OUT_OF_RANGE: etcdserver: mvcc: required revision is a future revision"
    assert seen["past"][1] == "OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted"


def test_a_compare_and_swap_writes_or_tells_what_stands_against_it(client: str, members: Members) -> None:
    seen = play(client, "swaps", members)
    assert seen.pop("empty") == ["FAILED", "INVALID_ARGUMENT: etcdserver: key is not provided"]
    assert seen.pop("large") == ["FAILED", "INVALID_ARGUMENT: etcdserver: request is too large"]
    assert set(seen.values()) == {True}, seen


def test_numbers_that_are_added_by_compare_and_swap_are_never_lost(client: str, members: Members) -> None:
    assert play(client, "counters", members) == {"sum": 150, "conflicts": True}


def test_watches_of_one_client_deliver_events_progress_and_the_created_revision(client: str, members: Members) -> None:
    seen = play(client, "watches", members)
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


def test_many_watches_of_one_client_each_hear_their_own_events_once_in_order(client: str, members: Members) -> None:
    assert play(client, "many_watches", members)["wrong"] == []


def test_watches_hear_everything_however_they_are_spread_over_streams(client: str, members: Members) -> None:
    assert play(client, "streams", members)["wrong"] == []


def test_a_compacted_watch_is_closed_with_the_revision_from_which_it_can_go_on(client: str, members: Members) -> None:
    assert play(client, "compaction", members) == {"reasons": ["compacted"], "compact": 0}


def test_a_killed_member_resets_each_watch_once_and_costs_no_busy_loop(client: str, members: Members) -> None:
    try:
        seen = play(client, "killed", members)
    finally:
        members.restart()
    assert seen["reasons"] == [["reset"], ["reset"]]
    assert seen["refused"][0] == "FAILED"
    assert seen["cpu"] < 0.5


def test_calls_to_a_dead_member_fail_as_not_sent_and_succeed_when_it_is_back(client: str, members: Members) -> None:
    assert play(client, "comes_back", members, members.restart)["gone"] == ["FAILED"]


def test_a_paused_member_is_found_out_by_missing_progress_within_six_seconds(client: str, tmp_path: Path) -> None:
    members = Members("3.6.14", tmp_path / "etcd")
    try:
        seen = play(client, "paused", members)
    finally:
        members.close()
    found = {"progress deadline", "reset"} if client == "grpcio" else {"progress deadline"}  # its own ping may be first
    assert [len(reasons) for reasons in seen["reasons"]] == [1, 1]
    assert {reason for reasons in seen["reasons"] for reason in reasons} <= found
    assert seen["took"] < 6


def test_a_hundred_reconnects_leave_no_thread_and_no_descriptor_behind(client: str, members: Members) -> None:
    seen = play(client, "churn", members)
    assert all(after <= before + 2 for before, after in zip(seen["before"], seen["after"], strict=True)), seen


@pytest.mark.parametrize("version", VERSIONS)
def test_a_member_without_a_leader_closes_its_watches_and_opens_none(client: str, version: str, tmp_path: Path) -> None:
    members = Members(version, tmp_path / "etcd", count=3)
    try:
        seen = play(client, "leaderless", members, lambda: (members.kill("n2"), members.kill("n3"))[0])
    finally:
        members.close()
    assert seen["reasons"] == ["no leader"]
    assert "etcdserver: no leader" in seen["refused"][1]
