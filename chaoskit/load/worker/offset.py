"""How far this worker's clock is from the controller's, from round trips over the channel they share.

Pure. The answer was stamped somewhere between question and answer, so the shortest round trip says most: its middle is
off by at most half of it, however lopsided the way was (Cristian, "Probabilistic clock synchronization", 1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class RoundTrip(NamedTuple):
    """All in ns: two moments on the worker's clock, and one between them on the master's."""

    sent_ns: int
    master_ns: int
    back_ns: int


class Offset(NamedTuple):
    """Controller's clock − worker's clock, and how wrong that can be, in ns."""

    offset_ns: int = 0
    uncertainty_ns: int = 0


def measured(trips: Sequence[RoundTrip]) -> Offset:
    """`trips` must not be empty."""
    best = min(trips, key=lambda trip: trip.back_ns - trip.sent_ns)
    half_ns = (best.back_ns - best.sent_ns + 1) // 2
    return Offset(best.master_ns - best.sent_ns - half_ns, half_ns)
