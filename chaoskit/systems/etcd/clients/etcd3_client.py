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

from chaoskit.access import PLAIN, Access
from chaoskit.contracts import CallFailed, Reply, WatchHandle, WatchMessage
from chaoskit.history import Outcome
from chaoskit.systems.etcd.channels import CHANNEL_OPTIONS
from chaoskit.systems.etcd.clients.etcd3_watch import WatchStream
from chaoskit.systems.etcd.outcomes import classify


class Etcd3Client:
    """One member's client. Calls go over one connection, watches over others that are replaced when they die."""

    def __init__(
        self, member: str, endpoint: str, access: Access = PLAIN, options: tuple[tuple[str, int], ...] = ()
    ) -> None:
        """`options` are further ones of its gRPC channels."""
        self.member = member
        self._secure = _secure(access, endpoint)
        self._secure["grpc_options"] = (*self._secure["grpc_options"], *options)
        self._host, _, port = endpoint.rpartition(":")
        self._port = int(port)
        self._etcd = self._dial()
        self._streams: dict[int | None, WatchStream] = {}
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

    def range(
        self, key: bytes, range_end: bytes, *, limit: int, revision: int, serializable: bool, timeout_s: float
    ) -> Reply:
        """etcd3 takes a limit and a revision and forgets them, so the request is finished here."""
        with self._calling(timeout_s) as etcd:
            request = etcd._build_get_range_request(key, range_end, serializable=serializable)
            request.limit, request.revision = limit, revision
            answer = etcd.kvstub.Range(request, timeout_s, credentials=etcd.call_credentials, metadata=etcd.metadata)
        kvs = tuple((kv.key, kv.mod_revision, kv.value) for kv in answer.kvs)
        return Reply(revision=answer.header.revision, count=answer.count, more=answer.more, kvs=kvs)

    def delete(self, key: bytes, *, timeout_s: float) -> Reply:
        with self._calling(timeout_s) as etcd:
            answer = etcd.delete(key, return_response=True)
        return Reply(revision=answer.header.revision, count=answer.deleted)

    def compare_and_swap(self, key: bytes, value: bytes, *, mod_revision: int, timeout_s: float) -> Reply:
        """`transaction` of etcd3 keeps the revision of the answer to itself; the request is what it would send."""
        ops = etcd3.transactions
        with self._calling(timeout_s) as etcd:
            request = etcd3.etcdrpc.TxnRequest(
                compare=[(ops.Mod(key) == mod_revision).build_message()],
                success=etcd._ops_to_requests([ops.Put(key, value)]),
                failure=etcd._ops_to_requests([ops.Get(key)]),
            )
            answer = etcd.kvstub.Txn(request, timeout_s, credentials=etcd.call_credentials, metadata=etcd.metadata)
        found = [kv for each in answer.responses for kv in each.response_range.kvs]
        if not found:
            return Reply(revision=answer.header.revision, succeeded=answer.succeeded)
        return Reply(answer.header.revision, found[0].mod_revision, found[0].value, found[0].lease)

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
        stream: int | None = None,
    ) -> WatchHandle:
        """`deliver` may be called before this returns. Raises CallFailed when no watch was created in time.

        Each stream is a connection of its own; watches without a number share one.
        """
        with self._lock:
            found = self._streams.get(stream)
            if found is None or found.ended:
                found = self._streams[stream] = WatchStream(self._dial())
        with _failures():
            return found.watch(key, range_end, start_revision, deliver, timeout_s)

    def close(self) -> None:
        with self._lock:
            for stream in self._streams.values():
                stream.close()
        self._etcd.close()

    def _dial(self) -> Any:
        return etcd3.client(self._host, self._port, **self._secure)

    @contextmanager
    def _calling(self, timeout_s: float) -> Iterator[Any]:
        """etcd3 has one timeout for a whole client, read when a call begins: no greenlet can switch in between."""
        self._etcd.timeout = timeout_s
        with _failures():
            yield self._etcd


def _secure(access: Access, endpoint: str) -> dict[str, Any]:
    """Arguments of `etcd3.client`."""
    if not access.tls:
        return {"grpc_options": CHANNEL_OPTIONS}
    name = ("grpc.ssl_target_name_override", access.server_name(endpoint))
    return {
        "ca_cert": access.cacert,
        "cert_cert": access.cert or None,
        "cert_key": access.key or None,
        "grpc_options": (*CHANNEL_OPTIONS, name),
    }


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
