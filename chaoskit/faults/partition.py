"""Partition: links on which nothing passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from chaoskit import topology
from chaoskit.contracts import Capability, Cut, Harm, Scene
from chaoskit.faults import proof
from chaoskit.faults.targets import (
    For,
    NamedLink,
    Names,
    Target,
    choose,
    impossible_links,
    impossible_names,
    impossible_target,
)
from chaoskit.spec import Spec
from chaoskit.topology import Links

_WAYS = ("isolate", "groups", "shape", "links")


class Partition(Spec):
    """Cut links between members, so that they no longer hear each other.

    Give exactly one of isolate, groups, shape, links.

    Both directions of a pair are cut, as etcd goes round a one-way cut by itself. Clients still reach every member, so
    they can ask a member that is cut off from the others; cut `client->n1` under links to change that.
    """

    kind: ClassVar[str] = "partition"
    needs: ClassVar[frozenset[Capability]] = frozenset({"cut"})
    example: ClassVar[Mapping[str, str]] = {"isolate": "leader", "mode": "blackhole", "for": "10s"}

    isolate: Target | None = None
    """Each of these members alone, cut from every other one."""
    groups: tuple[Names, ...] | None = Field(None, min_length=2, max_length=7)
    """Members talk inside their group only; a member in no group talks to all: [[n1], [n2, n3]]."""
    shape: Literal["halves", "bridge", "ring"] | None = None
    """Members drawn by lot. halves: two sides. bridge: two sides and one member that hears both. ring: each hears its
    neighbours only, a different majority for everyone."""
    links: tuple[NamedLink, ...] | None = Field(None, min_length=1, max_length=100)
    """Single links, one direction each: [n1->n2, client->n1]. One direction of a pair alone is a dial cut and no
    partition."""
    mode: Literal["blackhole", "reject"] = "blackhole"
    """blackhole: silence, like a real partition. reject: connections are closed and refused at once."""
    for_: For
    """How long until it is undone."""

    @model_validator(mode="after")
    def _one_way_only(self) -> Self:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(_WAYS)}; given: {', '.join(given) or 'none'}")
        named = [name for group in self.groups or () for name in group]
        if len(set(named)) < len(named):
            raise ValueError("a member stands in two groups")
        return self

    def impossible(self, members: Sequence[str]) -> str | None:
        if self.links is not None:
            return impossible_links(frozenset(self.links), members)
        if len(members) < 2:
            return "a single member has no peers to be cut from"
        if self.isolate is not None:
            return impossible_target(self.isolate, members)
        if self.groups is not None:
            return impossible_names([name for group in self.groups for name in group], members)
        try:
            self._shaped(members)
        except ValueError as why:
            return str(why)
        return None

    def harms(self, scene: Scene) -> Sequence[Harm]:
        return [Cut(self._links(scene), self.mode)]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.links_silent(scene, _cut(harms))

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.links_answer(scene, _cut(harms))

    def _links(self, scene: Scene) -> Links:
        if self.links is not None:
            return frozenset(self.links)
        if self.isolate is not None:
            return topology.isolate(scene.members, choose(self.isolate, scene))
        if self.groups is not None:
            return topology.groups(*self.groups)
        return self._shaped(scene.rng.sample(scene.members, len(scene.members)))

    def _shaped(self, members: Sequence[str]) -> Links:
        assert self.shape is not None  # held by _one_way_only
        return {"halves": topology.halves, "bridge": topology.bridge, "ring": topology.ring}[self.shape](members)


def _cut(harms: Sequence[Harm]) -> Links:
    return frozenset(link for harm in harms if isinstance(harm, Cut) for link in harm.links)
