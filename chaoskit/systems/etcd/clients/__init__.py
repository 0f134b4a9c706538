"""The libraries under test that speak etcd. Each entry makes a factory; the library loads on the first `connect`.

The controller looks factories up for the `environment` that a worker needs, in a process that must import neither
gevent nor the library.
"""

from __future__ import annotations

from typing import Protocol

from chaoskit.access import PLAIN, Access
from chaoskit.contracts import ClientFactory
from chaoskit.systems.etcd.clients.etcd3 import Etcd3Factory
from chaoskit.systems.etcd.clients.native import NativeFactory


class Make(Protocol):
    def __call__(self, access: Access = PLAIN) -> ClientFactory:
        """Looks secrets up at once. Raises InfrastructureError when one is missing."""


CLIENTS: dict[str, Make] = {"etcd3": Etcd3Factory, "native": NativeFactory.reaching}
