"""A gRPC proxy in front of one real etcd member that lies about watch events on purpose, and keeps count of its lies.

It exists to test the checkers: what it drops, repeats or reorders must be counted exactly.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from chaoskit.systems.etcd import rpc_pb2

_STREAMS = {"/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"}


@dataclass
class Lies:
    """Every n-th event of a watch is treated so; 0 is never. Counted over all watches."""

    drop_every: int = 0
    repeat_every: int = 0
    swap_every: int = 0
    told: dict[str, int] = field(default_factory=lambda: {"drop": 0, "repeat": 0, "swap": 0})


class LyingProxy:
    """`with LyingProxy("127.0.0.1:2379", Lies(drop_every=50)) as address:` serves on a free loopback port."""

    def __init__(self, upstream: str, lies: Lies) -> None:
        self._channel = grpc.insecure_channel(upstream, options=[("grpc.enable_http_proxy", 0)])
        self._lies = lies
        self._lock = threading.Lock()
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
            return self._channel.unary_unary(method)(request, timeout=context.time_remaining() or 10)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
            raise

    def stream(self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        call = self._channel.stream_stream(method)(requests, metadata=_metadata(context))
        context.add_callback(call.cancel)
        try:
            yield from _Liar(self._lies, self._lock).watch(call) if method.endswith("/Watch") else call
        except grpc.RpcError as error:
            if context.is_active():
                context.abort(error.code(), error.details())


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
