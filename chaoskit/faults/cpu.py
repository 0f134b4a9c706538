"""CPU: a member that gets too little of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from chaoskit.contracts import Capability, Harm, Limited, Scene
from chaoskit.faults import limit_proof
from chaoskit.faults.targets import For, Target, choose, impossible_target, victims
from chaoskit.spec import Spec
from chaoskit.units import Share, parse_share, within


class Cpu(Spec):
    """Give members no more than a share of one core, as a container's quota or a noisy neighbour does.

    The kernel lets a member run until its share of each 0.1 s is used up and stops it for the rest, so answers come in
    bursts. A member that wants less than its limit is not harmed, and the fault is not proven.
    """

    kind: ClassVar[str] = "cpu"
    needs: ClassVar[frozenset[Capability]] = frozenset({"cpu"})
    example: ClassVar[Mapping[str, str]] = {"target": "leader", "limit": "10%", "for": "10s"}

    target: Target
    """Who."""
    limit: Annotated[Share, within("1%", "100%", parse_share)]
    """Share of one core."""
    for_: For
    """How long until it is undone."""

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_target(self.target, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Limited(choose(self.target, scene), "cpu", self._us_per_s())]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return limit_proof.cpu_throttled(scene, victims(harms), self._us_per_s())

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return limit_proof.cpu_free(scene, victims(harms))

    def _us_per_s(self) -> int:
        return round(self.limit * 1e6)
