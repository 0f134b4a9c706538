"""Keepalives of many leases on one stream that stays open, as etcd's own client does it.

An answer says whose lease it is for, not which question it answers, and a question that was given up may still be
answered. So a lease's answers are taken for its questions in the order of asking, the given-up ones included: else a
late answer would promise life from a moment at which the server renewed nothing. The server looks at one question of a
stream after the other; when one hangs (a member that lost its leader) all behind it do. A stream on which nothing came
for a whole deadline takes no more questions, and the next ones get another.
"""

from __future__ import annotations

from time import monotonic

from gevent.hub import Waiter, get_hub
from google.protobuf.message import DecodeError

from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.clients.native.connection import Connection
from chaoskit.systems.etcd.clients.native.headers import End
from chaoskit.systems.etcd.clients.native.messages import BadMessage, MessageReader
from chaoskit.systems.etcd.clients.native.methods import varint

_LOOK_S = 0.02  # between two looks at the deadlines of a stream
_GIVEN_UP_LIMIT = 10_000  # questions without an answer that nobody waits for any more
_TOO_LATE = End("DEADLINE_EXCEEDED", "no answer in time")


class _Asked:
    """One question. `waiter` is None once nobody waits for the answer."""

    __slots__ = ("at", "deadline", "waiter")

    def __init__(self, waiter: Waiter, at: float, deadline: float) -> None:
        self.waiter: Waiter | None = waiter
        self.at = at
        self.deadline = deadline


class LeaseStream:
    """A stream and the questions on it."""

    def __init__(self, connection: Connection, block: bytes) -> None:
        self.begun = False
        self.deadline = float("inf")
        self._connection = connection
        self._hub = get_hub()
        self._reader = MessageReader()
        self._asked: dict[int, list[_Asked]] = {}  # by lease, in the order of asking
        self._waiting: set[_Asked] = set()
        self._given_up = 0
        self._owed = 0  # bytes received and not yet given back to the stream's window
        self._answered_at = 0.0
        self._stuck = False
        self._over = False
        self._number = connection.start(block, self)
        self._timer = self._hub.loop.timer(_LOOK_S, _LOOK_S, ref=False)
        self._looking = False

    @property
    def open(self) -> bool:
        """Whether further questions are welcome."""
        return not self._over and not self._stuck and self._connection.open

    def keepalive(self, lease: int, timeout_s: float) -> pb.LeaseKeepAliveResponse | End:
        """Ask, wait for the answer. Only while `open`."""
        now = monotonic()
        waiter = Waiter(self._hub)
        asked = _Asked(waiter, now, now + timeout_s)
        self._asked.setdefault(lease, []).append(asked)
        self._waiting.add(asked)
        self._connection.send(self._number, b"\x08" + varint(lease))
        if not self._looking:
            self._looking = True
            self._timer.start(self._look)
        try:
            return waiter.get()  # type: ignore[no-any-return]  # what `data` and `end` gave
        finally:
            if asked.waiter:  # the greenlet is killed, or timed out from outside
                self._give_up(asked)

    def retire(self) -> None:
        """No more questions; the server is told as soon as nobody waits for an answer."""
        self._stuck = True
        self._close_unless_waiting()

    def close(self) -> None:
        """All that waits ends."""
        if not self._over:
            self._connection.cancel(self._number)
            self._hub.loop.run_callback(self.end, End("CANCELLED", "the client was closed"))

    # ── in the hub ───────────────────────────────────────────────────────────────────────────────────────────────────

    def data(self, payload: bytes) -> int:
        for message in self._reader.feed(payload):
            try:
                answer = pb.LeaseKeepAliveResponse.FromString(message)
            except DecodeError as error:
                raise BadMessage("a message that is no LeaseKeepAliveResponse") from error
            self._take(answer)
        self._owed += len(payload)
        if self._owed >= self._connection.stream_window // 4:
            self._connection.give_back(self._number, self._owed)
            self._owed = 0
        return 0

    def end(self, end: End) -> None:
        if self._over:
            return
        self._over = True
        self._timer.stop()
        self._timer.close()
        self._asked.clear()
        if end.status == "OK":
            end = End("UNAVAILABLE", "the server ended the stream")
        elif end.untouched and self.begun:
            end = End(end.status, end.message)
        waiting, self._waiting = self._waiting, set()
        for asked in waiting:
            self._answer(asked, end)

    def _take(self, answer: pb.LeaseKeepAliveResponse) -> None:
        """For the oldest question about this lease."""
        self._answered_at = monotonic()
        of_lease = self._asked.get(answer.ID)
        if not of_lease:
            return
        asked = of_lease.pop(0)
        if not of_lease:
            del self._asked[answer.ID]
        if asked in self._waiting:
            self._waiting.discard(asked)
            self._answer(asked, answer)
        else:
            self._given_up -= 1

    @staticmethod
    def _answer(asked: _Asked, answer: pb.LeaseKeepAliveResponse | End) -> None:
        waiter, asked.waiter = asked.waiter, None
        if waiter:
            waiter.switch(answer)

    def _look(self) -> None:
        """End what is too late."""
        now = monotonic()
        for asked in [asked for asked in self._waiting if asked.deadline <= now]:
            if self._answered_at < asked.at:
                self._stuck = True
            waiter = asked.waiter
            self._give_up(asked)
            if waiter:
                waiter.switch(_TOO_LATE)
        if self._stuck:
            self._close_unless_waiting()
        if not self._waiting and not self._over:
            self._looking = False
            self._timer.stop()

    def _give_up(self, asked: _Asked) -> None:
        """Nobody waits for it, but its answer may come and must not be another's."""
        asked.waiter = None
        if asked in self._waiting:
            self._waiting.discard(asked)
            self._given_up += 1
            self._stuck |= self._given_up > _GIVEN_UP_LIMIT

    def _close_unless_waiting(self) -> None:
        if not self._waiting and not self._over:
            self._connection.cancel(self._number)
            self.end(End("CANCELLED", "the stream was given up"))
