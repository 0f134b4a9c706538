"""What one fault sees of the cluster, with a source of choices that depends on the seed and the fault's name alone."""

from __future__ import annotations

import time
from collections import Counter
from random import Random

from chaoskit.contracts import (
    Cluster,
    LinkProbe,
    MemberLimits,
    MemberProcess,
    MemberResources,
    MemberStatus,
    ServerMetrics,
    System,
)
from chaoskit.errors import FaultNotProven
from chaoskit.topology import Link, majority

_LEADER_WAIT_S = 5.0


class ClusterScene:
    """contracts.Scene over a running cluster."""

    def __init__(self, cluster: Cluster, system: System, seed: int, fault: str) -> None:
        self.members = cluster.members
        self.links = cluster.links
        self.rng = Random(f"{seed}:{fault}")
        self._cluster = cluster
        self._system = system

    def leader(self) -> str:
        deadline = time.monotonic() + _LEADER_WAIT_S
        while True:
            named = Counter(status.leader for member in self.members if (status := self.status(member)))
            leader, votes = named.most_common(1)[0] if named else ("", 0)
            if leader and votes >= majority(len(self.members)):
                return leader
            if time.monotonic() > deadline:
                seen = (
                    ", ".join(f"{name or 'nobody'} by {count}" for name, count in named.items()) or "no member answers"
                )
                raise FaultNotProven(f"no leader that a majority names within {_LEADER_WAIT_S:.0f} s: {seen}")
            time.sleep(0.05)

    def status(self, member: str, timeout_s: float = 0.5) -> MemberStatus | None:
        return self._system.status(self._cluster.direct_endpoints()[member], timeout_s)

    def metrics(self, member: str, timeout_s: float = 1.0) -> ServerMetrics | None:
        return self._system.metrics(self._cluster.direct_endpoints()[member], timeout_s)

    def resources(self, member: str) -> MemberResources | None:
        return self._cluster.resources(member)

    def limits(self, member: str) -> MemberLimits:
        return self._cluster.limits(member)

    def write_seconds(self, member: str, size: int) -> float:
        return self._cluster.write_seconds(member, size)

    def disk_refusal(self, member: str, size: int) -> str:
        return self._cluster.disk_refusal(member, size)

    def process(self, member: str) -> MemberProcess:
        return self._cluster.process(member)

    def probe(self, link: Link, timeout_s: float = 0.5, padding: int = 0) -> LinkProbe:
        return self._cluster.probe(link, timeout_s, padding)
