"""etcd's RPCs from the controller: unary calls by path, one cached channel an endpoint, a token where it is wanted."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from chaoskit.access import PLAIN, Access
from chaoskit.errors import InfrastructureError
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
RANGE = Method("/etcdserverpb.KV/Range", pb.RangeRequest, pb.RangeResponse)
PUT = Method("/etcdserverpb.KV/Put", pb.PutRequest, pb.PutResponse)
DELETE_RANGE = Method("/etcdserverpb.KV/DeleteRange", pb.DeleteRangeRequest, pb.DeleteRangeResponse)
TXN = Method("/etcdserverpb.KV/Txn", pb.TxnRequest, pb.TxnResponse)
COMPACT = Method("/etcdserverpb.KV/Compact", pb.CompactionRequest, pb.CompactionResponse)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeRequest, pb.LeaseRevokeResponse)
TIME_TO_LIVE = Method("/etcdserverpb.Lease/LeaseTimeToLive", pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse)
AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", pb.AuthenticateRequest, pb.AuthenticateResponse)

_STALE_TOKENS = ("invalid auth token", "revision of auth store is old")


class RpcFailed(Exception):
    """A call that was not acknowledged: gRPC's status and the message of whoever refused."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Rpc:
    """Calls any member by its `host:port`. Safe to use from several threads."""

    def __init__(self, access: Access = PLAIN) -> None:
        self._access = access
        self._channels: dict[str, grpc.Channel] = {}
        self._calls: dict[tuple[str, str], Callable[..., object]] = {}
        self._lock = Lock()
        self._closed = False
        self._token = ""
        self._authenticating = Lock()

    def call(
        self, endpoint: str, method: Method[Request, Response], request: Request, timeout_s: float
    ) -> Response | None:
        """The answer, or None when none came in time: a member that is down, refuses or is silent is data."""
        try:
            return self.ask(endpoint, method, request, timeout_s)
        except RpcFailed:
            return None

    def ask(self, endpoint: str, method: Method[Request, Response], request: Request, timeout_s: float) -> Response:
        """The answer. Raises RpcFailed. A token that has expired is replaced; the call was not carried out then."""
        try:
            return self._ask(endpoint, method, request, timeout_s)
        except RpcFailed as failed:
            if not self._token or not failed.message.endswith(_STALE_TOKENS):
                raise
        self._token = ""
        return self._ask(endpoint, method, request, timeout_s)

    def token(self, endpoint: str, timeout_s: float) -> str:
        """What proves who we are; "" without a user. Raises RpcFailed."""
        if not self._access.user or self._token:
            return self._token
        with self._authenticating:
            if not self._token:
                try:
                    password = self._access.password()
                except InfrastructureError as error:
                    raise RpcFailed("UNAUTHENTICATED", str(error)) from error
                request = pb.AuthenticateRequest(name=self._access.user, password=password)
                self._token = self._send(endpoint, AUTHENTICATE, request, timeout_s, ()).token
            return self._token

    def close(self) -> None:
        with self._lock:
            channels, self._channels, self._calls, self._closed = self._channels, {}, {}, True
        for channel in channels.values():
            channel.close()

    def _ask(self, endpoint: str, method: Method[Request, Response], request: Request, timeout_s: float) -> Response:
        token = self.token(endpoint, timeout_s)
        return self._send(endpoint, method, request, timeout_s, (("token", token),) if token else ())

    def _send(
        self,
        endpoint: str,
        method: Method[Request, Response],
        request: Request,
        timeout_s: float,
        metadata: tuple[tuple[str, str], ...],
    ) -> Response:
        try:
            answer = self._callable(endpoint, method)(request, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            raise RpcFailed(error.code().name, error.details() or "") from error
        except ValueError as error:  # the channel was closed meanwhile
            raise RpcFailed("CANCELLED", str(error)) from error
        assert isinstance(answer, method.response)
        return answer

    def _callable(self, endpoint: str, method: Method[Request, Response]) -> Callable[..., object]:
        with self._lock:
            if self._closed:
                raise ValueError("closed")
            known = self._calls.get((endpoint, method.path))
            if known is None:
                channel = self._channels.get(endpoint)
                if channel is None:
                    channel = self._channels[endpoint] = self._channel(endpoint)
                known = self._calls[endpoint, method.path] = channel.unary_unary(
                    method.path,
                    request_serializer=method.request.SerializeToString,
                    response_deserializer=method.response.FromString,
                )
            return known

    def _channel(self, endpoint: str) -> grpc.Channel:
        access = self._access
        if not access.tls:
            return grpc.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
        roots = access.cacert or ssl.get_default_verify_paths().cafile  # gRPC would take its own list
        credentials = grpc.ssl_channel_credentials(_bytes(roots), _bytes(access.key), _bytes(access.cert))
        name = ("grpc.ssl_target_name_override", access.server_name(endpoint))
        return grpc.secure_channel(endpoint, credentials, options=(*CHANNEL_OPTIONS, name))


def _bytes(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None
