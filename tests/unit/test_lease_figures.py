"""Leases: early, late, the client's own doing, as asked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.contracts import Promises
from chaoskit.figures import compute
from chaoskit.history import History, LogEvent, Operation, Outcome
from chaoskit.results import LeaseFigures
from tests.unit.histories import MEMBERS, PREFIX, TTL_S, Scenario, at, healthy, keepalive

pytestmark = pytest.mark.unit

SCENARIO = Scenario(leases=3, put_rate=20, watches=0)
LAST_KEEPALIVE_S = 1.5 + 9 * TTL_S / 3  # the last of the builder's keepalives before the load ends at 18 s


def _lease(history: History) -> LeaseFigures:
    return compute(history, Promises()).lease


def _key_goes(history: History, lease: int, gone_s: float) -> None:
    """A delete of the lease's key; later revisions move up by one."""
    moved = [event for event in history.log if event.seen_ns > at(gone_s)]
    revision = min(event.revision for event in moved)
    gone = [
        LogEvent(member, revision, "delete", f"{PREFIX}lease/{lease}", "", 0, at(gone_s) + number * 1_000_000)
        for number, member in enumerate(MEMBERS)
    ]
    shifted = [replace(e, revision=e.revision + 1) if e.revision >= revision else e for e in history.log]
    history.log = shifted + gone
    history.operations = [
        replace(op, revision=op.revision + 1) if op.revision >= revision else op for op in history.operations
    ]
    history.marks = [replace(m, revision=m.revision + 1) if m.revision >= revision else m for m in history.marks]


def _keep_alive_until(history: History, lease: int, last_s: float) -> None:
    history.operations = [
        op
        for op in history.operations
        if not (op.kind == "lease_keepalive" and op.lease == lease and op.due_ns > at(last_s))
    ]


def _ended(history: History, lease: int, reason: str, at_s: float) -> None:
    history.lease_ended = [
        replace(ended, reason=reason, at_ns=at(at_s)) if ended.lease == lease else ended
        for ended in history.lease_ended
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 12))
def test_leases_that_are_kept_alive_are_acquitted(seed: int, leases: int, recovery_s: int) -> None:
    found = _lease(healthy(Scenario(seed=seed, leases=leases, recovery_s=recovery_s, put_rate=10, watches=0)))
    assert (found.granted, found.early_expiry, found.late_expiry, found.client_expiry) == (leases, 0, 0, 0)
    assert found.keepalives > 0


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, TTL_S - 0.02))
def test_a_key_that_goes_before_its_time_is_an_early_expiry(after_s: float) -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 2, 10)
    last_s = max(op.due_ns for op in history.operations if op.lease == 2 and op.kind == "lease_keepalive")
    _key_goes(history, 2, (last_s - at(0)) / 1e9 + after_s)
    found = _lease(history)
    assert found.early_expiry == 1
    assert f"{TTL_S - after_s:.2f} s before its time" in found.early[0]


def test_the_send_time_counts_and_not_the_answer() -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 2, 10)
    slow = max(
        (op for op in history.operations if op.lease == 2 and op.kind == "lease_keepalive"), key=lambda op: op.due_ns
    )
    history.operations[history.operations.index(slow)] = replace(slow, done_ns=slow.done_ns + 1_500_000_000)
    _key_goes(history, 2, (slow.sent_ns - at(0)) / 1e9 + TTL_S + 0.01)
    _ended(history, 2, "expired", 17)
    found = _lease(history)
    assert (found.early_expiry, found.client_expiry) == (0, 1)


def test_an_early_expiry_is_explained_by_what_happened_around_it() -> None:
    history = healthy(SCENARIO)
    history.faults = [replace(history.faults[0], targets=("n1",))]
    history.members = [
        replace(sample, leader="n2", term=3) if sample.at_ns >= at(8) else sample for sample in history.members
    ]
    _key_goes(history, 1, 11.1)
    _keep_alive_until(history, 1, 11.0)
    (sentence,) = _lease(history).early
    assert "pause (n1) had been undone 1.20 s before" in sentence
    assert "leadership went from n1 to n2 in term 3, 3.10 s before" in sentence
    assert "had been acknowledged by n2" in sentence
    assert f"lease 1 (TTL {TTL_S} s, client 101)" in sentence


def test_a_keepalive_that_was_not_acknowledged_promises_nothing() -> None:
    history = healthy(SCENARIO)
    _ended(history, 2, "expired", 16)
    history.operations = [
        replace(op, outcome=Outcome.UNKNOWN, ttl_s=0)
        if op.lease == 2 and op.kind == "lease_keepalive" and op.due_ns > at(7)
        else op
        for op in history.operations
    ]
    _key_goes(history, 2, 12.5)
    found = _lease(history)
    assert (found.early_expiry, found.client_expiry) == (0, 1)


