"""What a native client can be told of the servers beyond their address. The default is etcd's own: plaintext, nobody.

Free of gevent: the controller may read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates as PEM files. With `cert` and `key` the server can ask who we are (mutual TLS)."""

    ca: Path | None  # None: the authorities that this machine trusts
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""  # in the server's certificate, when it is not the host of the endpoint


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How the clients of one factory connect."""

    tls: Tls | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    watches_per_stream: int = 1000
    stream_window: int = 8 << 20  # bytes that a server may send ahead on one stream
    keepalive_streams: int = 4  # of one client; a server looks at one keepalive of a stream after the other
