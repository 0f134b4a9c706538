"""Where members live: one backend, one entry in the table.

Importing this table costs nothing: a backend's own imports happen when it is made.
"""

from __future__ import annotations

from collections.abc import Callable

from chaoskit.contracts import Backend


def _process() -> Backend:
    from chaoskit.clusters.process import ProcessBackend  # noqa: PLC0415  requests takes 0.1 s to import

    return ProcessBackend()


def _docker() -> Backend:
    from chaoskit.clusters.docker import DockerBackend  # noqa: PLC0415  and docker another 0.2 s

    return DockerBackend()


BACKENDS: dict[str, Callable[[], Backend]] = {"process": _process, "docker": _docker}
