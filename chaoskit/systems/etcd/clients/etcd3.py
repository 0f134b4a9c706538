"""The `etcd3` package as a client under test: what a worker needs before it can be imported, and how it is connected.

etcd3 0.12.0 was generated for protobuf 3; newer ones load it only in their pure Python implementation. And gRPC's core
blocks a whole process under gevent unless it is told of gevent before the first channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar

from chaoskit.access import PLAIN, Access
from chaoskit.contracts import Client
from chaoskit.errors import InfrastructureError
from chaoskit.systems.etcd.channels import LATE_READER_OPTIONS


class Etcd3Factory:
    """Connects etcd3 clients inside a gevent-patched worker that was started with `environment`."""

    name = "etcd3"
    environment: ClassVar[Mapping[str, str]] = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}

    def __init__(self, access: Access = PLAIN) -> None:
        """TLS needs a `cacert`, and there are no users: the package never renews a token."""
        if access.user or (access.tls and not access.cacert):
            raise InfrastructureError("the etcd3 package can do TLS with a cacert, and no users; use the native client")
        self._access = access

    def connect(self, member: str, endpoint: str, *, reads_late: bool = False) -> Client:
        """`endpoint` is `host:port`. Connects lazily, so a member that is down is found out by the first call."""
        _tell_grpc_of_gevent()
        from chaoskit.systems.etcd.clients.etcd3_client import Etcd3Client  # noqa: PLC0415  only loads in a worker

        return Etcd3Client(member, endpoint, self._access, LATE_READER_OPTIONS if reads_late else ())


@cache
def _tell_grpc_of_gevent() -> None:
    """Once in a process, before its first channel."""
    from gevent.monkey import is_module_patched  # noqa: PLC0415  the controller must not import gevent
    from grpc.experimental.gevent import init_gevent  # noqa: PLC0415

    assert is_module_patched("socket") and is_module_patched("threading"), (
        "etcd3 clients live in gevent-patched workers"
    )
    init_gevent()
