"""Bandwidth: links that carry little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from chaoskit.contracts import Capability, Harm, Scene, Toxic
from chaoskit.faults import proof
from chaoskit.faults.slow_links import On, impossible_links_of, links_of, one_way_only, slowed
from chaoskit.faults.targets import For, NamedLink, Target
from chaoskit.spec import Spec
from chaoskit.units import SizeRate, parse_size_rate, within

_PROBE_S = 0.5  # what a padded probe is meant to take
_MAX_PADDING = 512 * 1024  # etcd takes a request head of 1 MiB
_PROVEN = 0.8  # of that time: the proxy's first slice passes at once


class Bandwidth(Spec):
    """Let no more than `rate` through each connection on some links, in each direction.

    Every connection has the whole rate for itself, because that is what the proxy can do; etcd uses a few per peer.
    """

    kind: ClassVar[str] = "bandwidth"
    needs: ClassVar[frozenset[Capability]] = frozenset({"toxic"})
    example: ClassVar[Mapping[str, str]] = {"rate": "64KiB/s", "for": "10s"}

    rate: Annotated[SizeRate, within("1KB/s", "5MB/s", parse_size_rate)]
    """Bytes per second, rounded down to whole KB (1000 B)."""
    on: On | None = None
    """peer: between the targets and all other members, both ways; so it is unless said. client: between clients and
    the targets."""
    target: Target | None = None
    """Whose links; all members' unless said."""
    links: tuple[NamedLink, ...] | None = Field(None, min_length=1, max_length=100)
    """Single links instead of on and target: [n1->n2, client->n1]."""
    for_: For
    """How long until it is undone."""

    @model_validator(mode="after")
    def _one_way_only(self) -> Self:
        one_way_only(self.on, self.target, self.links)
        return self

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_links_of(self.on, self.target, self.links, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        links = links_of(self.on, self.target, self.links, scene)
        return [Toxic(links, "bandwidth", (("rate", self.rate // 1000),))]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.links_slow(scene, slowed(harms), self._pace())

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.links_quick(scene, slowed(harms), self._pace())

    def _pace(self) -> proof.Pace:
        padding = min(_MAX_PADDING, round(self.rate * _PROBE_S))
        return proof.Pace(_PROVEN * padding / self.rate, padding)
