"""The worker's connections: per member a Client for calls, one for watches and one for those that read late.

All simulated clients share them.

Separate, so that a burst of watch events does not stand in the way of answers, nor a slow reader in anybody's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Literal

import gevent
from gevent.lock import BoundedSemaphore

from chaoskit.contracts import Client, ClientFactory

Use = Literal["calls", "watches", "slow watches"]
_CLOSE_LIMIT_S = 1.0


class Connections:
    def __init__(self, factory: ClientFactory, endpoints: Mapping[str, str]) -> None:
        self.members = tuple(endpoints)
        self._factory = factory
        self._endpoints = endpoints
        self._clients: dict[tuple[Use, str], Client] = {}
        self._connecting = BoundedSemaphore(1)

    def client(self, use: Use, member: str) -> Client:
        """Made at first use; from then on it is the client's own business to reconnect."""
        return self._clients.get((use, member)) or self._connect(use, member)

    def close(self) -> None:
        for client in self._clients.values():
            with contextlib.suppress(Exception), gevent.Timeout(_CLOSE_LIMIT_S, False):
                client.close()

    def _connect(self, use: Use, member: str) -> Client:
        with self._connecting:  # connecting may yield to others that want the same
            if (use, member) not in self._clients:
                self._clients[use, member] = self._factory.connect(
                    member, self._endpoints[member], reads_late=use == "slow watches"
                )
            return self._clients[use, member]
