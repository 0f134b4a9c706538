"""etcd's RPCs from the controller: plain unary calls by path, one cached channel for each endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.channels import CHANNEL_OPTIONS

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """One RPC of etcd's public API."""

    path: str
    request: type[Request]
    response: type[Response]


STATUS = Method("/etcdserverpb.Maintenance/Status", pb.StatusRequest, pb.StatusResponse)
MEMBER_LIST = Method("/etcdserverpb.Cluster/MemberList", pb.MemberListRequest, pb.MemberListResponse)
PUT = Method("/etcdserverpb.KV/Put", pb.PutRequest, pb.PutResponse)
COMPACT = Method("/etcdserverpb.KV/Compact", pb.CompactionRequest, pb.CompactionResponse)


class Rpc:
    """Calls any member by its `host:port`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.Channel] = {}
        self._calls: dict[tuple[str, str], Callable[..., object]] = {}
        self._lock = Lock()
        self._closed = False

    def call(
        self, endpoint: str, method: Method[Request, Response], request: Request, timeout_s: float
    ) -> Response | None:
        """The answer, or None when none came in time: a member that is down, refuses or is silent is data."""
        try:
            answer = self._callable(endpoint, method)(request, timeout=timeout_s)
        except (grpc.RpcError, ValueError):  # ValueError: the channel was closed meanwhile
            return None
        assert isinstance(answer, method.response)
        return answer

    def close(self) -> None:
        with self._lock:
            channels, self._channels, self._calls, self._closed = self._channels, {}, {}, True
        for channel in channels.values():
            channel.close()

    def _callable(self, endpoint: str, method: Method[Request, Response]) -> Callable[..., object]:
        with self._lock:
            if self._closed:
                raise ValueError("closed")
            known = self._calls.get((endpoint, method.path))
            if known is None:
                channel = self._channels.get(endpoint)
                if channel is None:
                    channel = self._channels[endpoint] = grpc.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
                known = self._calls[endpoint, method.path] = channel.unary_unary(
                    method.path,
                    request_serializer=method.request.SerializeToString,
                    response_deserializer=method.response.FromString,
                )
            return known
