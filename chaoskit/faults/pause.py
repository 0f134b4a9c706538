"""Pause: a process that stands still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from chaoskit.contracts import Capability, Harm, Paused, Scene
from chaoskit.faults import proof
from chaoskit.faults.targets import For, Target, choose, impossible_target, victims
from chaoskit.spec import Spec


class Pause(Spec):
    """Stop members by SIGSTOP, as a suspended machine or a starved disk would, and let them go on after `for`.

    A paused member keeps its connections and does not know that time has passed: a leader wakes up and believes that
    it still leads.
    """

    kind: ClassVar[str] = "pause"
    needs: ClassVar[frozenset[Capability]] = frozenset({"signal"})
    example: ClassVar[Mapping[str, str]] = {"target": "leader", "for": "10s"}

    target: Target
    """Who."""
    for_: For
    """How long they stand still."""

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_target(self.target, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Paused(choose(self.target, scene))]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.members_paused(scene, victims(harms))

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.members_resumed(scene, victims(harms))
