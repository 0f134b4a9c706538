"""Keepalives on one stream, against a scripted server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.clients.native import frames
from chaoskit.systems.etcd.clients.native.connection import STREAM_WINDOW, Connection
from chaoskit.systems.etcd.clients.native.headers import End
from chaoskit.systems.etcd.clients.native.leases import LeaseStream
from chaoskit.systems.etcd.clients.native.messages import framed
from tests.unit.test_native_connection import BEGIN, BLOCK, OK, Server, ended, headers, pair

pytestmark = pytest.mark.unit

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    with gevent.Timeout(PATIENCE_S):
        yield


class Keeping:
    """A stream, and a server that answers as it is told."""

    def __init__(self, connection: Connection, server: Server) -> None:
        self.connection, self.server = connection, server
        self.stream = LeaseStream(connection, BLOCK)

    def ask(self, lease: int, timeout_s: float = 5.0) -> gevent.Greenlet[..., Any]:
        """A keepalive that the server has read."""
        asking = gevent.spawn(self.stream.keepalive, lease, timeout_s)
        while True:
            message = self.server.next(frames.DATA)[3]
            if lease == pb.LeaseKeepAliveRequest.FromString(message[5:]).ID:
                return asking

    def begin(self) -> None:
        self.server.send(headers(1, BEGIN))

    def say(self, lease: int, ttl: int, revision: int = 7) -> None:
        answer = pb.LeaseKeepAliveResponse(header=pb.ResponseHeader(revision=revision), ID=lease, TTL=ttl)
        self.server.send(frames.frame(frames.DATA, 0, 1, framed(answer.SerializeToString())))


@pytest.fixture
def keeping() -> Iterator[Keeping]:
    connection, server = pair()
    server.greet()
    assert connection.ready.get() == ""
    yield Keeping(connection, server)
    connection.close()
    server.socket.close()


def test_answers_find_their_questions_by_lease_in_any_order_between_leases(keeping: Keeping) -> None:
    first, second = keeping.ask(11), keeping.ask(-12)
    keeping.begin()
    keeping.say(-12, 5)
    keeping.say(11, 9)
    assert (first.get().ID, first.get().TTL) == (11, 9)
    assert (second.get().ID, second.get().TTL) == (-12, 5)


def test_all_keepalives_share_one_stream(keeping: Keeping) -> None:
    keeping.begin()
    for lease in range(1, 20):
        asking = keeping.ask(lease)
        keeping.say(lease, 5)
        assert asking.get().TTL == 5
    assert keeping.connection._next == 3  # the next stream's number: only one was opened


def test_a_late_answer_is_never_taken_for_the_next_question(keeping: Keeping) -> None:
    """It would say that the lease was renewed when the second question was sent, and the server renewed it before."""
    keeping.begin()
    other = keeping.ask(99)
    first = keeping.ask(11, 0.01)
    assert first.get().status == "DEADLINE_EXCEEDED"
    keeping.say(99, 5)
    assert other.get().TTL == 5
    keeping.stream._stuck = False  # as if others had been answered all the time
    second = keeping.ask(11)
    keeping.say(11, 5, revision=1)
    gevent.sleep(0.05)
    assert not second.ready()
    keeping.say(11, 5, revision=2)
    assert second.get().header.revision == 2


def test_a_stream_on_which_nothing_comes_for_a_whole_deadline_takes_no_more_and_is_cancelled(keeping: Keeping) -> None:
    asking = keeping.ask(11, 0.01)
    assert asking.get().status == "DEADLINE_EXCEEDED"
    assert not keeping.stream.open
    assert keeping.server.next(frames.RST_STREAM)[2] == 1


def test_a_stuck_stream_still_brings_what_others_wait_for(keeping: Keeping) -> None:
    patient, hasty = keeping.ask(1), keeping.ask(2, 0.01)
    assert hasty.get().status == "DEADLINE_EXCEEDED"
    assert not keeping.stream.open
    keeping.begin()
    keeping.say(1, 5)
    assert patient.get().TTL == 5
    assert keeping.server.next(frames.RST_STREAM)[2] == 1


def test_a_stream_that_still_moves_stays_open_when_one_answer_is_late(keeping: Keeping) -> None:
    keeping.begin()
    slow = gevent.spawn(keeping.stream.keepalive, 1, 0.1)
    while not slow.ready():
        keeping.ask(2)
        keeping.say(2, 5)
        gevent.sleep(0.005)
    assert slow.get().status == "DEADLINE_EXCEEDED"
    assert keeping.stream.open


@pytest.mark.parametrize(
    ("trailers", "status"),
    [(OK, "UNAVAILABLE"), (None, "UNAVAILABLE")],
    ids=["the stream ends in order", "the connection is lost"],
)
def test_the_end_of_the_stream_ends_every_question_as_one_that_may_have_been_done(
    keeping: Keeping, trailers: bytes | None, status: str
) -> None:
    asking = [keeping.ask(lease) for lease in range(1, 6)]
    keeping.begin()
    if trailers is None:
        keeping.server.socket.close()
    else:
        keeping.server.send(ended(1, trailers))
    for each in asking:
        end = each.get()
        assert isinstance(end, End)
        assert (end.status, end.untouched) == (status, False)
    assert not keeping.stream.open


def test_an_answer_that_nobody_asked_for_changes_nothing(keeping: Keeping) -> None:
    keeping.begin()
    keeping.say(5, 5)
    asking = keeping.ask(11)
    keeping.say(11, 3)
    assert asking.get().TTL == 3


def test_nonsense_ends_the_stream_and_not_the_worker(keeping: Keeping) -> None:
    asking = keeping.ask(11)
    keeping.begin()
    keeping.server.send(frames.frame(frames.DATA, 0, 1, framed(b"\xff\xff\xff")))
    assert asking.get().status == "INTERNAL"
    assert not keeping.stream.open


def test_a_killed_greenlet_leaves_its_answer_to_nobody(keeping: Keeping) -> None:
    keeping.begin()
    keeping.ask(11).kill()
    second = keeping.ask(11)
    keeping.say(11, 1)
    gevent.sleep(0.02)
    assert not second.ready()
    keeping.say(11, 2)
    assert second.get().TTL == 2


def test_the_window_is_given_back_so_that_a_stream_can_live_for_ever(keeping: Keeping) -> None:
    keeping.begin()
    filler = framed(pb.LeaseKeepAliveResponse(ID=1, TTL=1).SerializeToString()) * 1000
    for _ in range(STREAM_WINDOW // 4 // len(filler) + 1):
        keeping.server.send(frames.frame(frames.DATA, 0, 1, filler))
        gevent.sleep(0)
    while keeping.server.next(frames.WINDOW_UPDATE)[2] != 1:
        pass


def test_closing_ends_what_waits(keeping: Keeping) -> None:
    asking = keeping.ask(11)
    keeping.stream.close()
    assert asking.get().status == "CANCELLED"
