"""Disk I/O: a disk that is slow to take writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from chaoskit.contracts import Capability, Harm, Limited, Scene
from chaoskit.faults import limit_proof
from chaoskit.faults.targets import For, Target, choose, impossible_target, victims
from chaoskit.spec import Spec
from chaoskit.units import SizeRate, parse_size_rate, within


class DiskIo(Spec):
    """Let members write no more than `rate` to disk, so that every sync of etcd's log takes its time.

    Done by cgroups: what is synced or written directly waits, as etcd's log does; with cgroup v1 what the kernel writes
    back later does not. Needs root, and the data on a real disk.
    """

    kind: ClassVar[str] = "disk_io"
    needs: ClassVar[frozenset[Capability]] = frozenset({"disk_io"})
    example: ClassVar[Mapping[str, str]] = {"target": "leader", "rate": "256KiB/s", "for": "10s"}

    target: Target
    """Who."""
    rate: Annotated[SizeRate, within("16KiB/s", "16MiB/s", parse_size_rate)]
    """Bytes per second that each may write."""
    for_: For
    """How long until it is undone."""

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_target(self.target, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Limited(choose(self.target, scene), "disk_write", self.rate)]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return limit_proof.writes_slow(scene, victims(harms), self.rate)

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return limit_proof.writes_quick(scene, victims(harms), self.rate)
