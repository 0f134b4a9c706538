"""A whole run's history in memory, sorted and ready to be judged.

Memory: a million operations need some 450 MB (`python -m tests.bench.recording history`), a million watch events 230, a
million events of members' logs 170.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from msgspec.structs import force_setattr

from chaoskit.history.clocks import doubt_ns, on_one_timeline
from chaoskit.history.records import (
    ClockOffset,
    ClosedModel,
    FaultSpan,
    GeneratorSample,
    LeaseEnded,
    LogEvent,
    LogGap,
    Mark,
    MemberSample,
    Operation,
    Phase,
    Record,
    ResourceSample,
    Search,
    Unsent,
    WatchClosed,
    WatchEvent,
    WatchOpened,
    WatchProgress,
    WriteProbe,
)
from chaoskit.history.settled import RECENT, settled
from chaoskit.history.shards import SUFFIX, ShardReader


@dataclass(slots=True)
class History:
    """All records by type, each list in the order of time. Checkers and figures see this and nothing else."""

    operations: list[Operation] = field(default_factory=list)  # by due_ns; in flight at the end: unknown
    unsent: list[Unsent] = field(default_factory=list)
    watch_opened: list[WatchOpened] = field(default_factory=list)
    watch_events: list[WatchEvent] = field(default_factory=list)  # in the order each watch received them
    watch_progress: list[WatchProgress] = field(default_factory=list)
    watch_closed: list[WatchClosed] = field(default_factory=list)
    lease_ended: list[LeaseEnded] = field(default_factory=list)
    log: list[LogEvent] = field(default_factory=list)  # in the order each member's audit watcher received them
    log_gaps: list[LogGap] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    faults: list[FaultSpan] = field(default_factory=list)
    members: list[MemberSample] = field(default_factory=list)
    resources: list[ResourceSample] = field(default_factory=list)
    write_probes: list[WriteProbe] = field(default_factory=list)
    generator: list[GeneratorSample] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    closed_models: list[ClosedModel] = field(default_factory=list)
    clocks: list[ClockOffset] = field(default_factory=list)  # of workers on other machines
    searches: list[Search] = field(default_factory=list)
    torn_shards: tuple[str, ...] = ()

    @property
    def begins_ns(self) -> int:
        """Where the first phase begins, 0 without phases."""
        return min((phase.begins_ns for phase in self.phases), default=0)

    @property
    def ends_ns(self) -> int:
        """Where the last phase ends, 0 without phases."""
        return max((phase.ends_ns for phase in self.phases), default=0)

    def clock_doubt_ns(self, worker: int) -> int:
        """By how much the times of this worker's records may be wrong against the controller's; 0 on its machine."""
        return doubt_ns([clock for clock in self.clocks if clock.worker == worker])

    def mark(self, kind: str) -> Mark | None:
        """The last mark of this kind."""
        return next((mark for mark in reversed(self.marks) if mark.kind == kind), None)


_LISTS: dict[type, str] = {
    Unsent: "unsent",
    WatchOpened: "watch_opened",
    WatchProgress: "watch_progress",
    WatchClosed: "watch_closed",
    LeaseEnded: "lease_ended",
    LogGap: "log_gaps",
    Phase: "phases",
    FaultSpan: "faults",
    MemberSample: "members",
    ResourceSample: "resources",
    WriteProbe: "write_probes",
    GeneratorSample: "generator",
    Mark: "marks",
    ClosedModel: "closed_models",
    ClockOffset: "clocks",
    Search: "searches",
}


def gather(records: Iterable[Record]) -> History:
    """Sort loose records into a History."""
    history = History()
    sharing, add_operation, add_event = _Sharing(), history.operations.append, history.watch_events.append
    for record in settled(records):
        if isinstance(record, Operation):
            sharing.of_operation(record)
            add_operation(record)
        elif isinstance(record, WatchEvent):
            add_event(record)
        elif isinstance(record, LogEvent):
            sharing.of_log_event(record)
            history.log.append(record)
        else:
            getattr(history, _LISTS[type(record)]).append(record)
    history.operations.sort(key=lambda op: op.due_ns)
    for name, key in _ORDERS.items():
        getattr(history, name).sort(key=key)
    return history


class _Sharing:
    """One string for all records that say the same: a third of an operation's memory, half of a log event's."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._recent: dict[str, str] = {}  # values: every member's log has them, at about the same time

    def of_log_event(self, event: LogEvent) -> None:
        if len(self._recent) > RECENT:
            self._recent.clear()
        force_setattr(event, "key", self._known.setdefault(event.key, event.key))
        force_setattr(event, "member", self._known.setdefault(event.member, event.member))
        force_setattr(event, "value", self._recent.setdefault(event.value, event.value))

    def of_operation(self, op: Operation) -> None:
        known = self._known.setdefault
        for name in ("kind", "member", "key", "error"):
            text = getattr(op, name)
            if text:
                force_setattr(op, name, known(text, text))


_ORDERS = {
    "watch_opened": lambda r: r.at_ns,
    "watch_closed": lambda r: r.at_ns,
    "phases": lambda r: r.begins_ns,
    "faults": lambda r: r.injected_ns,
    "members": lambda r: r.at_ns,
    "resources": lambda r: r.at_ns,
    "write_probes": lambda r: r.sent_ns,
    "generator": lambda r: r.at_ns,
    "marks": lambda r: r.at_ns,
    "searches": lambda r: r.begins_ns,
}


def load(folder: Path) -> History:
    """The history in a run's `history/` folder. Torn ends are left out and named in `torn_shards`."""
    shards = [ShardReader(path) for path in shard_paths(folder)]
    history = gather(records_in(shards))
    history.torn_shards = tuple(shard.path.name for shard in shards if shard.torn)
    return history


def records_in(shards: Iterable[ShardReader]) -> Iterator[Record]:
    """All that was written, shard after shard: what a History and an export are made of."""
    return chain.from_iterable(map(on_one_timeline, shards))


def shard_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))
