"""What the test bed of an experiment can do, looked up before the experiment is validated.

Faults are held against it while the method is read, so that an impossible target is reported together with every other
mistake of the file, and even if the cluster section has mistakes of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from chaoskit.clusters import AUTO, BACKENDS, EXTERNAL, PREFERRED
from chaoskit.contracts import (
    Backend,
    Capability,
    Cut,
    Fault,
    LinkProbe,
    MemberLimits,
    MemberProcess,
    MemberResources,
    MemberStatus,
    ServerMetrics,
    Toxic,
)
from chaoskit.experiment.document import Plain
from chaoskit.experiment.external import read_endpoints
from chaoskit.faults.targets import read_link
from chaoskit.topology import Link, Links, client_links, member_names, peer_links

SIZES = (1, 3, 5, 7)
DEFAULT_MEMBERS = 3
DEFAULT_BACKEND = AUTO

_REHEARSALS = 3  # with other random choices each: enough to see whether a fault makes any


@dataclass(frozen=True, slots=True)
class Bed:
    """None where the file does not say it properly; nothing is held against that."""

    members: tuple[str, ...] | None
    backend: str | None
    proxied: Links | None = None  # of an external cluster: links with a proxy on them

    def impossible(self, fault: Fault) -> str | None:
        """Why this fault cannot be done here; None when it can."""
        missing = [fault.needs - capabilities for capabilities in self._capabilities()]
        if missing and all(missing):
            return f"backend {self.backend} cannot do {fault.kind} here: {self._why(missing[0])}"
        if not self.members:
            return None
        return fault.impossible(self.members) or self._without_proxy(fault)

    def _why(self, missing: frozenset[Capability]) -> str:
        """The first backend's reasons."""
        name = next(iter(PREFERRED)) if self.backend == AUTO else self.backend or ""
        obstacles = _backend(name).obstacles if name in BACKENDS else {}
        return "; ".join(dict.fromkeys(obstacles.get(lack, f"it lacks {lack}") for lack in sorted(missing)))

    def _capabilities(self) -> Iterator[frozenset[Capability]]:
        """Of each backend that it may become."""
        for name in PREFERRED if self.backend == AUTO else filter(None, [self.backend]):
            yield _backend(name).capabilities

    def _without_proxy(self, fault: Fault) -> str | None:
        """Which links of an external cluster it would need a proxy on."""
        if self.backend != EXTERNAL or self.proxied is None or self.members is None:
            return None
        lacking = sorted(_links_needed(fault, self.members) - self.proxied)
        if not lacking:
            return None
        named = ", ".join(map(str, lacking[:3])) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        return f"cluster.toxiproxy has no proxy on {named}, which {fault.kind} needs here"


@cache
def _backend(name: str) -> Backend:
    """Asked once what it can do: for that it may have to ask a daemon."""
    return BACKENDS[name]()


def bed_of(values: Plain) -> Bed:
    """Of the plain values of a file, valid or not."""
    cluster = values.get("cluster") if isinstance(values, dict) else None
    if not isinstance(cluster, dict):
        return Bed(None, None)
    size, backend = cluster.get("members", DEFAULT_MEMBERS), cluster.get("backend", DEFAULT_BACKEND)
    if backend == EXTERNAL:
        endpoints = read_endpoints(cluster.get("endpoints"))
        members = member_names(len(endpoints)) if isinstance(endpoints, list) and endpoints else None
        return Bed(members, EXTERNAL, _proxied(cluster.get("toxiproxy")))
    return Bed(
        member_names(size) if isinstance(size, int) and size in SIZES else None,
        backend if isinstance(backend, str) and backend in (AUTO, *BACKENDS) else None,
    )


def _proxied(toxiproxy: Plain) -> Links | None:
    if toxiproxy is None:
        return frozenset()
    try:
        assert isinstance(toxiproxy, dict)
        assert isinstance(toxiproxy["proxies"], dict)
        return frozenset(map(read_link, toxiproxy["proxies"]))
    except (AssertionError, LookupError, ValueError):  # the section's own mistake
        return None


def _links_needed(fault: Fault, members: tuple[str, ...]) -> Links:
    """Every link that it may touch: those that it always touches, or all of a kind when it chooses when injected."""
    rehearsed = {
        frozenset(link for harm in fault.harms(scene) if isinstance(harm, Cut | Toxic) for link in harm.links)
        for scene in (_Rehearsal(members, leader, seed) for leader in members for seed in range(_REHEARSALS))
    }
    if len(rehearsed) == 1:
        return next(iter(rehearsed))
    kinds = {link.kind for links in rehearsed for link in links}
    whole = peer_links(members) | client_links(members)
    return frozenset(link for link in whole if link.kind in kinds)


class _Rehearsal:
    """A Scene without a cluster: a fault says what it would do, which does nothing."""

    def __init__(self, members: tuple[str, ...], leader: str, seed: int) -> None:
        self.members = members
        self.links = peer_links(members) | client_links(members)
        self.rng = Random(seed)
        self._leader = leader

    def leader(self) -> str:
        return self._leader

    def status(self, member: str, timeout_s: float = 0.5) -> MemberStatus | None:
        raise NotImplementedError("nothing is running yet")

    def process(self, member: str) -> MemberProcess:
        raise NotImplementedError("nothing is running yet")

    def metrics(self, member: str, timeout_s: float = 1.0) -> ServerMetrics | None:
        raise NotImplementedError("nothing is running yet")

    def resources(self, member: str) -> MemberResources | None:
        raise NotImplementedError("nothing is running yet")

    def limits(self, member: str) -> MemberLimits:
        raise NotImplementedError("nothing is running yet")

    def write_seconds(self, member: str, size: int) -> float:
        raise NotImplementedError("nothing is running yet")

    def disk_refusal(self, member: str, size: int) -> str:
        raise NotImplementedError("nothing is running yet")

    def probe(self, link: Link, timeout_s: float = 0.5, padding: int = 0) -> LinkProbe:
        raise NotImplementedError("nothing is running yet")
