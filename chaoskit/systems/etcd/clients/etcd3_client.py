"""Calls through the `etcd3` package, one RPC each, with the error that the server really gave.

Importing this needs the environment and the process that `Etcd3Factory` describes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import etcd3
import grpc
from etcd3.exceptions import Etcd3Exception, WatchTimedOut

from chaoskit.contracts import CallFailed, Reply, WatchHandle, WatchMessage
from chaoskit.history import Outcome
from chaoskit.systems.etcd.channels import CHANNEL_OPTIONS
from chaoskit.systems.etcd.clients.etcd3_watch import WatchStream
from chaoskit.systems.etcd.outcomes import classify


class Etcd3Client:
    """One member's client. Calls go over one connection, watches over another that is replaced when it dies."""

    def __init__(self, member: str, endpoint: str) -> None:
        self.member = member
        self._host, _, port = endpoint.rpartition(":")
        self._port = int(port)
        self._etcd = self._dial()
        self._stream: WatchStream | None = None
        self._lock = Lock()

    def put(self, key: bytes, value: bytes, *, lease: int, timeout_s: float) -> Reply:
        with self._calling(timeout_s) as etcd:
            return Reply(revision=etcd.put(key, value, lease or None).header.revision)

    def get(self, key: bytes, *, serializable: bool, timeout_s: float) -> Reply:
        with self._calling(timeout_s) as etcd:
            answer = etcd.get_response(key, serializable=serializable)
        kv = answer.kvs[0] if answer.kvs else None
        return Reply(
            revision=answer.header.revision,
            mod_revision=kv.mod_revision if kv else 0,
            value=kv.value if kv else b"",
            lease=kv.lease if kv else 0,
        )

    def lease_grant(self, ttl_s: int, *, timeout_s: float) -> Reply:
        with self._calling(timeout_s) as etcd:
            lease = etcd.lease(ttl_s)
        return Reply(lease=lease.id, ttl_s=lease.ttl)

    def lease_keepalive(self, lease: int, *, timeout_s: float) -> Reply:
        with self._calling(timeout_s) as etcd:
            answers = etcd.refresh_lease(lease)
            answer = next(answers, None)
            answers.close()
        if answer is None:
            raise CallFailed(Outcome.UNKNOWN, "OK", "the stream ended without an answer")
        return Reply(revision=answer.header.revision, lease=answer.ID, ttl_s=answer.TTL)

    def lease_revoke(self, lease: int, *, timeout_s: float) -> Reply:
        with self._calling(timeout_s) as etcd:
            etcd.revoke_lease(lease)
        return Reply(lease=lease)

    def watch(
        self,
        key: bytes,
        range_end: bytes,
        start_revision: int,
        deliver: Callable[[WatchMessage], None],
        *,
        timeout_s: float,
    ) -> WatchHandle:
        """`deliver` may be called before this returns. Raises CallFailed when no watch was created in time."""
        with self._lock:
            if self._stream is None or self._stream.ended:
                self._stream = WatchStream(self._dial())
            stream = self._stream
        with _failures():
            return stream.watch(key, range_end, start_revision, deliver, timeout_s)

    def close(self) -> None:
        with self._lock:
            if self._stream:
                self._stream.close()
        self._etcd.close()

    def _dial(self) -> Any:
        return etcd3.client(self._host, self._port, grpc_options=CHANNEL_OPTIONS)

    @contextmanager
    def _calling(self, timeout_s: float) -> Iterator[Any]:
        """etcd3 has one timeout for a whole client, read when a call begins: no greenlet can switch in between."""
        self._etcd.timeout = timeout_s
        with _failures():
            yield self._etcd


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (grpc.RpcError, Etcd3Exception, ValueError) as error:
        raise _call_failed(error) from error


def _call_failed(error: Exception) -> CallFailed:
    """etcd3 raises classes without status or message; the RpcError that had both is what it was handling."""
    rpc = error if isinstance(error, grpc.RpcError) else error.__context__
    if isinstance(rpc, grpc.RpcError):
        status, message = rpc.code().name, rpc.details() or ""
    elif isinstance(error, WatchTimedOut):
        status, message = "DEADLINE_EXCEEDED", "the watch was not created in time"
    else:
        status, message = "CANCELLED", str(error)  # gRPC's ValueError for a call on a closed channel
    return CallFailed(classify(status, message), status, message)
