"""Whom a fault is aimed at: YAML forms of targets and links, and how they become members when the fault is injected."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from chaoskit.contracts import Cut, Harm, Scene, Toxic
from chaoskit.errors import unknown
from chaoskit.topology import CLIENT, Link, Links, majority
from chaoskit.units import Duration, parse_duration, within

TARGETS = {
    "leader": "the leader that a majority names",
    "follower": "one random follower",
    "followers": "every member but the leader",
    "random": "one random member",
    "minority": "as many random members as the cluster can lose and still write",
    "majority": "as many random members as it needs to write",
    "all": "every member",
}
"""The words; anything else is a member's name such as n2, or a list of names."""

_SPELLINGS = {"random follower": "follower", "one": "random"}
_MEMBER = re.compile(r"n[1-9][0-9]?")
_MAX_NAMES = 100


def read_target(value: Any) -> str | tuple[str, ...]:
    """A word of TARGETS, or names. Raises ValueError with the choices."""
    if isinstance(value, str):
        word = _SPELLINGS.get(value, value)
        return word if word in TARGETS else read_names([value])
    if isinstance(value, list | tuple):
        return read_names(value)
    raise ValueError(f"{value!r} is no target; write one of {', '.join(TARGETS)}, a member's name or a list of names")


def read_names(value: Any) -> tuple[str, ...]:
    """A list of different members' names."""
    if not isinstance(value, list | tuple) or not value or len(value) > _MAX_NAMES:
        raise ValueError("write a list of members' names, such as [n1, n2]")
    for name in value:
        if not isinstance(name, str) or not _MEMBER.fullmatch(name):
            raise ValueError(f"{unknown('target', name, TARGETS)}, and members' names n1, n2, …")
    if len(set(value)) < len(value):
        raise ValueError(f"a member is named twice in {list(value)}")
    return tuple(value)


def read_link(value: Any) -> Link:
    """`n1->n2` or `client->n1`. Raises ValueError."""
    if isinstance(value, Link):
        return value
    match = re.fullmatch(rf"({CLIENT}|{_MEMBER.pattern})\s*->\s*({_MEMBER.pattern})", str(value)[:40])
    if not match or match[1] == match[2]:
        raise ValueError(f"{str(value)[:80]!r} is no link; write n1->n2 or {CLIENT}->n1")
    return Link(match[1], match[2])


_TARGET_SCHEMA = {
    "oneOf": [
        {"enum": [*TARGETS, *_SPELLINGS]},
        {"type": "string", "pattern": f"^{_MEMBER.pattern}$"},
        {"type": "array", "items": {"type": "string", "pattern": f"^{_MEMBER.pattern}$"}, "minItems": 1},
    ],
    "examples": ["leader", "n2", ["n1", "n3"]],
}

Target = Annotated[str | tuple[str, ...], BeforeValidator(read_target), WithJsonSchema(_TARGET_SCHEMA)]
Names = Annotated[tuple[str, ...], BeforeValidator(read_names)]
NamedLink = Annotated[
    Link,
    BeforeValidator(read_link),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^(client|n[0-9]+) *-> *n[0-9]+$", "examples": ["n1->n2"]}),
]
For = Annotated[Duration, within("100ms", "1h", parse_duration)]


def impossible_target(target: str | tuple[str, ...], members: Sequence[str]) -> str | None:
    """Why there is nobody to aim at in such a cluster; None when there is."""
    if isinstance(target, tuple):
        return impossible_names(target, members)
    if target in ("follower", "followers", "minority") and not _how_many(target, len(members)):
        return f"{len(members)} member{'s have' if len(members) > 1 else ' has'} no {target}"
    return None


def impossible_names(names: Collection[str], members: Sequence[str]) -> str | None:
    """Which of these is no member."""
    return next((unknown("member", name, members) for name in names if name not in members), None)


def impossible_links(links: Links, members: Sequence[str]) -> str | None:
    """Which of these links has no such end."""
    return impossible_names(sorted({end for link in links for end in (link.source, link.target)} - {CLIENT}), members)


def choose(target: str | tuple[str, ...], scene: Scene) -> tuple[str, ...]:
    """The members meant, as the cluster is now, in the cluster's order. Raises FaultNotProven without a leader."""
    if isinstance(target, tuple):
        chosen: Collection[str] = target
    elif target == "leader":
        chosen = {scene.leader()}
    else:
        candidates = list(scene.members)
        if target in ("follower", "followers"):
            candidates.remove(scene.leader())
        chosen = scene.rng.sample(candidates, _how_many(target, len(scene.members)))
    return tuple(member for member in scene.members if member in chosen)


def _how_many(target: str, size: int) -> int:
    return {
        "follower": min(1, size - 1),
        "followers": size - 1,
        "random": 1,
        "minority": size - majority(size),
        "majority": majority(size),
        "all": size,
    }[target]


def victims(harms: Sequence[Harm]) -> tuple[str, ...]:
    """The members that these harms are done to, not to their links."""
    members = (member for harm in harms if not isinstance(harm, Cut | Toxic) for member in harm.members)
    return tuple(dict.fromkeys(members))
