"""The audit watcher of one member: everything below a prefix, from one revision on, whatever happens to it.

Ground truth for the watch and linearizability checkers, so it never skips quietly: after a dead stream it goes on at
the next revision, and what the server has compacted meanwhile is recorded as a gap.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock, Thread

from chaoskit.access import PLAIN, Access
from chaoskit.errors import InfrastructureError
from chaoskit.history import LogEvent, LogGap
from chaoskit.history.records import value_id
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.rpc import RpcFailed
from chaoskit.systems.etcd.stream import MessageStream, StreamEnded

PROGRESS_DEADLINE_S = 5.0
"""A member tells of progress every 0.5 s (`member.PROGRESS_INTERVAL`); silent for so long, the stream is dead."""

_CONNECT_S = 2.0
_BACKOFF_S = 0.2
_GATHER_S = 0.004  # a nap after each read, so that one wake-up serves several events; `seen_ns` is late by as much
_CLOSE_S = 10.0

Record = Callable[[LogEvent | LogGap], None]


class EtcdAudit:
    """Runs in a thread of its own, from construction until `close`. `record` is called from that thread."""

    def __init__(
        self,
        member: str,
        endpoint: str,
        prefix: str,
        record: Record,
        *,
        after: int = 0,
        access: Access = PLAIN,
        token: Callable[[str, float], str] = lambda _endpoint, _timeout_s: "",
    ) -> None:
        """`token` is asked for a new one before each stream, as an old one may have expired; it may raise RpcFailed."""
        self.revision = after
        """All events up to here were recorded, or are none of ours."""
        self._access = access
        self._token = token
        self._member = member
        self._endpoint = endpoint
        self._prefix = prefix.encode()
        self._record = record
        self._closing = Event()
        self._stream: MessageStream | None = None
        self._lock = Lock()  # a stream must not open behind the back of `close`
        self._thread = Thread(target=self._run, name=f"audit-{member}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; nothing is recorded afterwards. Idempotent."""
        self._closing.set()
        with self._lock:
            if self._stream:
                self._stream.shut()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
            except (OSError, StreamEnded, RpcFailed, InfrastructureError):
                self._closing.wait(_BACKOFF_S)

    def _follow(self) -> None:
        request = pb.WatchRequest(create_request=self._create_request()).SerializeToString()
        stream = MessageStream(
            self._endpoint,
            "/etcdserverpb.Watch/Watch",
            request,
            connect_s=_CONNECT_S,
            idle_s=PROGRESS_DEADLINE_S,
            access=self._access,
            token=self._token(self._endpoint, _CONNECT_S),
        )
        with self._lock:
            self._stream = stream
        try:
            while not self._closing.is_set():
                messages = stream.read()
                seen_ns = time.monotonic_ns()
                for message in messages:
                    self._take(pb.WatchResponse.FromString(message), seen_ns)
                time.sleep(_GATHER_S)
        finally:
            with self._lock:
                self._stream = None
            stream.close()

    def _create_request(self) -> pb.WatchCreateRequest:
        return pb.WatchCreateRequest(
            key=self._prefix or b"\0",
            range_end=end_of(self._prefix),
            start_revision=self.revision + 1,
            progress_notify=True,
        )

    def _take(self, response: pb.WatchResponse, seen_ns: int) -> None:
        if response.events:
            for event in response.events:
                self._record(_log_event(self._member, event.kv, bool(event.type), seen_ns))
            self.revision = response.events[-1].kv.mod_revision
        elif response.canceled:
            self._skip_compacted(response)
        elif not response.created:
            self.revision = max(self.revision, response.header.revision)

    def _skip_compacted(self, response: pb.WatchResponse) -> None:
        first, last = self.revision + 1, response.compact_revision - 1
        if last >= first:
            self._record(LogGap(self._member, first, last, "compacted"))
            self.revision = last
        raise StreamEnded(response.cancel_reason or "the server cancelled the watch")


def _log_event(member: str, kv: pb.KeyValue, deleted: bool, seen_ns: int) -> LogEvent:
    return LogEvent(
        member=member,
        revision=kv.mod_revision,
        type="delete" if deleted else "put",
        key=kv.key.decode("ascii", "replace"),
        value=value_id(kv.value),
        lease=kv.lease,
        seen_ns=seen_ns,
    )


def end_of(prefix: bytes) -> bytes:
    """The end of the range of keys that begin with `prefix`; a zero byte, etcd's "no end", for none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else b"\0"
