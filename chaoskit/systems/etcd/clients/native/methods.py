"""etcd's RPCs as this client sends them: path, requests packed by hand, answers read by protobuf."""

from __future__ import annotations

from chaoskit.systems.etcd.clients.native.headers import request_block, with_timeout

_KNOWN_TIMEOUTS = 64


class Method:
    """One RPC on one endpoint: its header block, ready for every deadline that was asked before."""

    def __init__(self, path: str, authority: str, metadata: tuple[tuple[str, str], ...] = (), *, tls: bool) -> None:
        self.endless = request_block(path, authority, metadata, tls=tls)
        """For streams: without a deadline."""
        self._blocks: dict[float, bytes] = {}
        self.known = self._blocks.get

    def block(self, timeout_s: float) -> bytes:
        """With `grpc-timeout`, so that the server gives up when we do."""
        block = with_timeout(self.endless, timeout_s)
        if len(self._blocks) < _KNOWN_TIMEOUTS:
            self._blocks[timeout_s] = block
        return block
