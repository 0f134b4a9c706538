"""One simulated client: times, classifies and records each call, and moves on to the next member when one fails it.

Implements `contracts.Session`; workloads see nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic_ns
from typing import Literal

import gevent

from chaoskit.contracts import CallFailed, Client, LateReading, Reply
from chaoskit.history import LeaseEnded, Outcome
from chaoskit.history.records import VALUE_END, page_digest, value_id
from chaoskit.load.worker.clock import Clock
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.crowd import Crowd
from chaoskit.load.worker.recorder import Call, Recorder, Settable
from chaoskit.load.worker.schedule import Choices, Schedule
from chaoskit.load.worker.watching import Watchers
from chaoskit.shapes import Closed

_S = 1_000_000_000
_PAUSE_NS = _S // 100  # of the closed model after a failure: a cluster that refuses at once must not spin the worker


@dataclass(frozen=True, slots=True)
class Bench:
    """What all clients of one worker share."""

    prefix: str
    keys: int
    timeout_s: float
    failover: bool
    connections: Connections
    recorder: Recorder
    clock: Clock
    watchers: Watchers


Told = Callable[[Call, Reply], None]
"""Writes what an answer told into the history's record of the call."""


def _told(op: Settable, reply: Reply) -> None:
    if not op.value and reply.value:
        op.value = value_id(reply.value)
    op.revision, op.mod_revision, op.ttl_s = reply.revision, reply.mod_revision, reply.ttl_s
    if not op.lease:
        op.lease = reply.lease


def _page_told(op: Settable, reply: Reply) -> None:
    op.revision, op.count, op.more, op.digest = reply.revision, reply.count, reply.more, page_digest(reply.kvs)


def _delete_told(op: Settable, reply: Reply) -> None:
    op.revision, op.count = reply.revision, reply.count


def _swap_told(op: Settable, reply: Reply) -> None:
    """The value stays the one that was to be written; what stood against it is told by its revision."""
    op.revision, op.mod_revision, op.succeeded = reply.revision, reply.mod_revision, reply.succeeded


