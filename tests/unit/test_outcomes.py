"""What etcd's errors say about a call."""

from __future__ import annotations

import grpc
import pytest

from chaoskit.history import Outcome
from chaoskit.systems.etcd.outcomes import BY_STATUS, REFUSALS, classify

pytestmark = pytest.mark.unit

CONNECTION_REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:2379: "
    "Failed to connect to remote host: Connection refused"
)


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_every_status_has_an_outcome_and_none_alone_is_a_promise_that_nothing_happened(code: grpc.StatusCode) -> None:
    assert code.name in BY_STATUS
    assert classify(code.name, "") is (Outcome.OK if code is grpc.StatusCode.OK else Outcome.UNKNOWN)


def test_the_table_has_no_status_that_does_not_exist() -> None:
    assert set(BY_STATUS) == {code.name for code in grpc.StatusCode}


@pytest.mark.parametrize("message", REFUSALS)
def test_what_etcd_refuses_before_applying_it_has_failed_under_any_status(message: str) -> None:
    assert classify("UNKNOWN", message) is Outcome.FAILED
    assert classify("UNAVAILABLE", message) is Outcome.FAILED


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("UNAVAILABLE", CONNECTION_REFUSED),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (3000010 vs. 2097152)"),
        ("RESOURCE_EXHAUSTED", "CLIENT: Sent message larger than max (90000000 vs. 67108864)"),
    ],
)
def test_a_request_that_never_reached_the_server_has_failed(status: str, message: str) -> None:
    assert classify(status, message) is Outcome.FAILED


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("UNAVAILABLE", "etcdserver: leader changed"),
        ("UNAVAILABLE", "etcdserver: no leader"),
        ("UNAVAILABLE", "etcdserver: request timed out"),
        ("UNAVAILABLE", "etcdserver: request timed out, possibly due to previous leader failure"),
        ("UNAVAILABLE", "etcdserver: server stopped"),
        ("UNAVAILABLE", "Socket closed"),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer"),
        ("UNAVAILABLE", "GOAWAY received"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded"),
        ("CANCELLED", "Channel closed!"),
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (9 vs. 4)"),
        ("RESOURCE_EXHAUSTED", "grpc: trying to send message larger than max (9 vs. 4)"),
        ("NEVER_HEARD_OF", "etcdserver: something new"),
    ],
)
def test_what_may_have_been_applied_is_unknown(status: str, message: str) -> None:
    assert classify(status, message) is Outcome.UNKNOWN


def test_out_of_space_is_unknown_because_etcd_reports_it_after_applying_the_write() -> None:
    assert classify("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded") is Outcome.UNKNOWN
