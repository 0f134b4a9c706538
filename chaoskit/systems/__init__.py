"""What members run. One folder per system; each entry makes it for one version, so that its command line fits.

Importing this table costs nothing: a system's own imports happen when it is made.
"""

from __future__ import annotations

from collections.abc import Callable

from chaoskit.contracts import System


def _etcd(version: str) -> System:
    """etcd 3.5, 3.6 or 3.7; others run, but their flags are not checked."""
    from chaoskit.systems.etcd.system import Etcd  # noqa: PLC0415  grpcio and protobuf take 0.1 s to import

    return Etcd(version)


SYSTEMS: dict[str, Callable[[str], System]] = {"etcd": _etcd}
