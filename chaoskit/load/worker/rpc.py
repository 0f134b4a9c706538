"""Locust's own RPC with an encrypted, authenticated transport: strangers' packets end in ZeroMQ, before Locust.

Locust makes its sockets by `runners.rpc.Server` and `.Client`; `install` puts ours there. They also notice within
seconds that the other side is gone, which Locust would find out after a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import zmq
from locust import runners
from locust.rpc import zmqrpc
from zmq.utils.monitor import parse_monitor_message

from chaoskit.load.remote import MESSAGE_LIMIT
from chaoskit.load.token import Keys

_HEARTBEAT_MS = 1000
_SILENT_MS = 5000
_NEVER = 1 << 30
_MISSED_EVENT_S = 0.2  # pyzmq's own limit for an event that gevent did not see is 11.6 s, longer than anybody waits


class _Server(zmqrpc.BaseSocket):
    def __init__(self, host: str, port: int, keys: Keys) -> None:
        super().__init__(zmq.ROUTER, self.ipv4_only(host, port))  # type: ignore[no-untyped-call]  # as Locust has it
        _limit(self.socket)
        self.socket.curve_server = True
        self.socket.curve_secretkey = keys.secret
        self.socket.curve_publickey = keys.public
        self.socket.bind(f"tcp://{host}:{port}")
        self.port = port


class _Client(zmqrpc.BaseSocket):
    def __init__(self, host: str, port: int, identity: str, keys: Keys, gone: Callable[[], None]) -> None:
        super().__init__(zmq.DEALER, self.ipv4_only(host, port))  # type: ignore[no-untyped-call]
        _limit(self.socket)
        authenticate(self.socket, keys)
        self.socket.setsockopt(zmq.IDENTITY, identity.encode())
        monitor = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        gevent.spawn(_watch, monitor, gone)
        self.socket.connect(f"tcp://{host}:{port}")


def authenticate(socket: Any, keys: Keys) -> None:
    """Speak to nobody but the master that has the token. Our own pair is made for this connection alone."""
    socket.curve_serverkey = keys.public
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()


def install(keys: Keys, gone: Callable[[], None]) -> None:
    """From now on Locust's runners use these sockets. `gone` is called when a worker's master goes away."""

    def server(host: str, port: int) -> _Server:
        return _Server(host, port, keys)

    def client(host: str, port: int, identity: str) -> _Client:
        return _Client(host, port, identity, keys, gone)

    vars(runners)["rpc"] = SimpleNamespace(Server=server, Client=client)
    runners.HEARTBEAT_LIVENESS = _NEVER  # who is lost is the controller's to say, and what becomes of their share
    runners.WORKER_LOG_REPORT_INTERVAL = -1


def _limit(socket: Any) -> None:
    socket._gevent_bug_timeout = _MISSED_EVENT_S
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_LIMIT)
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _SILENT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, _SILENT_MS)


def _watch(monitor: Any, gone: Callable[[], None]) -> None:
    while True:
        event = parse_monitor_message(monitor.recv_multipart())["event"]
        if event == zmq.EVENT_DISCONNECTED:
            gone()
            return
