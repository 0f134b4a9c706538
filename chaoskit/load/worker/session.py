"""One simulated client: times, classifies and records each call, and moves on to the next member when one fails it.

Implements `contracts.Session`; workloads see nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic_ns
from typing import Literal

import gevent

from chaoskit.contracts import CallFailed, Client, Reply
from chaoskit.history import LeaseEnded, Operation, Outcome
from chaoskit.history.records import VALUE_END, value_id
from chaoskit.load.worker.clock import Clock
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.crowd import Crowd
from chaoskit.load.worker.recorder import Recorder
from chaoskit.load.worker.schedule import Choices
from chaoskit.load.worker.watching import Watchers


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


class ClientSession:
    """Client `number` of a crowd. It begins at member `number` modulo N and goes around from there."""

    def __init__(self, bench: Bench, crowd: Crowd, number: int, say_ready: Callable[[], None]) -> None:
        self.number = number
        self.prefix = bench.prefix
        self.keys = bench.keys
        self.rng = Choices(f"{crowd.seed}:{number}")
        self._bench = bench
        self._crowd = crowd
        self._recorder = bench.recorder
        self._members = bench.connections.members
        self._at = number % len(self._members)
        self._client_id = crowd.first_client + number
        self._say_ready: Callable[[], None] | None = say_ready
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
        while self._crowd.schedule and not self.stopping:
            arrival = self._crowd.schedule.take()
            self.rng.restart(arrival.chance)
            if not self.sleep_until(arrival.due_ns):
                return
            yield arrival.due_ns

    def sleep_until(self, at_ns: int) -> bool:
        """False when the load had stopped before `at_ns`. What was due just before the stop is still to be sent."""
        if monotonic_ns() >= at_ns:
            self._late_due_ns = at_ns
        while not self.stopping and monotonic_ns() < at_ns:
            self._bench.clock.sleep_until(at_ns)
        return not self.stopping or at_ns <= self._crowd.ended_ns

    def put(self, key: str, *, size: int, due_ns: int, lease: int = 0, kind: str = "put") -> Reply | None:
        number = self._recorder.next_number()
        identity = f"{self._recorder.worker}.{number}"
        value = f"{identity}{VALUE_END}".ljust(size, ".").encode()
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

    def keep_watching(self, key: str, range_end: str, mode: Literal["resume", "naive"]) -> None:
        watch = self._bench.watchers.new(key=key, range_end=range_end, mode=mode, at=self._at)
        self._bench.watchers.keep(watch, self._crowd.ended, self.ready)

    def _operation(
        self, kind: str, due_ns: int, *, number: int = 0, key: str = "", value: str = "", lease: int = 0,
        serializable: bool = False,
    ) -> Operation:  # fmt: skip
        """A call about to be sent: `sent_ns` is now."""
        return Operation(
            worker=self._recorder.worker,
            number=number or self._recorder.next_number(),
            kind=kind,
            client=self._client_id,
            member=self._members[self._at],
            due_ns=due_ns,
            sent_ns=monotonic_ns(),
            done_ns=0,
            outcome=Outcome.UNKNOWN,
            error="in flight when the run stopped",
            queued=due_ns == self._late_due_ns,
            key=key,
            value=value,
            lease=lease,
            serializable=serializable,
        )

    def _call(self, op: Operation, invoke: Callable[[Client], Reply]) -> Reply | None:
        recorder = self._recorder
        recorder.begin(op)
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
            recorder.end(
                op, Outcome.OK, done_ns,
                value=op.value or (value_id(reply.value) if reply.value else ""), revision=reply.revision,
                mod_revision=reply.mod_revision, lease=op.lease or reply.lease, ttl_s=reply.ttl_s,
            )  # fmt: skip
            return reply
        if self._bench.failover:
            self._at = (self._at + 1) % len(self._members)
        return None
