"""Full disk: no space left for data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from chaoskit.contracts import Capability, Filled, Harm, Scene
from chaoskit.faults import limit_proof
from chaoskit.faults.targets import For, Target, choose, impossible_target, victims
from chaoskit.spec import Spec
from chaoskit.units import Size, parse_size, within


class FullDisk(Spec):
    """Fill members' data disks until no more than `leave` is free, and make room again after `for`.

    In an experiment with this fault every member's data is on a disk of 256 MiB of its own that lives in memory. etcd
    ends itself when its database cannot grow; its log has up to 64 MB set aside before. A member that has ended stays
    down until there is room again and is started then; the evidence tells of it.
    """

    kind: ClassVar[str] = "full_disk"
    needs: ClassVar[frozenset[Capability]] = frozenset({"disk", "restart"})
    example: ClassVar[Mapping[str, str]] = {"target": "random follower", "leave": "0B", "for": "10s"}

    target: Target
    """Who."""
    leave: Annotated[Size, within("0B", "64MiB", parse_size)] = 0
    """How much stays free."""
    for_: For
    """How long until it is undone."""

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_target(self.target, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Filled(choose(self.target, scene), self.leave)]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return limit_proof.disks_full(scene, victims(harms), self.leave)

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return limit_proof.disks_free(scene, victims(harms), self.leave)
