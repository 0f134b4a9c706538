"""Members, links and cuts. A partition is data: shapes are pure functions from members to sets of links.

A link is directed and is one Toxiproxy proxy. etcd dials in both directions and falls back from one to the other, so a
partition of a pair must cut both; every shape here does. A single directed link can still be named; that is a dial
cut, not a partition.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

CLIENT = "client"
"""The source of every client link: all simulated clients reach a member through one proxy."""

LinkKind = Literal["peer", "client"]


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A directed connection that runs through one proxy: member → member, or `client` → member."""

    source: str
    target: str

    @property
    def kind(self) -> LinkKind:
        return "client" if self.source == CLIENT else "peer"

    def __str__(self) -> str:
        return f"{self.source}->{self.target}"


Links = frozenset[Link]


def member_names(count: int) -> tuple[str, ...]:
    """`n1` … `nN`."""
    return tuple(f"n{number}" for number in range(1, count + 1))


def peer_links(members: Sequence[str]) -> Links:
    """Every directed link between members: N(N−1)."""
    return frozenset(Link(a, b) for a in members for b in members if a != b)


def client_links(members: Iterable[str]) -> Links:
    """The links that clients use to reach these members."""
    return frozenset(Link(CLIENT, member) for member in members)


def between(left: Iterable[str], right: Iterable[str]) -> Links:
    """Both directions of every pair across two groups."""
    others = tuple(right)
    return frozenset(link for a in left for b in others if a != b for link in (Link(a, b), Link(b, a)))


def isolate(members: Sequence[str], victims: Collection[str]) -> Links:
    """Each victim alone: cut from every other member, other victims included."""
    return frozenset(link for victim in victims for link in between([victim], members))


def groups(*parts: Collection[str]) -> Links:
    """Members talk inside their part only."""
    return frozenset(link for left, right in combinations(parts, 2) for link in between(left, right))


def halves(members: Sequence[str]) -> Links:
    """The first ⌊N/2⌋ members against the rest, so a majority is left: hand in a shuffled order."""
    middle = len(members) // 2
    return between(members[:middle], members[middle:])


def bridge(members: Sequence[str]) -> Links:
    """Halves, but the last member sees both sides. Needs at least three members."""
    if len(members) < 3:
        raise ValueError(f"a bridge needs at least 3 members, there are {len(members)}")
    sides = members[:-1]
    return halves(sides)


def ring(members: Sequence[str]) -> Links:
    """Each member sees just enough neighbours on both sides for a majority, and no two members see the same one.

    Of 5 members each sees 2 others, of 7 four. With 3 the ring would be complete and cut nothing.
    """
    size = len(members)
    if size < 5:
        raise ValueError(f"a ring needs at least 5 members, there are {size}")
    reach = -(-(majority(size) - 1) // 2)
    apart = {
        frozenset((a, b))
        for i, a in enumerate(members)
        for j, b in enumerate(members)
        if reach < abs(i - j) < size - reach
    }
    return frozenset(link for link in peer_links(members) if frozenset((link.source, link.target)) in apart)


def majority(count: int) -> int:
    """Members needed for a quorum."""
    return count // 2 + 1
