"""Watches through etcd3's own `Watcher`, with what it keeps to itself: created revisions, server cancels, dead streams.

The Watcher is the library under test and stays as it is. We stand in for its gRPC stub, so every raw response passes
here first, and a stream is used once: after an error the Watcher would open the next one at once and spin while
connections are refused, so the next watch gets a fresh Watcher on a fresh connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Queue
from threading import Event, Lock, Thread
from typing import Any

import grpc
from etcd3 import etcdrpc
from etcd3.events import PutEvent
from etcd3.exceptions import WatchTimedOut
from etcd3.watch import Watcher

from chaoskit.contracts import CallFailed, WatchMessage
from chaoskit.systems.etcd.outcomes import classify

PROGRESS_DEADLINE_S = 4.0
"""A member tells each idle watch of progress every 0.5 s; silent for so long, the stream is dead."""

_GUARD_S = 0.5
_REQUIRE_LEADER = (("hasleader", "true"),)

Deliver = Callable[[WatchMessage], None]


class _StreamEnded(grpc.RpcError):  # type: ignore[misc]
    """The server ended a stream in order; etcd3 only tidies up after an RpcError."""


class Watch:
    """One watch on a stream; the WatchHandle of the contract."""

    def __init__(self, stream: WatchStream, deliver: Deliver) -> None:
        self.created_revision = 0
        self.refusal: str | None = None
        self.seen_s = time.monotonic()
        self.reading = False  # a receiver that takes its time hears nothing meanwhile
        self._stream = stream
        self._deliver = deliver
        self._over = False

    def cancel(self) -> None:
        self._over = True
        self._stream.forget(self)

    def take(self, response: Any) -> None:
        """etcd3's callback. Errors come here too and are left alone: the stream tells of its end itself."""
        if self._over or isinstance(response, Exception):
            return
        revision = response.header.revision
        self.reading = True
        if response.events:
            self._deliver(WatchMessage("events", revision, [_event(event) for event in response.events]))
        else:
            self._deliver(WatchMessage("progress", revision))
        self.seen_s = time.monotonic()
        self.reading = False

    def end(self, reason: str, detail: str, compact_revision: int = 0) -> None:
        if not self._over:
            self._over = True
            message = WatchMessage("closed", reason=reason, detail=detail, compact_revision=compact_revision)
            self._deliver(message)


class WatchStream:
    """One Watch stream on its own connection, with all the watches of a client. Dead for good once `ended`."""

    def __init__(self, etcd: Any) -> None:
        """Takes over `etcd`, a connected etcd3 client, and closes it at the end."""
        self.ended = False
        self._etcd = etcd
        self._stub = etcdrpc.WatchStub(etcd.channel)
        self._watcher = Watcher(self, metadata=_REQUIRE_LEADER)
        # etcd3 takes 10 requests, then waits with its lock held: on a dead stream many cancels would hang for ever
        self._watcher._request_queue = Queue()
        self._opened = False
        self._watches: dict[int, Watch] = {}
        self._pending: Watch | None = None
        self._creating = Lock()  # etcd3 can wait for one creation at a time
        self._over = Event()

    def watch(self, key: bytes, range_end: bytes, start_revision: int, deliver: Deliver, timeout_s: float) -> Watch:
        """Raises CallFailed, WatchTimedOut or RpcError when no watch was created in time."""
        deadline_s = time.monotonic() + timeout_s
        if not self._creating.acquire(timeout=timeout_s):
            raise WatchTimedOut
        try:
            self._pending = watch = Watch(self, deliver)
            self._watcher.timeout = max(deadline_s - time.monotonic(), 0.001)
            self._watcher.add_callback(key, watch.take, range_end or None, start_revision or None, progress_notify=True)
        except WatchTimedOut:
            # etcd3 takes the next created response for the next watch: one that comes late would mix two watches up
            self._end_all("reset", f"a watch was not created within {timeout_s:g} s")
            self._etcd.close()
            raise
        finally:
            self._pending = None
            self._creating.release()
        if watch.refusal is not None:
            raise CallFailed(classify("CANCELLED", watch.refusal), "CANCELLED", watch.refusal)
        return watch

    def forget(self, watch: Watch) -> None:
        """Cancel it at the server too, if the stream lives."""
        for watch_id in [known for known, each in self._watches.items() if each is watch]:
            del self._watches[watch_id]
            self._watcher.cancel(watch_id)

    def close(self) -> None:
        """End the stream without a word to its watches."""
        self._watches.clear()
        self._finish()
        self._etcd.close()

    def Watch(self, requests: Iterator[Any], credentials: Any, metadata: Any) -> Iterator[Any]:  # noqa: N802
        """What etcd3's Watcher calls to open a stream, in its own thread: once, then that thread is let go."""
        if self._opened:
            self._etcd.close()
            raise SystemExit
        self._opened = True
        Thread(target=self._guard, name="watch-guard", daemon=True).start()
        return self._tapped(self._stub.Watch(requests, credentials=credentials, metadata=metadata))

    def _tapped(self, responses: Iterator[Any]) -> Iterator[Any]:
        try:
            for response in responses:
                if response.created:
                    self._note_created(response)
                elif response.canceled:
                    self._note_cancelled(response)
                yield response
        except grpc.RpcError as error:
            detail = f"{error.code().name}: {error.details()}"
            self._end_all("no leader" if "no leader" in detail else "reset", detail)
            raise
        self._end_all("reset", "the server ended the stream")
        raise _StreamEnded

    def _note_created(self, response: Any) -> None:
        watch = self._pending
        if watch is None:
            return  # came too late; etcd3 cancels it
        watch.created_revision = response.header.revision
        watch.seen_s = time.monotonic()
        if response.canceled:
            watch.refusal = response.cancel_reason
        else:
            self._watches[response.watch_id] = watch

    def _note_cancelled(self, response: Any) -> None:
        """etcd3 tells its callback of compactions only; a watch that was cancelled otherwise would hang for ever."""
        watch = self._watches.pop(response.watch_id, None)
        if watch:
            reason = "compacted" if response.compact_revision else "server cancel"
            watch.end(reason, response.cancel_reason, response.compact_revision)

    def _guard(self) -> None:
        looked_s = time.monotonic()
        while not self._over.wait(_GUARD_S):
            before_s, looked_s = looked_s, time.monotonic()
            if (
                looked_s - before_s > 2 * _GUARD_S
            ):  # this process stood still, so silence proves nothing about the member
                for watch in self._watches.values():
                    watch.seen_s = looked_s
            if not any(watch.reading for watch in self._watches.values()) and any(
                looked_s - watch.seen_s > PROGRESS_DEADLINE_S for watch in self._watches.values()
            ):
                self._end_all("progress deadline", f"neither event nor progress for {PROGRESS_DEADLINE_S:g} s")
                self._etcd.close()

    def _end_all(self, reason: str, detail: str) -> None:
        watches, self._watches = list(self._watches.values()), {}
        self._finish()
        for watch in watches:
            watch.end(reason, detail)

    def _finish(self) -> None:
        self.ended = True
        self._over.set()


def _event(event: Any) -> tuple[int, Any, bytes, bytes]:
    kv = event._event.kv  # the attributes of etcd3's event look it up anew each time
    return kv.mod_revision, "put" if isinstance(event, PutEvent) else "delete", kv.key, kv.value
