"""Keeping watches open: open, record what they deliver, reopen at the next member when they end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from time import monotonic_ns
from typing import Literal

import gevent
from gevent.event import AsyncResult, Event

from chaoskit.contracts import CallFailed, WatchHandle, WatchMessage
from chaoskit.history import WatchClosed, WatchEvent, WatchOpened, WatchProgress
from chaoskit.history.records import value_id
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.recorder import Recorder

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
_SETTLED_NS = 1_000_000_000  # a stream that lived this long is worth reopening at once


class Watch:
    """One watch over all its streams. `passed` is the revision up to which it has seen everything there was for it."""

    def __init__(self, number: int, *, key: str, range_end: str, mode: Literal["resume", "naive"], at: int) -> None:
        self.number = number
        self.key = key
        self.range_end = range_end
        self.mode = mode
        self.at = at  # index of the member
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

    @property
    def open(self) -> int:
        return sum(watch.open for watch in self._kept.values())

    @property
    def reached(self) -> int:
        """The lowest revision that every watch has passed; 0 without watches."""
        return min((watch.passed for watch in self._kept.values()), default=0)

    def new(self, *, key: str, range_end: str, mode: Literal["resume", "naive"], at: int) -> Watch:
        return Watch(next(self._numbers), key=key, range_end=range_end, mode=mode, at=at)

    def keep(self, watch: Watch, ended: Event, say_ready: Callable[[], None]) -> None:
        """Watch until `ended`, whatever happens to the streams. Says ready when the first is open."""
        self._kept[watch.number] = watch
        pause_s = _FIRST_PAUSE_S
        try:
            while not ended.is_set():
                began_ns = monotonic_ns()
                if self._one_stream(watch, ended, say_ready) and monotonic_ns() - began_ns > _SETTLED_NS:
                    pause_s = _FIRST_PAUSE_S
                else:
                    ended.wait(pause_s)
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
        handle = self._open(watch, member, stream)
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
            client = self._connections.client("watches", member)
            return client.watch(
                watch.key.encode(), watch.range_end.encode(), watch.start_revision, stream.deliver,
                timeout_s=self._timeout_s,
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
            )
        )
        watch.open = True
        if watch.start_revision == 0:
            watch.passed = max(watch.passed, created_revision)
        early, self._early = self._early or [], None
        for message, received_ns in early:
            self._record(message, received_ns)

    def deliver(self, message: WatchMessage) -> None:
        """Called by the client, in order."""
        received_ns = monotonic_ns()
        if self._early is None:
            self._record(message, received_ns)
        else:
            self._early.append((message, received_ns))

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
            self._events(message, received_ns)

    def _events(self, message: WatchMessage, received_ns: int) -> None:
        response = next(self._responses)
        add, live = self._recorder.add, self._recorder.live
        for revision, kind, key, value in message.events:
            name, written = key.decode("ascii", "replace"), value_id(value)
            add(WatchEvent(*self._identity, response, revision, kind, name, written, received_ns))
            live.watch_event(revision, received_ns)
            self._watch.passed = max(self._watch.passed, revision)
