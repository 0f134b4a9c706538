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
from chaoskit.systems.etcd.clients.native.leases import LeaseStream
from chaoskit.systems.etcd.clients.native.methods import Method, put_request, range_request, swap_request
from chaoskit.systems.etcd.clients.native.settings import ConnectionSettings
from chaoskit.systems.etcd.clients.native.watch import WatchStream
from chaoskit.systems.etcd.outcomes import classify

_REQUIRE_LEADER = (("hasleader", "true"),)
Answer = TypeVar("Answer", bound=Message)

_NOTIFIED_LIMIT = 100
"""Watches of one stream, and streams of one client, that are told of progress by the server: twice a second each, which
for thousands would be more than all events. Further ones ask, one question for a whole stream."""

_STALE_TOKENS = ("invalid auth token", "revision of auth store is old")


class NativeClient:
    """One member's client, for greenlets of one hub."""

    def __init__(self, member: str, endpoint: str, settings: ConnectionSettings) -> None:
        self.member = member
        self._settings = settings
        self._channel = Channel(endpoint, settings.tls, settings.stream_window)
        self._token = ""
        self._authenticating = BoundedSemaphore(1)
        self._streams: list[WatchStream] = []
        self._numbered: dict[int, WatchStream] = {}
        self._lease_streams: dict[int, LeaseStream] = {}
        named = partial(Method, authority=endpoint, tls=settings.tls is not None)
        self._put, self._range = named("KV/Put"), named("KV/Range")
        self._delete, self._txn = named("KV/DeleteRange"), named("KV/Txn")
        self._grant, self._revoke = named("Lease/LeaseGrant"), named("Lease/LeaseRevoke")
        self._keepalive = named("Lease/LeaseKeepAlive")
        self._watch = named("Watch/Watch", metadata=_REQUIRE_LEADER)
        self._authenticate = named("Auth/Authenticate")
        self._methods = (
            self._put, self._range, self._delete, self._txn, self._grant, self._revoke, self._keepalive, self._watch,
        )  # fmt: skip

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

    def range(
        self, key: bytes, range_end: bytes, *, limit: int, revision: int, serializable: bool, timeout_s: float
    ) -> Reply:
        request = pb.RangeRequest(
            key=key, range_end=range_end, limit=limit, revision=revision, serializable=serializable
        ).SerializeToString()
        answer = self._call(self._range, request, timeout_s, pb.RangeResponse)
        kvs = tuple([(kv.key, kv.mod_revision, kv.value) for kv in answer.kvs])
        return Reply(revision=answer.header.revision, count=answer.count, more=answer.more, kvs=kvs)

    def delete(self, key: bytes, *, timeout_s: float) -> Reply:
        request = pb.DeleteRangeRequest(key=key).SerializeToString()
        answer = self._call(self._delete, request, timeout_s, pb.DeleteRangeResponse)
        return Reply(revision=answer.header.revision, count=answer.deleted)

    def compare_and_swap(self, key: bytes, value: bytes, *, mod_revision: int, timeout_s: float) -> Reply:
        request = swap_request(key, value, mod_revision)
        answer = self._call(self._txn, request, timeout_s, pb.TxnResponse)
        found = [kv for each in answer.responses for kv in each.response_range.kvs]
        if not found:
            return Reply(revision=answer.header.revision, succeeded=answer.succeeded)
        return Reply(answer.header.revision, found[0].mod_revision, found[0].value, found[0].lease)

    def lease_grant(self, ttl_s: int, *, timeout_s: float) -> Reply:
        request = pb.LeaseGrantRequest(TTL=ttl_s).SerializeToString()
        answer = self._call(self._grant, request, timeout_s, pb.LeaseGrantResponse)
        return Reply(revision=answer.header.revision, lease=answer.ID, ttl_s=answer.TTL)

    def lease_keepalive(self, lease: int, *, timeout_s: float) -> Reply:
        """On a stream that stays open, always the same one for a lease."""
        connection, left_s = self._channel.current, timeout_s
        if connection is None or not connection.open or (self._settings.user and not self._token):
            connection, left_s = self._connected(timeout_s)
        answer = self._lease_stream(connection, lease).keepalive(lease, left_s)
        if isinstance(answer, End):
            raise self._failed(answer)
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
        stream: int | None = None,
    ) -> WatchHandle:
        """`deliver` may be called before this returns. Raises CallFailed when no watch was created in time."""
        connection, left_s = self._connected(timeout_s)
        on = self._stream(connection, stream)
        notified = on.size < _NOTIFIED_LIMIT and len(self._numbered) <= _NOTIFIED_LIMIT
        created = on.watch(key, range_end, start_revision, deliver, left_s, notified=notified)
        if isinstance(created, End):
            raise self._failed(created)
        return created

    def close(self) -> None:
        for watches in (*self._streams, *self._numbered.values()):
            watches.close()
        for keepalives in self._lease_streams.values():
            keepalives.close()
        self._channel.close()

    def _lease_stream(self, connection: Connection, lease: int) -> LeaseStream:
        place = lease % self._settings.keepalive_streams
        stream = self._lease_streams.get(place)
        if stream is None or not stream.open:
            if stream:
                stream.retire()
            stream = self._lease_streams[place] = LeaseStream(connection, self._keepalive.endless)
        return stream

    def _stream(self, connection: Connection, number: int | None) -> WatchStream:
        """The one of this number, or one with room; else a new one."""
        if number is not None:
            numbered = self._numbered.get(number)
            if numbered is None or not numbered.open:
                numbered = self._numbered[number] = WatchStream(connection, self._watch.endless)
            return numbered
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
