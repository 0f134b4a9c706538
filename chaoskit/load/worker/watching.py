"""Keeping watches open: open, record what they deliver, reopen at the next member when they end.

However many there are: a stream that dies takes thousands of watches with it, and all of them come back at once. Only
so many are opened at a member at one time, and what did not succeed is tried again after a jittered, growing pause.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from time import monotonic_ns
from typing import Literal

import gevent
from gevent.event import AsyncResult, Event
from gevent.lock import BoundedSemaphore

from chaoskit.contracts import CallFailed, LateReading, WatchHandle, WatchMessage
from chaoskit.history import WatchClosed, WatchDelivery, WatchOpened, WatchProgress
from chaoskit.history.records import value_head
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.late_reader import LateReader
from chaoskit.load.worker.recorder import Recorder

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_JITTER = 0.5  # of a pause, so that watches that ended together do not all try together again
_OPENINGS_AT_ONCE = 100  # at one member: the others wait here instead of running into their deadline there
_SETTLED_NS = 1_000_000_000  # a stream that lived this long is worth reopening at once


_WatchEvent = tuple[int, Literal["put", "delete"], bytes, bytes]
"""As in WatchMessage."""


class Watch:
    """One watch over all its streams. `passed` is the revision up to which it has seen everything there was for it."""

    def __init__(
        self,
        number: int,
        *,
        key: str,
        range_end: str,
        mode: Literal["resume", "naive"],
        at: int,
        stream: int | None = None,
        reader: LateReader | None = None,
    ) -> None:
        self.number = number
        self.key = key
        self.range_end = range_end
        self.mode = mode
        self.at = at  # index of the member
        self.reader = reader  # of a slow watch
        self.stream = stream  # which it shares with others of this number; None leaves it to the client
        self.attempt = 0
        self.open = False
        self.passed = 0
        self.start_revision = 0  # 0 is "now"; so is the first opening of both modes

    def continue_after(self, closed: WatchMessage) -> None:
        """Where the next stream begins. A naive client begins at "now" and loses the gap."""
        if self.mode == "naive":
            self.start_revision = 0
        elif closed.compact_revision:
            self.start_revision = closed.compact_revision
        elif self.passed:
            self.start_revision = self.passed + 1


class Watchers:
    """All watches of a worker."""

    def __init__(self, connections: Connections, recorder: Recorder, timeout_s: float, failover: bool) -> None:
        self._connections = connections
        self._recorder = recorder
        self._timeout_s = timeout_s
        self._failover = failover
        self._kept: dict[int, Watch] = {}
        self._numbers = count()
        self._hurried = Event()
        self._openings = {member: BoundedSemaphore(_OPENINGS_AT_ONCE) for member in connections.members}
        self._random = Random(f"{recorder.worker}")  # spreads tries in time, decides nothing that is judged

    @property
    def open(self) -> int:
        return sum(watch.open for watch in self._kept.values())

    @property
    def reached(self) -> int:
        """The lowest revision that every watch has passed; 0 without watches."""
        return min((watch.passed for watch in self._kept.values()), default=0)

    def new(
        self,
        *,
        key: str,
        range_end: str,
        mode: Literal["resume", "naive"],
        at: int,
        stream: int | None = None,
        late: LateReading | None = None,
    ) -> Watch:
        reader = LateReader(late, self._hurried) if late else None
        return Watch(next(self._numbers), key=key, range_end=range_end, mode=mode, at=at, stream=stream, reader=reader)

    def hurry(self) -> None:
        """The load has stopped: slow watches read what is left as fast as they can."""
        self._hurried.set()

    def keep(self, watch: Watch, ended: Event, say_ready: Callable[[], None]) -> None:
        """Watch until `ended`, whatever happens to the streams. Says ready when the first is open."""
        self._kept[watch.number] = watch
        pause_s = _FIRST_PAUSE_S
        try:
            while not ended.is_set():
                began_ns = monotonic_ns()
                if self._one_stream(watch, ended, say_ready) and monotonic_ns() - began_ns > _SETTLED_NS:
                    pause_s = _FIRST_PAUSE_S
                elif not ended.is_set():  # gevent never wakes who begins to wait while an Event wakes its waiters
                    ended.wait(pause_s * self._random.uniform(1 - _JITTER, 1 + _JITTER))
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                if self._failover:
                    watch.at = (watch.at + 1) % len(self._connections.members)
        finally:
            del self._kept[watch.number]

    def _one_stream(self, watch: Watch, ended: Event, say_ready: Callable[[], None]) -> bool:
        """From opening to the end of one stream; False when it could not be opened."""
        over: AsyncResult[WatchMessage] = AsyncResult()
        stream = _Stream(watch, self._recorder, over)
        member = self._connections.members[watch.at]
        with self._openings[member]:
            handle = None if ended.is_set() else self._open(watch, member, stream)
        if handle is None:
            return False
        stream.opened(member, handle.created_revision)
        say_ready()
        try:
            gevent.wait([over, ended], count=1)
        finally:
            watch.open = False
            if not over.ready():
                handle.cancel()
            closed = over.get_nowait() if over.ready() else WatchMessage("closed", reason="stopped")
            stream.closed(closed)
            watch.continue_after(closed)
            watch.attempt += 1
        return True

    def _open(self, watch: Watch, member: str, stream: _Stream) -> WatchHandle | None:
        try:
            client = self._connections.client("slow watches" if watch.reader else "watches", member)
            return client.watch(
                watch.key.encode(), watch.range_end.encode(), watch.start_revision, stream.deliver,
                timeout_s=self._timeout_s, stream=watch.stream,
            )  # fmt: skip
        except CallFailed as failure:
            _log.info("watch %d could not be opened at %s: %s", watch.number, member, failure)
        except (Exception, gevent.Timeout) as error:
            self._recorder.strange(error)
        return None


class _Stream:
    """One attempt of a watch: turns messages into records. Messages that overtake `watch()`'s return wait for it."""

    def __init__(self, watch: Watch, recorder: Recorder, over: AsyncResult[WatchMessage]) -> None:
        self._watch = watch
        self._reader = watch.reader
        self._recorder = recorder
        self._over = over
        self._identity = (recorder.worker, watch.number, watch.attempt)
        self._responses = count()
        self._early: list[tuple[WatchMessage, int]] | None = []

    def opened(self, member: str, created_revision: int) -> None:
        watch = self._watch
        worker, number, attempt = self._identity
        self._recorder.add(
            WatchOpened(
                worker=worker,
                watch=number,
                attempt=attempt,
                member=member,
                key=watch.key,
                range_end=watch.range_end,
                start_revision=watch.start_revision,
                created_revision=created_revision,
                at_ns=monotonic_ns(),
                mode=watch.mode,
                slow=watch.reader is not None,
            )
        )
        watch.open = True
        if watch.start_revision == 0:
            watch.passed = max(watch.passed, created_revision)
        early, self._early = self._early or [], None
        for message, received_ns in early:
            self._record(message, received_ns)

    def deliver(self, message: WatchMessage) -> None:
        """Called by the client, in order. What a slow watch reads late it has received late."""
        if self._reader:
            self._reader.wait()
        received_ns = monotonic_ns()
        if self._early is not None:
            self._early.append((message, received_ns))
        elif message.kind == "events":
            self._events(message.events, received_ns)
        else:
            self._record(message, received_ns)

    def closed(self, message: WatchMessage) -> None:
        self._recorder.add(
            WatchClosed(*self._identity, monotonic_ns(), message.reason, message.detail, message.compact_revision)
        )

    def _record(self, message: WatchMessage, received_ns: int) -> None:
        if message.kind == "closed":
            self._over.set(message)
        elif message.kind == "progress":
            self._recorder.add(WatchProgress(*self._identity, message.revision, received_ns))
            self._watch.passed = max(self._watch.passed, message.revision)
        else:
            self._events(message.events, received_ns)

    def _events(self, events: Sequence[_WatchEvent], received_ns: int) -> None:
        """In the load path: one record for all events of a response."""
        worker, watch, attempt = self._identity
        heads = [(revision, kind, key, value_head(value)) for revision, kind, key, value in events]
        self._recorder.add(WatchDelivery(worker, watch, attempt, next(self._responses), received_ns, heads))
        if self._reader:
            self._reader.took(len(events))
            self._recorder.live.watch_events += len(events)
        else:
            self._recorder.live.watch_delivery(len(events), events[0][0], received_ns)
        last = events[-1][0] if len(events) == 1 else max(event[0] for event in events)
        self._watch.passed = max(self._watch.passed, last)
