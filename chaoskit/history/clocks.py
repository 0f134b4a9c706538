"""One timeline for records of several machines: what a worker elsewhere wrote, shifted onto the controller's clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import force_setattr

from chaoskit.history.records import ClockOffset, Record

_DURATIONS = ("think_ns", "offset_ns", "uncertainty_ns", "p99_limit_ns", "every_ns")


def on_one_timeline(shard: Iterable[Record]) -> Iterator[Record]:
    """The records of one shard, shifted by the first offset that was measured. 0 is no time and stays.

    By the first alone, although a shard may hold later ones: a worker's own records stand in a certain order, and a
    shift that changed by some microseconds between two of them could turn it around.
    """
    offset_ns: int | None = None
    for record in shard:
        if isinstance(record, ClockOffset) and offset_ns is None:
            offset_ns = record.offset_ns
        if offset_ns:
            _shift(record, offset_ns)
        yield record


def _shift(record: Record, offset_ns: int) -> None:
    for name in record.__struct_fields__:
        if name.endswith("_ns") and name not in _DURATIONS:
            value = getattr(record, name)
            if isinstance(value, tuple):
                force_setattr(record, name, tuple(at_ns + offset_ns for at_ns in value))
            elif value:
                force_setattr(record, name, value + offset_ns)


def doubt_ns(clocks: Sequence[ClockOffset]) -> int:
    """By how much the shifted times of one worker may be wrong: what was not known at first, and what has drifted."""
    return max((abs(clock.offset_ns - clocks[0].offset_ns) + clock.uncertainty_ns for clock in clocks), default=0)
