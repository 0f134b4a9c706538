"""Toxics that may be sent to Toxiproxy.

It checks nothing itself: a negative rate crashes it, with every proxy in it; an attribute that it does not know is
ignored, and a toxic without effect is reported as set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chaoskit.errors import ProxyError

STREAMS = ("upstream", "downstream")

_HOUR_MS = 3_600_000
_LIMITS: dict[str, dict[str, tuple[int, int, int | None]]] = {  # type → attribute → smallest, largest, default
    "latency": {"latency": (0, _HOUR_MS, None), "jitter": (0, _HOUR_MS, 0)},
    "bandwidth": {"rate": (1, 10_000_000, None)},  # 0 would be a blackhole by another name
    "timeout": {"timeout": (0, _HOUR_MS, 0)},  # 0 is for ever
}


@dataclass(frozen=True, slots=True)
class ToxicSpec:
    """A toxic on one stream, with every attribute of its type."""

    name: str
    type: str
    stream: str  # one of STREAMS
    attributes: tuple[tuple[str, int], ...]  # sorted


def toxic_on_both_streams(name: str, kind: str, attributes: Mapping[str, int]) -> frozenset[ToxicSpec]:
    """Raises ProxyError for what would crash Toxiproxy or be ignored by it."""
    whole = tuple(sorted(_checked(kind, attributes).items()))
    return frozenset(ToxicSpec(f"{name}.{stream}", kind, stream, whole) for stream in STREAMS)


def _checked(kind: str, attributes: Mapping[str, int]) -> dict[str, int]:
    if kind not in _LIMITS:
        raise ProxyError(f"there is no toxic {kind!r}; there are {', '.join(_LIMITS)}")
    limits = _LIMITS[kind]
    unknown = sorted(attributes.keys() - limits.keys())
    if unknown:
        raise ProxyError(f"toxic {kind} has no attribute {unknown[0]!r}; it has {', '.join(limits)}")
    checked = {}
    for name, (smallest, largest, default) in limits.items():
        value = attributes.get(name, default)
        if type(value) is not int or not smallest <= value <= largest:  # True is an int, but no number of ms
            raise ProxyError(f"toxic {kind}: {name} must be an integer from {smallest} to {largest}, not {value!r}")
        checked[name] = value
    return checked
