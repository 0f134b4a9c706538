"""A client as a Python user would write it with grpcio under gevent: what our clients are compared with, and no part of
chaoskit.

    EVERY_CLIENT["grpcio"]().connect("n1", "127.0.0.1:2379")     # in a gevent-patched process
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, ClassVar

import gevent
import grpc
from gevent.event import AsyncResult
from gevent.queue import Queue
from grpc.experimental.gevent import init_gevent

from chaoskit.contracts import CallFailed, Client, ClientFactory, Reply, WatchHandle, WatchMessage
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.channels import CHANNEL_OPTIONS
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.systems.etcd.outcomes import classify

PROGRESS_DEADLINE_S = 4.0

_REQUIRE_LEADER = (("hasleader", "true"),)


class GrpcioFactory:
    """For processes that gevent has patched."""

    name = "grpcio"
    environment: ClassVar[Mapping[str, str]] = {}

    def connect(self, member: str, endpoint: str) -> Client:
        init_gevent()
        return GrpcioClient(member, endpoint)


EVERY_CLIENT: dict[str, Callable[[], ClientFactory]] = {**CLIENTS, "grpcio": GrpcioFactory}


class GrpcioClient:
    """One channel; each call is one RPC, each watch a stream of its own."""

    def __init__(self, member: str, endpoint: str) -> None:
        self.member = member
        self._channel = grpc.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
        self._watches: set[_Watch] = set()
        self._put = self._unary("KV/Put", pb.PutResponse)
        self._range = self._unary("KV/Range", pb.RangeResponse)
        self._delete = self._unary("KV/DeleteRange", pb.DeleteRangeResponse)
        self._txn = self._unary("KV/Txn", pb.TxnResponse)
        self._grant = self._unary("Lease/LeaseGrant", pb.LeaseGrantResponse)
        self._revoke = self._unary("Lease/LeaseRevoke", pb.LeaseRevokeResponse)
        self._keepalive = self._stream("Lease/LeaseKeepAlive", pb.LeaseKeepAliveResponse)
        self._watch = self._stream("Watch/Watch", pb.WatchResponse)

    def _unary(self, name: str, response: Any) -> Any:
        return self._channel.unary_unary(
            f"/etcdserverpb.{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def _stream(self, name: str, response: Any) -> Any:
        return self._channel.stream_stream(
            f"/etcdserverpb.{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=response.FromString,
        )

    def put(self, key: bytes, value: bytes, *, lease: int, timeout_s: float) -> Reply:
        answer = _answer(lambda: self._put(pb.PutRequest(key=key, value=value, lease=lease), timeout=timeout_s))
        return Reply(revision=answer.header.revision)

    def get(self, key: bytes, *, serializable: bool, timeout_s: float) -> Reply:
        request = pb.RangeRequest(key=key, serializable=serializable)
        answer = _answer(lambda: self._range(request, timeout=timeout_s))
        if not answer.kvs:
            return Reply(revision=answer.header.revision)
        kv = answer.kvs[0]
        return Reply(answer.header.revision, kv.mod_revision, kv.value, kv.lease)

    def range(
        self, key: bytes, range_end: bytes, *, limit: int, revision: int, serializable: bool, timeout_s: float
    ) -> Reply:
        request = pb.RangeRequest(
            key=key, range_end=range_end, limit=limit, revision=revision, serializable=serializable
        )
        answer = _answer(lambda: self._range(request, timeout=timeout_s))
        kvs = tuple((kv.key, kv.mod_revision, kv.value) for kv in answer.kvs)
        return Reply(revision=answer.header.revision, count=answer.count, more=answer.more, kvs=kvs)

    def delete(self, key: bytes, *, timeout_s: float) -> Reply:
        answer = _answer(lambda: self._delete(pb.DeleteRangeRequest(key=key), timeout=timeout_s))
        return Reply(revision=answer.header.revision, count=answer.deleted)

    def compare_and_swap(self, key: bytes, value: bytes, *, mod_revision: int, timeout_s: float) -> Reply:
        request = pb.TxnRequest(
            compare=[pb.Compare(target=pb.Compare.MOD, key=key, mod_revision=mod_revision)],
            success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))],
            failure=[pb.RequestOp(request_range=pb.RangeRequest(key=key))],
        )
        answer = _answer(lambda: self._txn(request, timeout=timeout_s))
        found = [kv for each in answer.responses for kv in each.response_range.kvs]
        if not found:
            return Reply(revision=answer.header.revision, succeeded=answer.succeeded)
        return Reply(answer.header.revision, found[0].mod_revision, found[0].value, found[0].lease)

    def lease_grant(self, ttl_s: int, *, timeout_s: float) -> Reply:
        answer = _answer(lambda: self._grant(pb.LeaseGrantRequest(TTL=ttl_s), timeout=timeout_s))
        return Reply(revision=answer.header.revision, lease=answer.ID, ttl_s=answer.TTL)

    def lease_keepalive(self, lease: int, *, timeout_s: float) -> Reply:
        request = pb.LeaseKeepAliveRequest(ID=lease)
        answer = _answer(lambda: next(self._keepalive(iter((request,)), timeout=timeout_s)))
        return Reply(revision=answer.header.revision, lease=answer.ID, ttl_s=answer.TTL)

    def lease_revoke(self, lease: int, *, timeout_s: float) -> Reply:
        answer = _answer(lambda: self._revoke(pb.LeaseRevokeRequest(ID=lease), timeout=timeout_s))
        return Reply(revision=answer.header.revision, lease=lease)

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
        """On a stream of its own, whichever was asked for."""
        create = pb.WatchCreateRequest(
            key=key, range_end=range_end, start_revision=start_revision, progress_notify=True, fragment=True
        )
        watch = _Watch(self._watch, create, deliver, self._watches)
        trouble = watch.created.wait(timeout_s)
        if watch.created_revision:
            return watch
        watch.cancel()
        if trouble is None:
            raise CallFailed(classify("DEADLINE_EXCEEDED", ""), "DEADLINE_EXCEEDED", "no watch in time")
        status, message = trouble
        raise CallFailed(classify(status, message), status, message)

    def close(self) -> None:
        for watch in list(self._watches):
            watch.cancel()
        self._channel.close()


class _Watch:
    """One watch on one stream. `created` gets ("", "") or why there is none."""

    def __init__(
        self, open_: Any, create: pb.WatchCreateRequest, deliver: Callable[[WatchMessage], None], kept: set[_Watch]
    ) -> None:
        self.created_revision = 0
        self.created: AsyncResult[tuple[str, str]] = AsyncResult()
        self._deliver = deliver
        self._over = False
        self._silent = False
        self._parts: list[Any] = []
        self._seen_s = monotonic()
        self._requests: Queue[pb.WatchRequest | None] = Queue()
        self._requests.put(pb.WatchRequest(create_request=create))
        self._call = open_(iter(self._requests.get, None), metadata=_REQUIRE_LEADER)
        self._kept = kept
        kept.add(self)
        gevent.spawn(self._read)
        gevent.spawn(self._guard)

    def cancel(self) -> None:
        self._over = True
        self._end()

    def _end(self) -> None:
        self._kept.discard(self)
        self._requests.put(None)
        self._call.cancel()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._seen_s = monotonic()
                self._take(response)
        except grpc.RpcError as error:
            status, message = error.code().name, error.details() or ""
            reason = "progress deadline" if self._silent else "no leader" if "no leader" in message else "reset"
            self._close(reason, f"{status}: {message}")
            self.created.set((status, message))
        else:
            self._close("reset", "the server ended the stream")
            self.created.set(("UNAVAILABLE", "the server ended the stream"))

    def _take(self, response: pb.WatchResponse) -> None:
        revision = response.header.revision
        if response.created and not response.canceled:
            self.created_revision = revision
            self.created.set(("", ""))
        elif response.created:
            self.created.set(("CANCELLED", response.cancel_reason))
        elif response.canceled:
            reason = "compacted" if response.compact_revision else "server cancel"
            self._close(reason, response.cancel_reason, response.compact_revision)
        elif not response.events:
            self._tell(WatchMessage("progress", revision))
        else:
            self._parts += response.events
            if not response.fragment:
                events, self._parts = self._parts, []
                self._tell(WatchMessage("events", revision, [_event(each) for each in events]))

    def _tell(self, message: WatchMessage) -> None:
        if not self._over:
            self._deliver(message)

    def _close(self, reason: str, detail: str, compact_revision: int = 0) -> None:
        if self.created_revision:
            self._tell(WatchMessage("closed", reason=reason, detail=detail, compact_revision=compact_revision))
        self._over = True
        self._end()

    def _guard(self) -> None:
        while not self._over:
            gevent.sleep(0.5)
            if monotonic() - self._seen_s > PROGRESS_DEADLINE_S:
                self._silent = True
                self._call.cancel()
                return


def _event(event: Any) -> tuple[int, Any, bytes, bytes]:
    return event.kv.mod_revision, "delete" if event.type else "put", event.kv.key, event.kv.value


def _answer(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except grpc.RpcError as error:
        status, message = error.code().name, error.details() or ""
        raise CallFailed(classify(status, message), status, message) from error
    except ValueError as error:  # the channel is closed
        raise CallFailed(classify("CANCELLED", ""), "CANCELLED", str(error)) from error
