"""A gRPC proxy in front of one real etcd member that lies about events and answers on purpose, and counts its lies.

It exists to test the checkers: what it drops, repeats or reorders must be counted exactly.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from chaoskit.systems.etcd import rpc_pb2

READ_HELD_S = 0.03
"""How long a key that was read is held back, so that others write it before the reader's transaction comes."""

_STREAMS = {"/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"}


@dataclass
class Lies:
    """Every n-th event of a watch, or answer of a kind, is treated so; 0 is never. Counted over all."""

    drop_every: int = 0
    repeat_every: int = 0
    swap_every: int = 0
    miss_every: int = 0  # a page lacks its first key
    stale_every: int = 0  # a page has the keys of an earlier answer to the same question, and the newest revision
    undone_every: int = 0  # a delete is said to be done and is not
    forced_every: int = 0  # a transaction whose guard did not hold is said to have written
    told: Counter[str] = field(default_factory=Counter)


class LyingProxy:
    """`with LyingProxy("127.0.0.1:2379", Lies(drop_every=50)) as address:` serves on a free loopback port."""

    def __init__(self, upstream: str, lies: Lies) -> None:
        self._channel = grpc.insecure_channel(upstream, options=[("grpc.enable_http_proxy", 0)])
        self._lies = lies
        self._lock = threading.Lock()
        self._teller = _Teller(lies)
        self._server = grpc.server(ThreadPoolExecutor(64), handlers=[_Handler(self)])
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> str:
        self._server.start()
        return f"127.0.0.1:{self._port}"

    def __exit__(self, *_: object) -> None:
        self._server.stop(0.5).wait()
        self._channel.close()

    def unary(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return self._teller.answer(method, request, lambda asked: self._ask(method, asked, context))
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
            raise

    def _ask(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        return self._channel.unary_unary(method)(request, timeout=context.time_remaining() or 10)

    def stream(self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        call = self._channel.stream_stream(method)(requests, metadata=_metadata(context))
        context.add_callback(call.cancel)
        try:
            yield from _Liar(self._lies, self._lock).watch(call) if method.endswith("/Watch") else call
        except grpc.RpcError as error:
            if context.is_active():
                context.abort(error.code(), error.details())


class _Teller:
    """The lies in answers. A lie that would tell the truth is not told."""

    def __init__(self, lies: Lies) -> None:
        self._lies = lies
        self._lock = threading.Lock()  # so that counts are exact; etcd answers in less time than the load asks
        self._seen: Counter[str] = Counter()
        self._pages: dict[bytes, Any] = {}

    def answer(self, method: str, request: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        kind = method.rpartition("/")[2]
        twist = {"Range": self._page, "DeleteRange": self._delete, "Txn": self._txn}.get(kind)
        if twist is None:
            return ask(request)
        with self._lock:
            answer = twist(request, ask)
        if kind == "Range" and not rpc_pb2.RangeRequest.FromString(request).limit:
            time.sleep(READ_HELD_S)
        return answer

    def _page(self, request: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        answer = rpc_pb2.RangeResponse.FromString(ask(request))
        asked = rpc_pb2.RangeRequest.FromString(request)
        if not asked.limit:
            return answer.SerializeToString()
        old = self._pages.setdefault(request, rpc_pb2.RangeResponse.FromString(answer.SerializeToString()))
        if answer.kvs and self._due("miss", self._lies.miss_every):
            del answer.kvs[0]
        elif not asked.revision and list(old.kvs) != list(answer.kvs) and self._due("stale", self._lies.stale_every):
            old.header.CopyFrom(answer.header)
            return old.SerializeToString()
        return answer.SerializeToString()

    def _delete(self, request: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        if not self._due("undone", self._lies.undone_every):
            return ask(request)
        empty = rpc_pb2.DeleteRangeRequest(key=b"/nothing/of/this/name").SerializeToString()
        answer = rpc_pb2.DeleteRangeResponse.FromString(ask(empty))
        answer.deleted = 1
        return answer.SerializeToString()

    def _txn(self, request: bytes, ask: Callable[[bytes], bytes]) -> bytes:
        answer = rpc_pb2.TxnResponse.FromString(ask(request))
        if not answer.succeeded and self._due("forced", self._lies.forced_every):
            answer.succeeded = True
            del answer.responses[:]
            answer.responses.add().response_put.header.CopyFrom(answer.header)
        return answer.SerializeToString()

    def _due(self, lie: str, every: int) -> bool:
        self._seen[lie] += 1
        due = every > 0 and self._seen[lie] % every == 0
        self._lies.told[lie] += due
        return due


class _Liar:
    """The lies on one stream; each watch id counts its own events."""

    def __init__(self, lies: Lies, lock: threading.Lock) -> None:
        self._lies = lies
        self._lock = lock
        self._seen: dict[int, int] = {}
        self._held: dict[int, Any] = {}  # an event that waits for the next one to overtake it

    def watch(self, responses: Iterator[bytes]) -> Iterator[bytes]:
        for raw in responses:
            response = rpc_pb2.WatchResponse.FromString(raw)
            if response.events:
                yield from self._one_response_each(response)
            elif response.watch_id not in self._held or response.created or response.canceled:
                yield raw  # a progress notification that overtook a held event would be a second lie

    def _one_response_each(self, response: Any) -> Iterator[bytes]:
        for event in response.events:
            for told in self._twisted(response.watch_id, event):
                yield rpc_pb2.WatchResponse(
                    header=response.header, watch_id=response.watch_id, events=[told]
                ).SerializeToString()

    def _twisted(self, watch_id: int, event: Any) -> list[Any]:
        if watch_id in self._held:
            return [event, self._held.pop(watch_id)]
        seen = self._seen[watch_id] = self._seen.get(watch_id, 0) + 1
        if self._due(self._lies.drop_every, seen):
            self._count("drop")
            return []
        if self._due(self._lies.swap_every, seen):
            self._count("swap")
            self._held[watch_id] = event
            return []
        if self._due(self._lies.repeat_every, seen):
            self._count("repeat")
            return [event, event]
        return [event]

    @staticmethod
    def _due(every: int, seen: int) -> bool:
        return every > 0 and seen % every == 0

    def _count(self, lie: str) -> None:
        with self._lock:
            self._lies.told[lie] += 1


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, proxy: LyingProxy) -> None:
        self._proxy = proxy

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method
        if method in _STREAMS:
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._proxy.stream(method, requests, context)
            )
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._proxy.unary(method, request, context))


def _metadata(context: grpc.ServicerContext) -> list[tuple[str, str]]:
    return [(key, value) for key, value in context.invocation_metadata() if key == "hasleader"]
