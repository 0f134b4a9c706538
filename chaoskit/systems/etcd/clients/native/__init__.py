"""The native client: HTTP/2 and gRPC framing of our own on gevent, to cost less than the server it loads.

client    calls, leases, tokens            contracts.Client
watch     many watches on one stream
methods   header blocks by RPC and deadline
channel   dialing, backoff                 one endpoint
connection  socket, hub, streams, flow control, keepalive
calls     one call                         messages, headers, frames: bytes in, facts out; pure
"""

from __future__ import annotations

from chaoskit.systems.etcd.clients.native.factory import NativeFactory
from chaoskit.systems.etcd.clients.native.settings import ConnectionSettings, Tls

__all__ = ["ConnectionSettings", "NativeFactory", "Tls"]
