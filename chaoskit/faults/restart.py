"""Restart: an orderly shutdown and a start right after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from chaoskit.contracts import Capability, Down, Harm, Scene
from chaoskit.faults import proof
from chaoskit.faults.targets import For, Target, choose, impossible_target, victims
from chaoskit.spec import Spec


class Restart(Spec):
    """Stop members gracefully by SIGTERM and start them again on the same data after a short `for`, as an upgrade does.

    A member that is still there 10 s after SIGTERM is killed; the evidence tells of it.
    """

    kind: ClassVar[str] = "restart"
    needs: ClassVar[frozenset[Capability]] = frozenset({"signal", "restart"})
    example: ClassVar[Mapping[str, str]] = {"target": "leader", "for": "200ms"}

    target: Target
    """Who is restarted, chosen at injection."""
    for_: For
    """How long the members stay down."""

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_target(self.target, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Down(choose(self.target, scene), "TERM")]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.members_down(scene, victims(harms))

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.members_restarted(scene, victims(harms))
