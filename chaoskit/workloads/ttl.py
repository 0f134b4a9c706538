"""A lease's time to live as people write it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from chaoskit.units import Duration, parse_duration, show_duration, within


def _whole_seconds(ttl: float) -> float:
    if ttl != int(ttl):
        raise ValueError(f"a TTL is a whole number of seconds, not {show_duration(ttl)}")
    return ttl


TTL = Annotated[Duration, within("1s", "24h", parse_duration), AfterValidator(_whole_seconds)]
