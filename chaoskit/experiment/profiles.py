"""`profile: m`: the load that `etcdctl check perf` makes, and the rule by which it passes, so that users can compare.

Its numbers: writes per second and clients of each size, keys of 256 B, values of 1 KiB; it runs for 60 s. It times each
write from its sending, so its rule reads service times here; the response time, from when it was due, stands beside.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from chaoskit.units import show_rate


class Profile(NamedTuple):
    """One size of `etcdctl check perf --load`."""

    writes_per_s: int
    clients: int

    def load(self) -> dict[str, Any]:
        """As it would stand under `load:`."""
        put = {"rate": show_rate(self.writes_per_s), "clients": self.clients, "value_size": "1KiB"}
        return {"put": put, "key_size": "256B"}

    def promises(self) -> tuple[str, ...]:
        """Its pass rule as SLOs."""
        return (
            f"put.goodput >= {show_rate(self.writes_per_s * 0.9)}",
            "put.service.max < 500ms",
            "put.service.stddev < 100ms",
            "put.errors == 0%",
        )


PROFILES = {"s": Profile(150, 50), "m": Profile(1000, 200), "l": Profile(8000, 500), "xl": Profile(15000, 1000)}
