"""What the test bed of an experiment can do, looked up before the experiment is validated.

Faults are held against it while the method is read, so that an impossible target is reported together with every other
mistake of the file, and even if the cluster section has mistakes of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chaoskit.clusters import AUTO, BACKENDS
from chaoskit.contracts import Capability, Fault
from chaoskit.experiment.document import Plain
from chaoskit.topology import member_names

SIZES = (1, 3, 5, 7)
DEFAULT_MEMBERS = 3
DEFAULT_BACKEND = "process"


@dataclass(frozen=True, slots=True)
class Bed:
    """None where the file does not say it properly; nothing is held against that."""

    members: tuple[str, ...] | None
    backend: str | None

    def impossible(self, fault: Fault) -> str | None:
        """Why this fault cannot be done here; None when it can."""
        missing = [fault.needs - capabilities for capabilities in self._capabilities()]
        if missing and all(missing):
            return f"backend {self.backend} cannot do {fault.kind}: it lacks {', '.join(sorted(missing[0]))}"
        return fault.impossible(self.members) if self.members else None

    def _capabilities(self) -> Iterator[frozenset[Capability]]:
        """Of each backend that it may become."""
        for name, make in BACKENDS.items():
            if self.backend in (name, AUTO):
                yield make().capabilities


def bed_of(values: Plain) -> Bed:
    """Of the plain values of a file, valid or not."""
    cluster = values.get("cluster") if isinstance(values, dict) else None
    if not isinstance(cluster, dict):
        return Bed(None, None)
    size, backend = cluster.get("members", DEFAULT_MEMBERS), cluster.get("backend", DEFAULT_BACKEND)
    return Bed(
        member_names(size) if isinstance(size, int) and size in SIZES else None,
        backend if isinstance(backend, str) and backend in (AUTO, *BACKENDS) else None,
    )
