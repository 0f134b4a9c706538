"""Kill: a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from chaoskit.contracts import Capability, Down, Harm, Scene
from chaoskit.faults import proof
from chaoskit.faults.targets import For, Target, choose, impossible_target, victims
from chaoskit.spec import Spec


class Kill(Spec):
    """End members by SIGKILL, without a chance to tidy up, and start them again on the same data after `for`."""

    kind: ClassVar[str] = "kill"
    needs: ClassVar[frozenset[Capability]] = frozenset({"signal", "restart"})
    example: ClassVar[Mapping[str, str]] = {"target": "leader", "for": "5s"}

    target: Target
    """Who."""
    for_: For
    """How long they stay down."""

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_target(self.target, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Down(choose(self.target, scene), "KILL")]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.members_down(scene, victims(harms))

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.members_restarted(scene, victims(harms))
