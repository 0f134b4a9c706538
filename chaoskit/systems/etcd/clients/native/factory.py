"""How a worker gets native clients. Importable without gevent: the controller reads `environment`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from chaoskit.access import PLAIN, Access
from chaoskit.contracts import Client
from chaoskit.systems.etcd.clients.native.settings import ConnectionSettings, Tls

_SMALL_WINDOW = 65_535  # HTTP/2's default, and what Go's gRPC begins with

_PLAIN = ConnectionSettings()
_NO_NAMES: Mapping[str, str] = {}


class NativeFactory:
    """Connects native clients in any process with gevent, patched or not."""

    name = "native"
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(self, settings: ConnectionSettings = _PLAIN, server_names: Mapping[str, str] = _NO_NAMES) -> None:
        """`server_names`: `host:port` → the name in that server's certificate, instead of the settings' own."""
        self._settings = settings
        self._server_names = server_names

    @classmethod
    def reaching(cls, access: Access = PLAIN) -> NativeFactory:
        """With secrets looked up now. Raises InfrastructureError."""
        cert, key = (Path(path) if path else None for path in (access.cert, access.key))
        tls = Tls(Path(access.cacert) if access.cacert else None, cert, key) if access.tls else None
        return cls(ConnectionSettings(tls, access.user, access.password()), access.server_names)

    def connect(self, member: str, endpoint: str, *, reads_late: bool = False) -> Client:
        """`endpoint` is `host:port`. The first call dials, so a member that is down is found out by it."""
        from chaoskit.systems.etcd.clients.native.client import NativeClient  # noqa: PLC0415  only loads in a worker

        settings = self._settings
        if settings.tls and (name := self._server_names.get(endpoint)):
            settings = replace(settings, tls=replace(settings.tls, server_name=name))
        if reads_late:
            settings = replace(settings, stream_window=_SMALL_WINDOW)
        return NativeClient(member, endpoint, settings)