class ClientSession:
    """Client `number` of a crowd. It begins at member `number` modulo N and goes around from there."""

    def __init__(self, bench: Bench, crowd: Crowd, number: int, say_ready: Callable[[], None]) -> None:
        self.number = number
        self.prefix = bench.prefix
        self.keys = bench.keys
        self.rng = Choices(f"{crowd.seed}:{number}")
        self.arrival = 0
        self._bench = bench
        self._crowd = crowd
        self._recorder = bench.recorder
        self._members = bench.connections.members
        self._at = number % len(self._members)
        self._client_id = crowd.first_client + number
        self._say_ready: Callable[[], None] | None = say_ready
        self._failed = False  # the last call
        self._late_due_ns = 0  # the due time that had passed before this client came to it

    @property
    def stopping(self) -> bool:
        return self._crowd.ended_ns != 0

    def ready(self) -> None:
        if self._say_ready:
            self._say_ready()
            self._say_ready = None

    def now_ns(self) -> int:
        return monotonic_ns()

    def arrivals(self) -> Iterator[int]:
        """An arrival that is due already when it is taken has found every client busy: a free one would have had it."""
        self._crowd.begun.wait()
        if isinstance(pace := self._crowd.pace, Closed):
            yield from self._turns(round(pace.think_s * _S))
        while (schedule := self._crowd.schedule) and not self.stopping:
            arrival = schedule.take()
            self.arrival = arrival.place
            self.rng.restart(arrival.chance)
            if self._came(arrival.due_ns, schedule):
                yield arrival.due_ns

    def _came(self, due_ns: int, schedule: Schedule) -> bool:
        """Sleep until an arrival is due; False when its schedule ended before that."""
        if monotonic_ns() >= due_ns:
            self._late_due_ns = due_ns
        while not schedule.ended_ns and monotonic_ns() < due_ns:
            self._bench.clock.sleep_until(due_ns)
        return not schedule.ended_ns or due_ns <= schedule.ended_ns

    def _turns(self, think_ns: int) -> Iterator[int]:
        """The closed model: whenever the last call is answered and thought about. Choices are the client's own, since
        nobody knows which of a cluster's answers comes first."""
        pause_ns = round(self.rng.random() * think_ns)  # not everybody at once
        while not self.stopping and (
            not pause_ns or (self.sleep_until(monotonic_ns() + pause_ns) and not self.stopping)
        ):
            self.arrival = self._crowd.next_turn()
            yield 0
            pause_ns = max(think_ns, _PAUSE_NS) if self._failed else think_ns

    def sleep_until(self, at_ns: int) -> bool:
        """False when the load had stopped before `at_ns`. What was due just before the stop is still to be sent."""
        if monotonic_ns() >= at_ns:
            self._late_due_ns = at_ns
        while not self.stopping and monotonic_ns() < at_ns:
            self._bench.clock.sleep_until(at_ns)
        return not self.stopping or at_ns <= self._crowd.ended_ns

    def put(self, key: str, *, size: int, due_ns: int, lease: int = 0, kind: str = "put") -> Reply | None:
        number, identity, value = self._new_value(size)
        timeout_s = self._bench.timeout_s
        return self._call(
            self._operation(kind, due_ns, number=number, key=key, value=identity, lease=lease),
            lambda client: client.put(key.encode(), value, lease=lease, timeout_s=timeout_s),
        )

    def get(self, key: str, *, due_ns: int, serializable: bool = False, kind: str = "read") -> Reply | None:
        timeout_s = self._bench.timeout_s
        return self._call(
            self._operation(kind, due_ns, key=key, serializable=serializable),
            lambda client: client.get(key.encode(), serializable=serializable, timeout_s=timeout_s),
        )

    def range(
        self,
        key: str,
        range_end: str,
        *,
        limit: int,
        due_ns: int,
        revision: int = 0,
        serializable: bool = False,
        kind: str = "range",
    ) -> Reply | None:
        timeout_s = self._bench.timeout_s
        return self._call(
            self._operation(
                kind, due_ns, key=key, range_end=range_end, limit=limit, at_revision=revision, serializable=serializable
            ),
            lambda client: client.range(
                key.encode(), range_end.encode(),
                limit=limit, revision=revision, serializable=serializable, timeout_s=timeout_s,
            ),
            _page_told,
        )  # fmt: skip

    def delete(self, key: str, *, due_ns: int, kind: str = "delete") -> Reply | None:
        timeout_s = self._bench.timeout_s
        return self._call(
            self._operation(kind, due_ns, key=key),
            lambda client: client.delete(key.encode(), timeout_s=timeout_s),
            _delete_told,
        )

    def compare_and_swap(
        self, key: str, *, mod_revision: int, size: int, due_ns: int, kind: str = "txn"
    ) -> Reply | None:
        number, identity, value = self._new_value(size)
        timeout_s = self._bench.timeout_s
        return self._call(
            self._operation(kind, due_ns, number=number, key=key, value=identity, guard=mod_revision),
            lambda client: client.compare_and_swap(key.encode(), value, mod_revision=mod_revision, timeout_s=timeout_s),
            _swap_told,
        )

    def lease_grant(self, ttl_s: int, *, due_ns: int, kind: str = "lease_grant") -> Reply | None:
        timeout_s = self._bench.timeout_s
        return self._call(self._operation(kind, due_ns), lambda client: client.lease_grant(ttl_s, timeout_s=timeout_s))

    def lease_keepalive(self, lease: int, *, due_ns: int, ttl_s: int) -> Reply | None:
        """Given up after a third of the TTL, so that one silent member leaves time for two other tries."""
        timeout_s = min(self._bench.timeout_s, ttl_s / 3)
        return self._call(
            self._operation("lease_keepalive", due_ns, lease=lease),
            lambda client: client.lease_keepalive(lease, timeout_s=timeout_s),
        )

    def lease_revoke(self, lease: int, *, due_ns: int) -> Reply | None:
        timeout_s = self._bench.timeout_s
        return self._call(
            self._operation("lease_revoke", due_ns, lease=lease),
            lambda client: client.lease_revoke(lease, timeout_s=timeout_s),
        )

    def lease_ended(
        self, lease: int, key: str, reason: Literal["stopped", "revoked", "expired", "left to expire"]
    ) -> None:
        recorder = self._recorder
        recorder.add(LeaseEnded(recorder.worker, self._client_id, lease, key, monotonic_ns(), reason))

    def keep_watching(
        self,
        key: str,
        range_end: str,
        mode: Literal["resume", "naive"],
        *,
        stream: int | None = None,
        late: LateReading | None = None,
    ) -> None:
        at = self._at if stream is None else stream % len(self._members)
        watch = self._bench.watchers.new(key=key, range_end=range_end, mode=mode, at=at, stream=stream, late=late)
        self._bench.watchers.keep(watch, self._crowd.ended, self.ready)

    def _new_value(self, size: int) -> tuple[int, str, bytes]:
        """The number of a write to come, its value's id, and the value: unique in the run."""
        number = self._recorder.next_number()
        identity = f"{self._recorder.worker}.{number}"
        return number, identity, f"{identity}{VALUE_END}".ljust(size, ".").encode()

    def _operation(
        self, kind: str, due_ns: int, *, number: int = 0, key: str = "", value: str = "", lease: int = 0,
        serializable: bool = False, range_end: str = "", limit: int = 0, at_revision: int = 0, guard: int = 0,
    ) -> Call:  # fmt: skip
        """A call about to be sent: `sent_ns` is now. By place and not by name: msgspec takes 0.3 µs instead of 1.2."""
        sent_ns = monotonic_ns()
        return Call(
            self._recorder.worker,
            number or self._recorder.next_number(),
            kind,
            self._client_id,
            self._members[self._at],
            due_ns or sent_ns,
            sent_ns,
            0,  # done_ns
            Outcome.UNKNOWN,
            "in flight when the run stopped",
            due_ns == self._late_due_ns != 0,  # queued
            key,
            value,
            0,  # revision
            0,  # mod_revision
            lease,
            0,  # ttl_s
            serializable,
            range_end,
            limit,
            at_revision,
            0,  # count
            False,  # more
            0,  # digest
            guard,
        )

    def _call(self, op: Call, invoke: Callable[[Client], Reply], told: Told = _told) -> Reply | None:
        recorder = self._recorder
        recorder.begin(op)
        self._failed = True
        try:
            reply = invoke(self._bench.connections.client("calls", op.member))
            done_ns = monotonic_ns()
        except CallFailed as failure:
            recorder.end(op, failure.outcome, monotonic_ns(), str(failure))
        except (Exception, gevent.Timeout) as error:
            recorder.end(op, Outcome.UNKNOWN, monotonic_ns(), recorder.strange(error))
        except BaseException:  # the greenlet is killed: Locust would count a success here
            recorder.end(op, Outcome.UNKNOWN, monotonic_ns(), op.error)
            raise
        else:
            told(op, reply)
            recorder.end(op, Outcome.OK, done_ns)
            self._failed = False
            return reply
        if self._bench.failover:
            self._at = (self._at + 1) % len(self._members)
        return None
