"""Memory: a member that runs out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from chaoskit.contracts import Capability, Harm, Limited, Scene
from chaoskit.faults import limit_proof
from chaoskit.faults.targets import For, Target, choose, impossible_target, victims
from chaoskit.spec import Spec
from chaoskit.units import Size, parse_size, within


class Memory(Spec):
    """Let members use no more than `limit` of memory, page cache included and without swap.

    Near its limit a member is slow, because the kernel takes pages back; above it the kernel kills it. A killed member
    stays down until the fault is undone and is started again then; the evidence tells of it. With cgroup v1 a limit
    below what is used is refused unless the member gives memory back or dies within 3 s.
    """

    kind: ClassVar[str] = "memory"
    needs: ClassVar[frozenset[Capability]] = frozenset({"memory", "restart"})
    example: ClassVar[Mapping[str, str]] = {"target": "random follower", "limit": "24MB", "for": "10s"}

    target: Target
    """Who."""
    limit: Annotated[Size, within("8MB", "64GB", parse_size)]
    """How much each may use; etcd takes 30 to 60 MB with little data, without the page cache."""
    for_: For
    """How long until it is undone."""

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_target(self.target, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Limited(choose(self.target, scene), "memory", self.limit)]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return limit_proof.memory_short(scene, victims(harms), self.limit)

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return limit_proof.memory_free(scene, victims(harms))
