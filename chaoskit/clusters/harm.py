"""The ledger of harm: who holds what, and what every link and member should therefore be like. Pure data, no I/O.

Harm adds up. A link is cut while any holder cuts it; a member that one holder wants down and another paused is down,
and is paused once nobody wants it down any more; of several limits the strictest holds. So undoing one's own harm never
needs to know of anybody else's.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from chaoskit.contracts import Cut, Down, Filled, Harm, Limit, Limited, Paused, Toxic
from chaoskit.topology import Link, Links


@dataclass(frozen=True, slots=True)
class WantedToxic:
    """One holder's toxic on a link, by a name that no other holder's toxic has."""

    name: str
    toxic: Toxic


@dataclass(frozen=True, slots=True)
class WantedLink:
    """What a link should be like. Rejecting hides a blackhole, which is still there when rejecting ends."""

    rejected: bool = False
    blackholed: bool = False
    toxics: tuple[WantedToxic, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedMember:
    """What a member should be like. `signal` says how it is brought down, if it is not yet."""

    state: Literal["running", "paused", "down"] = "running"
    signal: Literal["KILL", "TERM"] = "KILL"
    limits: tuple[tuple[Limit, int], ...] = ()  # the strictest of each kind
    disk_free: int | None = None  # bytes; None: nobody fills its disk

    @property
    def deadly(self) -> bool:
        """Whether it may die of this without anybody ending it."""
        return self.disk_free is not None or any(limit == "memory" for limit, _ in self.limits)


class Ledger:
    """Holder → harms. Not thread-safe: whoever shares it locks it."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Harm, ...]] = {}

    def add(self, holder: str, harm: Harm) -> None:
        self._held[holder] = (*self._held.get(holder, ()), harm)

    def drop(self, holder: str) -> tuple[Harm, ...]:
        """All that this holder held; empty when it held nothing."""
        return self._held.pop(holder, ())

    def holders(self) -> tuple[str, ...]:
        return tuple(self._held)

    def link(self, link: Link) -> WantedLink:
        modes = {harm.mode for _, harm in self._harms() if isinstance(harm, Cut) and link in harm.links}
        toxics = (
            WantedToxic(name, harm) for name, harm in self._harms() if isinstance(harm, Toxic) and link in harm.links
        )
        return WantedLink("reject" in modes, "blackhole" in modes, tuple(toxics))

    def member(self, member: str) -> WantedMember:
        harms = [harm for _, harm in self._harms() if member in members_of(harm)]
        limits: dict[Limit, int] = {}
        for harm in harms:
            if isinstance(harm, Limited):
                limits[harm.limit] = min(harm.amount, limits.get(harm.limit, harm.amount))
        signals = {harm.signal for harm in harms if isinstance(harm, Down)}
        paused = any(isinstance(harm, Paused) for harm in harms)
        return WantedMember(
            "down" if signals else "paused" if paused else "running",
            "TERM" if signals == {"TERM"} else "KILL",
            tuple(sorted(limits.items())),
            min((harm.free_bytes for harm in harms if isinstance(harm, Filled)), default=None),
        )

    def _harms(self) -> Iterator[tuple[str, Harm]]:
        """Every harm with a name of its own."""
        for holder, harms in self._held.items():
            for number, harm in enumerate(harms, start=1):
                yield f"{_slug(holder)}.{number}", harm


def links_of(harm: Harm) -> Links:
    return harm.links if isinstance(harm, Cut | Toxic) else frozenset()


def members_of(harm: Harm) -> tuple[str, ...]:
    return () if isinstance(harm, Cut | Toxic) else harm.members


def describe(harm: Harm) -> dict[str, object]:
    """The harm as one JSON object, for the journal."""
    described: dict[str, object] = {"kind": type(harm).__name__.lower()}
    match harm:
        case Cut(mode=mode):
            described["mode"] = mode
        case Toxic(type=type_, attributes=attributes):
            described |= {"type": type_, "attributes": dict(attributes)}
        case Down(signal=signal):
            described["signal"] = signal
        case Limited(limit=limit, amount=amount):
            described |= {"limit": limit, "amount": amount}
        case Filled(free_bytes=free_bytes):
            described["free_bytes"] = free_bytes
    if links_of(harm):
        described["links"] = sorted(str(link) for link in links_of(harm))
    if members_of(harm):
        described["members"] = list(members_of(harm))
    return described


def _slug(holder: str) -> str:
    """The holder as a part of a URL's path; still one slug per holder."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", holder)
    return slug if slug == holder else f"{slug}.{zlib.crc32(holder.encode()):08x}"
