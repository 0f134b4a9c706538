"""What latency and bandwidth share: which links are slowed. Each is one toxic of fixed strength on both streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from chaoskit.contracts import Harm, Scene, Toxic
from chaoskit.faults.targets import Target, choose, impossible_links, impossible_target
from chaoskit.topology import Link, Links, between, client_links

On = Literal["peer", "client"]


def one_way_only(on: On | None, target: Target | None, links: Sequence[Link] | None) -> None:
    """Links are named one by one, or as all of a kind. Raises ValueError for both."""
    if links is not None and (on or target):
        raise ValueError("give either links, or on and target")


def impossible_links_of(
    on: On | None, target: Target | None, links: Sequence[Link] | None, members: Sequence[str]
) -> str | None:
    """Why there is no link to slow in such a cluster; None when there is."""
    if links is not None:
        return impossible_links(frozenset(links), members)
    if on != "client" and len(members) < 2:
        return "a single member has no peer links; write `on: client`"
    return impossible_target(target or "all", members)


def links_of(on: On | None, target: Target | None, links: Sequence[Link] | None, scene: Scene) -> Links:
    """The links meant, as the cluster is now: named ones, or all of this kind that touch a target."""
    if links is not None:
        return frozenset(links)
    chosen = choose(target or "all", scene)
    return client_links(chosen) if on == "client" else between(chosen, scene.members)


def slowed(harms: Sequence[Harm]) -> Links:
    """The links of these harms."""
    return frozenset(link for harm in harms if isinstance(harm, Toxic) for link in harm.links)
