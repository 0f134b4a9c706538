"""A whole run's history in memory, sorted and ready to be judged.

Memory: about 0.5 KB a record, so one million operations need about 500 MB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chaoskit.history.records import (
    FaultSpan,
    GeneratorSample,
    LeaseEnded,
    LogEvent,
    LogGap,
    Mark,
    MemberSample,
    Operation,
    Outcome,
    Phase,
    Record,
    ResourceSample,
    Unsent,
    WatchClosed,
    WatchEvent,
    WatchOpened,
    WatchProgress,
    WriteProbe,
)
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
    torn_shards: tuple[str, ...] = ()

    @property
    def begins_ns(self) -> int:
        """Where the first phase begins, 0 without phases."""
        return min((phase.begins_ns for phase in self.phases), default=0)

    @property
    def ends_ns(self) -> int:
        """Where the last phase ends, 0 without phases."""
        return max((phase.ends_ns for phase in self.phases), default=0)

    def mark(self, kind: str) -> Mark | None:
        """The last mark of this kind."""
        return next((mark for mark in reversed(self.marks) if mark.kind == kind), None)


_LISTS: dict[type, str] = {
    Unsent: "unsent",
    WatchOpened: "watch_opened",
    WatchEvent: "watch_events",
    WatchProgress: "watch_progress",
    WatchClosed: "watch_closed",
    LeaseEnded: "lease_ended",
    LogEvent: "log",
    LogGap: "log_gaps",
    Phase: "phases",
    FaultSpan: "faults",
    MemberSample: "members",
    ResourceSample: "resources",
    WriteProbe: "write_probes",
    GeneratorSample: "generator",
    Mark: "marks",
}


def gather(records: list[Record]) -> History:
    """Sort loose records into a History. An operation's last record wins; one still in flight becomes unknown."""
    history = History()
    operations: dict[tuple[int, int], Operation] = {}
    for record in records:
        if isinstance(record, Operation):
            identity = (record.worker, record.number)
            if record.done_ns or identity not in operations:
                operations[identity] = record
        else:
            getattr(history, _LISTS[type(record)]).append(record)
    history.operations = sorted(operations.values(), key=lambda op: op.due_ns)
    assert all(op.done_ns or op.outcome is Outcome.UNKNOWN for op in history.operations)
    for name, key in _ORDERS.items():
        getattr(history, name).sort(key=key)
    return history


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
}


def load(folder: Path) -> History:
    """The history in a run's `history/` folder. Torn ends are left out and named in `torn_shards`."""
    records: list[Record] = []
    torn: list[str] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        reader = ShardReader(path)
        records.extend(reader)
        if reader.torn:
            torn.append(path.name)
    history = gather(records)
    history.torn_shards = tuple(torn)
    return history
