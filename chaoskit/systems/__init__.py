"""What members run. One folder per system; each entry makes it for one version, so that its command line fits.

Importing this table costs nothing: a system's own imports happen when it is made.
"""

from __future__ import annotations

from typing import Protocol

from chaoskit.access import PLAIN, Access
from chaoskit.contracts import System


class Make(Protocol):
    def __call__(self, version: str, access: Access = PLAIN) -> System:
        """`access` is how the controller reaches the members."""


def _etcd(version: str, access: Access = PLAIN) -> System:
    """etcd 3.5, 3.6 or 3.7; others run, but their flags are not checked."""
    from chaoskit.systems.etcd.system import Etcd  # noqa: PLC0415  grpcio and protobuf take 0.1 s to import

    return Etcd(version, access)


SYSTEMS: dict[str, Make] = {"etcd": _etcd}
