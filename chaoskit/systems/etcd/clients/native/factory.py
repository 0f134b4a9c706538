"""How a worker gets native clients. Importable without gevent: the controller reads `environment`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from chaoskit.contracts import Client
from chaoskit.systems.etcd.clients.native.settings import ConnectionSettings

_PLAIN = ConnectionSettings()


class NativeFactory:
    """Connects native clients in any process with gevent, patched or not."""

    name = "native"
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(self, settings: ConnectionSettings = _PLAIN) -> None:
        self._settings = settings

    def connect(self, member: str, endpoint: str) -> Client:
        """`endpoint` is `host:port`. The first call dials, so a member that is down is found out by it."""
        from chaoskit.systems.etcd.clients.native.client import NativeClient  # noqa: PLC0415  only loads in a worker

        return NativeClient(member, endpoint, self._settings)
