"""Stop: an orderly shutdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from chaoskit.contracts import Capability, Down, Harm, Scene
from chaoskit.faults import proof
from chaoskit.faults.targets import For, Target, choose, impossible_target, victims
from chaoskit.spec import Spec


class Stop(Spec):
    """Shut members down by SIGTERM, as an administrator would, and start them again on the same data after `for`.

    etcd hands leadership over before it goes, so this costs less than a kill. A member that takes too long is killed.

    With watches open, etcd 3.5 to 3.7 take some 7 s to go; `for` counts from when they are gone.
    """

    kind: ClassVar[str] = "stop"
    needs: ClassVar[frozenset[Capability]] = frozenset({"signal", "restart"})
    example: ClassVar[Mapping[str, str]] = {"target": "random follower", "for": "5s"}

    target: Target
    """Who."""
    for_: For
    """How long they stay down."""

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_target(self.target, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Down(choose(self.target, scene), "TERM")]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.members_down(scene, victims(harms))

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.members_restarted(scene, victims(harms))
