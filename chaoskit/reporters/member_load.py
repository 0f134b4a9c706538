"""What members used, phase by phase, as rows: the table of before and after that operators write by hand."""

from __future__ import annotations

from collections.abc import Iterator

from chaoskit.reporters.words import NONE
from chaoskit.results import MemberLoad, Results

HEADINGS = (
    "phase",
    "member",
    "CPU",
    "CPU max",
    "memory max",
    "disk written/s",
    "disk read/s",
    "received/s",
    "sent/s",
    "fsync",
    "commit",
    "pending",
    "database",
)
_UNITS = ("B", "KiB", "MiB", "GiB")


def rows(results: Results) -> Iterator[tuple[str, ...]]:
    """In the order of phases, the phase's name in its first row only. Nothing when nobody measured."""
    for phase in results.phases:
        loads = [(member.name, member.load[phase.name]) for member in results.members if phase.name in member.load]
        for number, (member, load) in enumerate(loads):
            yield ("" if number else phase.name, member, *_cells(load))


def before_and_after(results: Results) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Judged phases, each with what every member of `results.members` used: mean CPU and highest memory."""
    for phase in results.phases:
        loads = [member.load.get(phase.name) for member in results.members]
        if phase.judged and any(load and load.cpu is not None for load in loads):  # a cluster of others only counts
            yield (
                phase.name,
                tuple(f"{_cores(load.cpu)}  {_size(load.memory_max_bytes)}" if load else NONE for load in loads),
            )


def _cells(load: MemberLoad) -> tuple[str, ...]:
    return (
        _cores(load.cpu),
        _cores(load.cpu_max),
        _size(load.memory_max_bytes),
        _size(load.written_bytes_per_s),
        _size(load.read_bytes_per_s),
        _size(load.received_bytes_per_s),
        _size(load.sent_bytes_per_s),
        _ms(load.fsync_ms),
        _ms(load.commit_ms),
        NONE if load.proposals_pending_max is None else str(load.proposals_pending_max),
        _size(load.db_bytes),
    )


def _cores(cores: float | None) -> str:
    return NONE if cores is None else f"{cores:.0%}"


def _ms(milliseconds: float | None) -> str:
    return NONE if milliseconds is None else f"{milliseconds:.2f} ms"


def _size(count: float | None) -> str:
    if count is None:
        return NONE
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"
