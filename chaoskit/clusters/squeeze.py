"""Lowering a memory limit that a member is above of.

Version 2 of cgroups lowers it and kills whoever does not fit. Version 1 refuses what it cannot take away, so the limit
is put at what is used now: what the member wants next is then refused too, and it dies of that or gives memory back.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from chaoskit.clusters.cgroups import BelowUse
from chaoskit.errors import FaultNotProven
from chaoskit.units import show_size

_DEADLINE_S = 3.0
_EVERY_S = 0.02
_PAGE = 4096


def squeeze(lower: Callable[[int], None], used: Callable[[], int], size: int) -> None:
    """`lower` raises BelowUse. Raises FaultNotProven when the member neither shrinks nor dies."""
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        try:
            lower(size)
        except BelowUse:
            now = -(-used() // _PAGE) * _PAGE
            if time.monotonic() > deadline:
                raise FaultNotProven(
                    f"a memory limit of {show_size(size)} is refused by cgroup v1: {now / 1e6:.1f} MB are used and "
                    f"not given back; choose a higher limit, or a machine with cgroup v2, where it kills at once"
                ) from None
            _hold(lower, max(now, size))
            time.sleep(_EVERY_S)
        else:
            return


def _hold(lower: Callable[[int], None], size: int) -> None:
    try:
        lower(size)
    except BelowUse:
        return  # it has taken more meanwhile; soon again
