"""One endpoint: the connection that calls use now, and a new one when the next call finds it gone.

Nothing is retried. A call that finds no connection waits for one dial, shared with all others; when that fails, all of
them have certainly not been sent. Until the next dial is due calls fail at once, as in any gRPC client.
"""

from __future__ import annotations

import os
from random import Random
from time import monotonic

import gevent
from gevent import socket
from gevent.event import AsyncResult
from gevent.monkey import get_original

from chaoskit.systems.etcd.clients.native.connection import STREAM_WINDOW, Connection
from chaoskit.systems.etcd.clients.native.headers import End
from chaoskit.systems.etcd.clients.native.settings import Tls
from chaoskit.systems.etcd.clients.native.tls import TlsPipe

DIAL_S = 2.0
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.5  # gRPC's default grows to 120 s, and time to recover would be the client's
_JITTER = 0.2
_REFUSAL_S = 0.002  # a caller without pauses of its own must not keep the loop from turning

_PlainSocket = get_original("socket", "socket")


class Channel:
    def __init__(self, endpoint: str, tls: Tls | None, stream_window: int = STREAM_WINDOW) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._stream_window = stream_window
        self.current: Connection | None = None
        """The last connection; of use only while it is `open`."""
        self._dialing: AsyncResult[Connection | End] | None = None
        self._pause_s = 0.0
        self._next_dial = 0.0
        self._failure = ""
        self._closed = False
        self._random = Random(f"{endpoint} {os.getpid()}")  # workers must differ; no choice of the experiment's

    def connection(self, timeout_s: float) -> Connection | End:
        """Open, and no greenlet switch away from being used. Or why there is none: nothing was sent."""
        connection = self.current
        if connection is not None and connection.open:
            return connection
        if self._closed:
            return End("CANCELLED", "the client is closed", untouched=True)
        if self._dialing is None:
            if monotonic() < self._next_dial:
                gevent.sleep(_REFUSAL_S)
                return self._unreachable(self._failure)
            self._dialing = AsyncResult()
            gevent.spawn(self._dial, self._dialing)
        found: Connection | End | None = self._dialing.wait(timeout=max(timeout_s, 0))
        if found is None:
            return self._unreachable("it takes too long")
        if isinstance(found, Connection) and not found.open:
            return self._unreachable("the connection was lost at once")
        return found

    def close(self) -> None:
        self._closed = True
        if self.current:
            self.current.close()

    def _dial(self, told: AsyncResult[Connection | End]) -> None:
        found: Connection | End
        try:
            with gevent.Timeout(DIAL_S, TimeoutError(f"no HTTP/2 within {DIAL_S:g} s")):
                found = self._connected()
            self._pause_s = 0.0
        except OSError as error:
            found = self._failed(error.strerror or str(error))
        self._dialing = None
        if self._closed and isinstance(found, Connection):
            found.close()
        told.set(found)

    def _connected(self) -> Connection:
        """Ready to be used: the server has spoken, so a proxy that accepts for a dead server is found out."""
        host, _, port = self._endpoint.rpartition(":")
        host = host.strip("[]")
        patient = socket.create_connection((host, int(port)))
        try:
            patient.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pipe, early = self._shake_hands(patient, host)
            plain = _PlainSocket(fileno=patient.detach())
        except BaseException:
            patient.close()
            raise
        plain.setblocking(False)
        connection = Connection(plain, self._endpoint, pipe, early, stream_window=self._stream_window)
        try:
            if trouble := connection.ready.get():
                raise ConnectionError(trouble)
        except BaseException:
            connection.close()
            raise
        self.current = connection
        return connection

    def _shake_hands(self, patient: socket.socket, host: str) -> tuple[TlsPipe | None, bytes]:
        if self._tls is None:
            return None, b""
        pipe = TlsPipe(self._tls, host)
        to_send, done = pipe.shake(b"")
        while not done:
            patient.sendall(to_send)
            answer = patient.recv(1 << 16)
            if not answer:
                raise ConnectionError("the server closed the connection during the TLS handshake")
            to_send, done = pipe.shake(answer)
        patient.sendall(to_send)
        return pipe, pipe.decrypt(b"")

    def _failed(self, why: str) -> End:
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S) or _FIRST_PAUSE_S
        self._next_dial = monotonic() + self._pause_s * self._random.uniform(1 - _JITTER, 1 + _JITTER)
        self._failure = why
        return self._unreachable(why)

    @staticmethod
    def _unreachable(why: str) -> End:
        return End("UNAVAILABLE", f"not connected, nothing was sent: {why}", untouched=True)
