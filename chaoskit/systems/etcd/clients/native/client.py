"""The native client: every call one HTTP/2 stream, nothing behind it. See `contracts.Client`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TypeVar

import gevent
from gevent.lock import BoundedSemaphore
from google.protobuf.message import DecodeError, Message

from chaoskit.contracts import CallFailed, Reply, WatchHandle, WatchMessage
from chaoskit.history import Outcome
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.clients.native.channel import Channel
from chaoskit.systems.etcd.clients.native.connection import Connection
from chaoskit.systems.etcd.clients.native.headers import End
from chaoskit.systems.etcd.clients.native.methods import Method, put_request, range_request
from chaoskit.systems.etcd.clients.native.settings import ConnectionSettings
from chaoskit.systems.etcd.clients.native.watch import WatchStream
from chaoskit.systems.etcd.outcomes import classify

_REQUIRE_LEADER = (("hasleader", "true"),)
Answer = TypeVar("Answer", bound=Message)

_STALE_TOKENS = ("invalid auth token", "revision of auth store is old")


class NativeClient:
    """One member's client, for greenlets of one hub."""

    def __init__(self, member: str, endpoint: str, settings: ConnectionSettings) -> None:
        self.member = member
        self._settings = settings
        self._channel = Channel(endpoint, settings.tls)
        self._token = ""
        self._authenticating = BoundedSemaphore(1)
        self._streams: list[WatchStream] = []
        named = partial(Method, authority=endpoint, tls=settings.tls is not None)
        self._put, self._range = named("KV/Put"), named("KV/Range")
        self._grant, self._revoke = named("Lease/LeaseGrant"), named("Lease/LeaseRevoke")
        self._keepalive = named("Lease/LeaseKeepAlive")
        self._watch = named("Watch/Watch", metadata=_REQUIRE_LEADER)
        self._authenticate = named("Auth/Authenticate")
        self._methods = (self._put, self._range, self._grant, self._revoke, self._keepalive, self._watch)

    def put(self, key: bytes, value: bytes, *, lease: int, timeout_s: float) -> Reply:
        request = put_request(key, value, lease)
        answer = self._call(self._put, request, timeout_s, pb.PutResponse)
        return Reply(revision=answer.header.revision)

    def get(self, key: bytes, *, serializable: bool, timeout_s: float) -> Reply:
        request = range_request(key, serializable)
        answer = self._call(self._range, request, timeout_s, pb.RangeResponse)
        if not answer.kvs:
            return Reply(revision=answer.header.revision)
        kv = answer.kvs[0]
        return Reply(answer.header.revision, kv.mod_revision, kv.value, kv.lease)

    def lease_grant(self, ttl_s: int, *, timeout_s: float) -> Reply:
        request = pb.LeaseGrantRequest(TTL=ttl_s).SerializeToString()
        answer = self._call(self._grant, request, timeout_s, pb.LeaseGrantResponse)
        return Reply(revision=answer.header.revision, lease=answer.ID, ttl_s=answer.TTL)

    def lease_keepalive(self, lease: int, *, timeout_s: float) -> Reply:
        """A stream of its own for each, so that it has a deadline and a status like any call."""
        request = pb.LeaseKeepAliveRequest(ID=lease).SerializeToString()
        answer = self._call(self._keepalive, request, timeout_s, pb.LeaseKeepAliveResponse)
        return Reply(revision=answer.header.revision, lease=answer.ID, ttl_s=answer.TTL)

    def lease_revoke(self, lease: int, *, timeout_s: float) -> Reply:
        request = pb.LeaseRevokeRequest(ID=lease).SerializeToString()
        answer = self._call(self._revoke, request, timeout_s, pb.LeaseRevokeResponse)
        return Reply(revision=answer.header.revision, lease=lease)

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
        connection, left_s = self._connected(timeout_s)
        created = self._stream(connection).watch(key, range_end, start_revision, deliver, left_s)
        if isinstance(created, End):
            raise self._failed(created)
        return created

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._channel.close()

    def _stream(self, connection: Connection) -> WatchStream:
        """One with room, or a new one."""
        self._streams = [stream for stream in self._streams if not stream.over]
        for stream in self._streams:
            if stream.open and stream.size < self._settings.watches_per_stream:
                return stream
        self._streams.append(WatchStream(connection, self._watch.endless))
        return self._streams[-1]

    def _call(self, method: Method, request: bytes, timeout_s: float, answers: type[Answer]) -> Answer:
        """The load path: a message out, a message in."""
        connection, left_s = self._channel.current, timeout_s
        if connection is None or not connection.open or (self._settings.user and not self._token):
            connection, left_s = self._connected(timeout_s)
        answer = connection.call(method.known(timeout_s) or method.block(timeout_s), request, left_s)
        if isinstance(answer, End):
            raise self._failed(answer)
        try:
            return answers.FromString(answer)
        except DecodeError as error:
            raise CallFailed(Outcome.UNKNOWN, "INTERNAL", f"an answer that is no {answers.__name__}") from error

    def _connected(self, timeout_s: float) -> tuple[Connection, float]:
        """An open connection, with a token where one is needed, and the seconds left. Raises CallFailed."""
        deadline = monotonic() + timeout_s
        found = self._channel.connection(timeout_s)
        if isinstance(found, Connection) and self._settings.user and not self._token:
            found = self._authenticated(found, deadline)
        if isinstance(found, End):
            raise self._failed(found)
        return found, max(deadline - monotonic(), 0.0)

    def _authenticated(self, connection: Connection, deadline: float) -> Connection | End:
        """Ask for a token, one greenlet for all. Whatever fails here, the call that wanted it was not sent."""
        with gevent.Timeout(max(deadline - monotonic(), 0), False), self._authenticating:
            if self._token:
                return connection if connection.open else End("UNAVAILABLE", "the connection was lost", untouched=True)
            left_s = max(deadline - monotonic(), 0.0)
            request = pb.AuthenticateRequest(name=self._settings.user, password=self._settings.password)
            answer = connection.call(self._authenticate.block(left_s), request.SerializeToString(), left_s)
            if isinstance(answer, End):
                return End(answer.status, answer.message, untouched=True)
            try:
                self._token = pb.AuthenticateResponse.FromString(answer).token
            except DecodeError:
                return End("INTERNAL", "an answer that is no AuthenticateResponse", untouched=True)
            for method in self._methods:
                method.carry((("token", self._token),))
        if not (self._token and connection.open):
            return End("UNAUTHENTICATED", "no token in time; nothing was sent", untouched=True)
        return connection

    def _failed(self, end: End) -> CallFailed:
        if end.message.endswith(_STALE_TOKENS):
            self._token = ""  # the next call asks for another; this one is not repeated
        outcome = Outcome.FAILED if end.untouched else classify(end.status, end.message)
        if outcome is Outcome.OK:
            outcome = Outcome.UNKNOWN
        return CallFailed(outcome, end.status, end.message)