def test_a_keepalive_told_gone_before_the_time_is_early_though_the_key_is_there() -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 3, 10)
    history.operations.append(keepalive(77_777, 3, 10.5, ttl_s=0, member="n1"))
    found = _lease(history)
    assert found.early_expiry == 1
    assert "n1 said that it was gone" in found.early[0]


def test_a_lease_whose_key_goes_and_whose_keepalive_is_told_so_counts_once() -> None:
    history = healthy(SCENARIO)
    _key_goes(history, 3, 10.2)
    _keep_alive_until(history, 3, 10)
    history.operations.append(keepalive(77_777, 3, 10.5, ttl_s=0))
    assert _lease(history).early_expiry == 1


def test_a_keepalive_answered_alive_after_the_key_had_gone_is_a_contradiction() -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 3, 2)
    _key_goes(history, 3, 7.5)
    history.operations.append(keepalive(77_777, 3, 8))
    _ended(history, 3, "expired", 9)
    found = _lease(history)
    assert (found.early_expiry, found.renewed_after_gone, found.client_expiry) == (0, 1, 1)


def test_a_client_that_stops_renewing_has_itself_to_blame() -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 2, 2)
    _ended(history, 2, "expired", 8)
    _key_goes(history, 2, 7.1)
    found = _lease(history)
    assert (found.client_expiry, found.early_expiry, found.expired_as_asked) == (1, 0, 0)
    assert found.expiry_lag_s.max == pytest.approx(7.1 - 1.5 - TTL_S, abs=0.01)


@pytest.mark.parametrize(("stopped_s", "client_expiry"), [(9, 1), (7, 0)])
def test_a_client_that_still_cared_when_the_lease_expired_lost_it(stopped_s: float, client_expiry: int) -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 2, 2)
    _ended(history, 2, "stopped", stopped_s)
    _key_goes(history, 2, 8)
    assert _lease(history).client_expiry == client_expiry


def test_a_lease_left_to_expire_is_as_asked() -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 2, 0)
    _ended(history, 2, "left to expire", 0.2)
    _key_goes(history, 2, 5.6)
    found = _lease(history)
    assert (found.expired_as_asked, found.client_expiry, found.late_expiry) == (1, 0, 0)


def test_our_own_revoke_is_no_expiry() -> None:
    history = healthy(SCENARIO)
    history.operations.append(
        Operation(0, 77_777, "lease_revoke", 102, "n1", at(9), at(9), at(9.01), Outcome.OK, lease=2)
    )
    _keep_alive_until(history, 2, 9)
    _ended(history, 2, "revoked", 9.01)
    _key_goes(history, 2, 9.005)
    found = _lease(history)
    assert (found.early_expiry, found.client_expiry) == (0, 0)


@pytest.mark.parametrize(("changes", "late"), [(0, 1), (1, 0)])
def test_late_is_what_no_change_of_leader_excuses(changes: int, late: int) -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 2, 0)
    _ended(history, 2, "left to expire", 0.2)
    _key_goes(history, 2, 0.1 + TTL_S + 3 + 5 + 1)
    if changes:
        history.members = [
            replace(sample, leader="n2", term=3) if sample.at_ns >= at(4) else sample for sample in history.members
        ]
    assert _lease(history).late_expiry == late


def test_a_lease_that_never_went_is_late_when_its_time_is_long_over() -> None:
    history = healthy(SCENARIO)
    _keep_alive_until(history, 2, 2)
    found = _lease(history)
    assert found.late_expiry == 1
    assert "had not gone" in found.late[0]


def test_without_audit_watchers_nobody_knows_of_early_expiries() -> None:
    history = healthy(SCENARIO)
    history.log = []
    assert _lease(history).early_expiry is None


def test_a_key_that_was_written_again_without_the_lease_is_not_its_end() -> None:
    history = healthy(SCENARIO)
    key = f"{PREFIX}lease/2"
    attach = next(event for event in history.log if event.key == key)
    other = next(event for event in history.log if event.revision == attach.revision + 100)
    history.log = [
        replace(event, key=key, lease=0) if event.revision == other.revision else event for event in history.log
    ]
    history.operations = [replace(op, key=key) if op.revision == other.revision else op for op in history.operations]
    _key_goes(history, 2, 12)
    assert _lease(history).early_expiry == 0
