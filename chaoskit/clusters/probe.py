"""One HTTP request along a link's own path, as evidence that the link passes, is cut, or is slow."""

from __future__ import annotations

import socket
import ssl
import time

from chaoskit.access import PLAIN, Access
from chaoskit.clusters.addresses import Address, show
from chaoskit.contracts import LinkProbe

_CHUNK = 65_536


def ask(address: Address, timeout_s: float, padding: int, access: Access = PLAIN, server_name: str = "") -> LinkProbe:
    """GET /version, which etcd answers to peers and clients alike, with `padding` more bytes in a header.

    A refusal, a reset or silence is the answer and never an exception. `timeout_s` is for all of it. With TLS,
    `server_name` is what the certificate has to say.
    """
    began = time.monotonic()
    secure = access.context() if access.tls else None
    try:
        with _connect(address, began + timeout_s, secure, server_name) as connection:
            answered, how = _exchange(connection, began + timeout_s, _request(address, padding))
    except TimeoutError:
        answered, how = False, f"silence for {timeout_s:g} s"
    except ConnectionRefusedError:
        answered, how = False, "connection refused"
    except ConnectionError as error:
        answered, how = False, f"connection broken: {error.strerror}"
    except OSError as error:
        answered, how = False, f"no connection: {error}"
    return LinkProbe(answered, time.monotonic() - began, how)


def _request(address: Address, padding: int) -> bytes:
    lines = ["GET /version HTTP/1.1", f"Host: {show(address)}", "Connection: close"]
    if padding:
        lines.append(f"X-Padding: {'.' * padding}")
    return "\r\n".join([*lines, "", ""]).encode()


def _connect(address: Address, deadline: float, secure: ssl.SSLContext | None, server_name: str) -> socket.socket:
    connection = socket.create_connection(address, _left(deadline))
    if secure is None:
        return connection
    try:
        connection.settimeout(_left(deadline))
        return secure.wrap_socket(connection, server_hostname=server_name)
    except OSError:
        connection.close()
        raise


def _exchange(connection: socket.socket, deadline: float, request: bytes) -> tuple[bool, str]:
    waiting = memoryview(request)
    while waiting:
        connection.settimeout(_left(deadline))
        waiting = waiting[connection.send(waiting) :]
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _CHUNK:
        connection.settimeout(_left(deadline))
        received = connection.recv(_CHUNK)
        if not received:
            return False, "closed without an answer"  # Toxiproxy accepts before it finds nobody behind itself
        head += received
    status = head.split(b" ", 2)[1:2]
    return bool(status), f"HTTP {status[0].decode(errors='replace')}" if status else "an answer that is not HTTP"


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
