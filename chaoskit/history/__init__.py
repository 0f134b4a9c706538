"""The history of a run: records on disk that every figure and every verdict is computed from.

`records` says what is written, `shards` how it is written and read back, `load` gathers a folder of shards.
"""

from chaoskit.history.gathered import History, load
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
    Outcome,
    Phase,
    Record,
    ResourceSample,
    Search,
    Unsent,
    WatchClosed,
    WatchDelivery,
    WatchEvent,
    WatchOpened,
    WatchProgress,
    WriteProbe,
)
from chaoskit.history.shards import ShardReader, ShardWriter

__all__ = [
    "ClockOffset",
    "ClosedModel",
    "FaultSpan",
    "GeneratorSample",
    "History",
    "LeaseEnded",
    "LogEvent",
    "LogGap",
    "Mark",
    "MemberSample",
    "Operation",
    "Outcome",
    "Phase",
    "Record",
    "ResourceSample",
    "Search",
    "ShardReader",
    "ShardWriter",
    "Unsent",
    "WatchClosed",
    "WatchDelivery",
    "WatchEvent",
    "WatchOpened",
    "WatchProgress",
    "WriteProbe",
    "load",
]
