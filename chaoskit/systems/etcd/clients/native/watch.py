"""Many watches on one stream: created, fed, found dead, closed.

The hub only cuts messages and puts them into an inbox; one greenlet per stream reads it and calls `deliver`, which may
block. A slow one fills the inbox and then the stream's HTTP/2 window: the server feels a slow reader, we hold no more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import count
from time import monotonic
from typing import Literal

import gevent
from gevent.event import AsyncResult
from gevent.hub import Waiter, get_hub
from google.protobuf.message import DecodeError

from chaoskit.contracts import WatchMessage
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.clients.native.connection import Connection
from chaoskit.systems.etcd.clients.native.frames import Code, ProtocolBroken
from chaoskit.systems.etcd.clients.native.headers import End
from chaoskit.systems.etcd.clients.native.messages import MessageReader

_log = logging.getLogger(__name__)

PROGRESS_DEADLINE_S = 4.0
"""Without event or progress for so long, a watch is dead. Members of ours tell of progress every 0.5 s.

One that is not told by itself is dead when its whole stream is that silent: a server leaves a request for progress
without an answer while any watch of the stream has not caught up."""

_ASK_AFTER_S = 2.0  # of silence: servers of others tell every 10 minutes unless asked
_PATROL_S = 0.5
_STOOD_STILL_S = 3 * _PATROL_S
_FRAGMENTS_LIMIT = 1 << 20  # events of one response that came in fragments
_EVERY_WATCH = -1  # the id in an answer to a progress request
_MESSAGE_HEAD = 5

Deliver = Callable[[WatchMessage], None]
Event = tuple[int, Literal["put", "delete"], bytes, bytes]


class Watch:
    """The WatchHandle of the contract."""

    __slots__ = ("created", "created_revision", "deliver", "fragments", "heard", "notified", "number", "stream")

    def __init__(self, stream: WatchStream, number: int, deliver: Deliver, *, notified: bool) -> None:
        self.created_revision = 0
        self.created: AsyncResult[End | None] = AsyncResult()
        self.deliver = deliver
        self.fragments: list[Event] = []
        self.heard = 0.0  # of it, by `monotonic`
        self.notified = notified
        self.number = number
        self.stream = stream

    def cancel(self) -> None:
        self.stream.forget(self)


class WatchStream:
    """A stream and its greenlet. Dead for good once not `open`."""

    def __init__(self, connection: Connection, block: bytes) -> None:
        self.begun = False
        self.deadline = float("inf")
        self._connection = connection
        self._window = connection.stream_window
        self._hub = get_hub()
        self._numbers = count(1)  # we number the watches ourselves, so that no answer can be mistaken
        self._creating: dict[int, Watch] = {}  # in the order of asking
        self._watches: dict[int, Watch] = {}
        self._reader = MessageReader()
        self._halved = False  # it holds the beginning of a message
        self._inbox: list[bytes] = []
        self._inbox_bytes = 0
        self._owed = 0  # bytes received and not yet given back to the stream's window
        self._end: End | None = None
        self._stopped = False
        self._sleeper: Waiter | None = None
        self._patrolled = self._asked = self._heard = monotonic()
        self._number = connection.start(block, self)
        self._clock = self._hub.loop.timer(_PATROL_S, _PATROL_S, ref=False)
        self._clock.start(self._tick)
        gevent.spawn(self._live)

    @property
    def over(self) -> bool:
        """Whether it has ended; one that is not open may still deliver."""
        return self._end is not None

    @property
    def open(self) -> bool:
        """Whether new watches are welcome."""
        return self._end is None and self._connection.open

    @property
    def size(self) -> int:
        return len(self._creating) + len(self._watches)

    def watch(
        self,
        key: bytes,
        range_end: bytes,
        start_revision: int,
        deliver: Deliver,
        timeout_s: float,
        *,
        notified: bool = True,
    ) -> Watch | End:
        """Wait until the server has created it. An End when it refused or did not answer in time.

        With `notified` the server tells of progress by itself, else it is asked, for the whole stream at once.
        """
        began = monotonic()
        watch = Watch(self, next(self._numbers), deliver, notified=notified)
        self._creating[watch.number] = watch
        self._ask(_create(watch.number, key, range_end, start_revision, notified=notified))
        try:
            watch.created.wait(timeout=max(timeout_s, 0))
        finally:
            if not watch.created.ready():
                self.forget(watch)
        if watch.created.ready():
            return watch.created.get() or watch
        if self._connection.pulse.heard < began:
            self._connection.close(f"not a byte in {timeout_s:g} s")  # the next watch must not wait for a dead one
        return End("DEADLINE_EXCEEDED", f"no watch was created within {timeout_s:g} s")

    def forget(self, watch: Watch) -> None:
        """Not another word to it; the server is told."""
        alive = self._watches.pop(watch.number, None) or self._creating.pop(watch.number, None)
        if alive:
            self._ask(_cancel(watch.number))

    def close(self) -> None:
        """All its watches end as stopped."""
        if self._end is None:
            self._stopped = True
            self._connection.cancel(self._number)
            self.end(End("CANCELLED", "the client was closed"))

    # ── in the hub ───────────────────────────────────────────────────────────────────────────────────────────────────

    def data(self, payload: bytes) -> int:
        """In the load path: nearly always a frame is one whole message, and the greenlet is awake or told already."""
        size = len(payload)
        self._owed += size
        if (
            not self._halved
            and payload[:1] == b"\0"
            and int.from_bytes(payload[1:_MESSAGE_HEAD]) == size - _MESSAGE_HEAD
        ):
            self._inbox.append(payload[_MESSAGE_HEAD:])
            self._inbox_bytes += size
        else:
            messages = self._reader.feed(payload)
            self._halved = self._reader.held > 0
            self._inbox_bytes += sum(map(len, messages)) + _MESSAGE_HEAD * len(messages)
            self._inbox.extend(messages)
        if self._owed > self._window:
            raise ProtocolBroken(Code.FLOW_CONTROL_ERROR, "more on a watch stream than its window allows")
        if self._owed - self._inbox_bytes >= self._window // 4:
            self._give_back()
        if self._sleeper:
            self._wake()
        return 0

    def end(self, end: End) -> None:
        self._end = end
        self._wake()

    def _wake(self) -> None:
        """Let the greenlet look, in this turn of the loop, once for all frames of a chunk."""
        if self._sleeper:
            self._hub.loop.run_callback(self._sleeper.switch, None)
            self._sleeper = None

    def _tick(self) -> None:
        """Wake the greenlet when there is something to look after: with many streams most looks find nothing."""
        now = monotonic()
        calm = now - self._patrolled <= _STOOD_STILL_S and now - self._silent_since(now) <= _ASK_AFTER_S
        if not calm:
            self._wake()
        elif self._sleeper:
            self._patrolled = now

    def _silent_since(self, now: float) -> float:
        return min((watch.heard for watch in self._watches.values()), default=now)

    def _give_back(self) -> None:
        """What waits in the inbox stays owed, so a slow reader stops the server; half a message does not."""
        free = self._owed - self._inbox_bytes
        if free >= self._window // 4:
            self._owed -= free
            self._connection.give_back(self._number, free)

    # ── in its own greenlet ──────────────────────────────────────────────────────────────────────────────────────────

    def _live(self) -> None:
        while True:
            while self._inbox:
                self._read_inbox()
            if self._end:
                break
            self._patrol(monotonic())
            if not self._inbox and not self._end:
                self._sleeper = waiter = Waiter(self._hub)
                waiter.get()
        self._clock.stop()
        self._clock.close()
        self._close_all(self._end)

    def _read_inbox(self) -> None:
        """In the load path: a response with events takes the short way to its watch."""
        batch, self._inbox = self._inbox, []
        self._heard = now = monotonic()
        parse, watch_of = pb.WatchResponse.FromString, self._watches.get
        for message in batch:
            self._inbox_bytes -= len(message) + _MESSAGE_HEAD
            try:
                response = parse(message)
            except DecodeError:
                self._give_up("a message that is no WatchResponse")
                return
            watch = watch_of(response.watch_id)
            if (
                watch is None
                or not (events := response.events)
                or response.fragment
                or watch.fragments
                or response.canceled
            ):
                self._read(response, watch, now)
                continue
            watch.heard = now
            self._tell(watch, WatchMessage("events", response.header.revision, _told(events)))
        self._give_back()

    def _read(self, response: pb.WatchResponse, watch: Watch | None, now: float) -> None:
        if watch and response.events:
            watch.heard = now
            self._read_events(watch, response)
        elif response.created:
            self._read_created(response, now)
        elif response.canceled:
            if watch:
                compacted = response.compact_revision
                reason = "compacted" if compacted else "server cancel"
                self._close(watch, reason, response.cancel_reason, compacted)
        elif watch:
            watch.heard = now
            self._tell(watch, WatchMessage("progress", response.header.revision))
        elif response.watch_id == _EVERY_WATCH:
            for each in list(self._watches.values()):
                each.heard = now
                self._tell(each, WatchMessage("progress", response.header.revision))

    def _read_events(self, watch: Watch, response: pb.WatchResponse) -> None:
        """Fragments are merged: events of one revision are not split between messages."""
        events = _told(response.events)
        if response.fragment or watch.fragments:
            watch.fragments += events
            if len(watch.fragments) > _FRAGMENTS_LIMIT:
                self._close(watch, "reset", f"more than {_FRAGMENTS_LIMIT} events in one response")
                self._ask(_cancel(watch.number))
                return
            if response.fragment:
                return
            events, watch.fragments = watch.fragments, []
        self._tell(watch, WatchMessage("events", response.header.revision, events))
        if response.canceled:
            self._close(watch, "server cancel", response.cancel_reason)

    def _read_created(self, response: pb.WatchResponse, now: float) -> None:
        """A refusal may come without our number, but answers come in the order of asking."""
        number = response.watch_id
        if response.canceled and number not in self._creating:
            number = next(iter(self._creating), 0)
        watch = self._creating.pop(number, None)
        if watch is None:
            return  # came too late, and was cancelled then
        if response.canceled:
            watch.created.set(End("CANCELLED", response.cancel_reason))
            return
        watch.heard = now
        watch.created_revision = response.header.revision
        self._watches[number] = watch
        watch.created.set(None)

    def _patrol(self, now: float) -> None:
        """Only with an empty inbox: what was not read yet is no silence. Not at every wake: it looks at all watches."""
        if now - self._patrolled < _PATROL_S / 2:
            return
        before, self._patrolled = self._patrolled, now
        if now - before > _STOOD_STILL_S:  # this process or a slow `deliver` stood still, so silence proves nothing
            self._heard = now
            for watch in self._watches.values():
                watch.heard = now
        silent_since = self._silent_since(now)
        if now - silent_since > PROGRESS_DEADLINE_S:
            self._end_silent(now)
        if now - silent_since > _ASK_AFTER_S < now - self._asked:
            self._asked = now
            self._ask(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    def _end_silent(self, now: float) -> None:
        detail = f"neither event nor progress for {PROGRESS_DEADLINE_S:g} s"
        dead = now - self._heard > PROGRESS_DEADLINE_S
        silent = [
            watch
            for watch in self._watches.values()
            if now - watch.heard > PROGRESS_DEADLINE_S and (watch.notified or dead)
        ]
        for watch in silent:
            self.forget(watch)
        if now - self._connection.pulse.heard > PROGRESS_DEADLINE_S:
            self._connection.close(f"not a byte in {PROGRESS_DEADLINE_S:g} s")
        for watch in silent:
            self._tell(watch, WatchMessage("closed", reason="progress deadline", detail=detail))

    def _give_up(self, why: str) -> None:
        self._connection.cancel(self._number)
        self._inbox.clear()
        self._end = End("INTERNAL", why)

    def _close_all(self, end: End) -> None:
        detail = f"{end.status}: {end.message}"
        reason = "stopped" if self._stopped else "no leader" if "no leader" in end.message else "reset"
        creating, self._creating = list(self._creating.values()), {}
        for watch in creating:
            watch.created.set(end)
        for watch in list(self._watches.values()):
            self._close(watch, reason, detail)

    def _close(self, watch: Watch, reason: str, detail: str, compact_revision: int = 0) -> None:
        if self._watches.pop(watch.number, None):
            closed = WatchMessage("closed", reason=reason, detail=detail, compact_revision=compact_revision)
            self._tell(watch, closed)

    def _tell(self, watch: Watch, message: WatchMessage) -> None:
        try:
            watch.deliver(message)
        except Exception:  # a defect of one receiver must not silence the others
            _log.exception("a watch's receiver failed")

    def _ask(self, request: pb.WatchRequest) -> None:
        if self._end is None:
            self._connection.send(self._number, request.SerializeToString())


def _told(events: Sequence[pb.Event]) -> list[Event]:
    return [((kv := each.kv).mod_revision, "delete" if each.type else "put", kv.key, kv.value) for each in events]


def _create(number: int, key: bytes, range_end: bytes, start_revision: int, *, notified: bool) -> pb.WatchRequest:
    create = pb.WatchCreateRequest(
        key=key,
        range_end=range_end,
        start_revision=start_revision,
        progress_notify=notified,
        watch_id=number,
        fragment=True,
    )
    return pb.WatchRequest(create_request=create)


def _cancel(number: int) -> pb.WatchRequest:
    return pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=number))
