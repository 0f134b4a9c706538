"""Where members live: one backend, one entry in the table.

Importing this table costs nothing: a backend's own imports happen when it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from chaoskit.contracts import Backend, Capability
from chaoskit.errors import InfrastructureError


def _process() -> Backend:
    from chaoskit.clusters.process import ProcessBackend  # noqa: PLC0415  requests takes 0.1 s to import

    return ProcessBackend()


def _docker() -> Backend:
    from chaoskit.clusters.docker import DockerBackend  # noqa: PLC0415  and docker another 0.2 s

    return DockerBackend()


def _external() -> Backend:
    from chaoskit.clusters.external import ExternalBackend  # noqa: PLC0415

    return ExternalBackend()


BACKENDS: dict[str, Callable[[], Backend]] = {"process": _process, "docker": _docker, "external": _external}

EXTERNAL = "external"
"""The one that builds nothing: it needs to be told where the cluster is, and `auto` never means it."""

AUTO = "auto"
"""In an experiment: containers if a Docker daemon answers, else processes."""

PREFERRED = ("docker", "process")
"""What `auto` may become, the better one first."""


def choose(needs: Collection[Capability]) -> tuple[str, str]:
    """The backend that `auto` means on this machine, and why. Raises InfrastructureError when there is none."""
    why_not: list[str] = []
    for name in PREFERRED:
        backend = BACKENDS[name]()
        missing = backend.missing()
        if lacks := sorted(set(needs) - backend.capabilities):
            missing = [backend.obstacles.get(lack, f"it cannot do {lack}") for lack in lacks]
        if not missing:
            return name, "; ".join((backend.about(), *why_not))
        why_not.append(f"not {name}: {'; '.join(missing)}")
    raise InfrastructureError("no backend works on this machine:\n" + "\n".join(why_not))
