"""Latency: links that take their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from chaoskit.contracts import Capability, Harm, Scene, Toxic
from chaoskit.faults import proof
from chaoskit.faults.slow_links import On, impossible_links_of, links_of, one_way_only, slowed
from chaoskit.faults.targets import For, NamedLink, Target
from chaoskit.spec import Spec
from chaoskit.units import Duration, parse_duration, within

_LEAST_MS = 5  # what is less cannot be told from noise, and a fault that cannot be proven is no fault


class Latency(Spec):
    """Hold back everything on some links by `delay` in each direction; a request and its answer take twice as long.

    The order of bytes is kept. At least 5 ms have to be left when jitter is taken off the delay, as
    less cannot be proven.
    """

    kind: ClassVar[str] = "latency"
    needs: ClassVar[frozenset[Capability]] = frozenset({"toxic"})
    example: ClassVar[Mapping[str, str]] = {"delay": "100ms", "jitter": "10ms", "target": "follower", "for": "10s"}

    delay: Annotated[Duration, within("5ms", "10s", parse_duration)]
    """One way, in whole milliseconds."""
    jitter: Annotated[Duration, within("0ms", "10s", parse_duration)] = 0.0
    """Each chunk is held back by delay ± up to this much, drawn anew by the proxy and not by the seed."""
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
    def _provable(self) -> Self:
        one_way_only(self.on, self.target, self.links)
        if _ms(self.delay) - _ms(self.jitter) < _LEAST_MS:
            raise ValueError(f"delay minus jitter must be at least {_LEAST_MS}ms, or nobody can prove that it bites")
        return self

    def impossible(self, members: Sequence[str]) -> str | None:
        return impossible_links_of(self.on, self.target, self.links, members)

    def harms(self, scene: Scene) -> Sequence[Harm]:
        strength = (("latency", _ms(self.delay)), ("jitter", _ms(self.jitter)))
        return [Toxic(links_of(self.on, self.target, self.links, scene), "latency", strength)]

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.links_slow(scene, slowed(harms), self._pace())

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        return proof.links_quick(scene, slowed(harms), self._pace())

    def _pace(self) -> proof.Pace:
        return proof.Pace(2 * (_ms(self.delay) - _ms(self.jitter)) / 1e3)


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)
