"""What a history is made of. Every time is CLOCK_MONOTONIC in ns of the controller's host, so that all processes share
a timeline; on disk, a worker on another machine writes its own and how far that is off (ClockOffset).

Records are arrays on disk (`array_like`), so a field may be added at the end with a default and never moved or removed.
Strings for keys and values: chaoskit's own keys are ASCII, and of a value only its unique head is kept (`value_id`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Literal
from zlib import crc32

import msgspec

VALUE_END = "|"
"""A written value is `<value id>|<padding>`; the id alone goes into the history."""

_END = VALUE_END.encode()
_HEAD_BYTES = 64  # so much of a value is looked at: an id is shorter


def value_head(value: bytes) -> bytes:
    """What of a value is worth recording: its id, or the beginning of a foreign one."""
    return value[:_HEAD_BYTES].partition(_END)[0]


def value_id(value: bytes) -> str:
    """The unique head of a value that chaoskit wrote; foreign values are cut at 64 bytes."""
    return value_head(value).decode("ascii", "replace")


def page_digest(kvs: Iterable[tuple[bytes, int, bytes]]) -> int:
    """What the history keeps of a page of (key, mod revision, value), because the LOG can tell it. 0.3 µs a key."""
    return crc32(b"".join([b"%b %d %b\n" % (key, at, value_head(value)) for key, at, value in kvs]))


class Outcome(IntEnum):
    OK = 0  # the server acknowledged it
    FAILED = 1  # it certainly did not happen
    UNKNOWN = 2  # it may have happened


class _Record(msgspec.Struct, frozen=True, array_like=True, tag_field="record"):
    """Base for its options alone: an array on disk whose first item is the tag."""


class Operation(_Record, frozen=True, array_like=True, tag="o", gc=False):
    """One RPC. `done_ns == 0` says it was in flight at a flush; a later record with the same id replaces it."""

    worker: int
    number: int  # with `worker`, the operation's id
    kind: str  # the row it counts in; ends in what was called: put, read, delete, txn, grant; a range has a limit
    client: int  # the simulated client
    member: str  # that the client was connected to
    due_ns: int
    sent_ns: int
    done_ns: int
    outcome: Outcome
    error: str = ""  # "STATUS: message"
    queued: bool = False  # every client was busy when it was due, so sent − due is not the generator's fault
    key: str = ""
    value: str = ""  # value id written or read
    revision: int = 0  # of the response header, 0 when there was none
    mod_revision: int = 0  # of the key read
    lease: int = 0
    ttl_s: int = 0  # granted or remaining, as the server said
    serializable: bool = False
    range_end: str = ""  # of a range: keys from `key` to before it
    limit: int = 0  # of a range: keys of one page
    at_revision: int = 0  # that a read asked for; 0 is the newest
    count: int = 0  # of keys in the whole range, or that a delete removed, as the server said
    more: bool = False  # keys in the range behind this page
    digest: int = 0  # `page_digest` of a range's page
    guard: int = 0  # modification revision of the key that a transaction demanded; 0: there is no such key
    succeeded: bool = False  # the guard held, and the transaction wrote


class Unsent(_Record, frozen=True, array_like=True, tag="u"):
    """Arrivals that were due but for which no client became free before the load stopped: offered, never sent."""

    worker: int
    kind: str
    dues_ns: tuple[int, ...]
    stopped_ns: int


class WatchOpened(_Record, frozen=True, array_like=True, tag="w"):
    """A watch was created. `attempt` counts the streams of one watch, from 0."""

    worker: int
    watch: int
    attempt: int
    member: str
    key: str
    range_end: str  # "" for a single key
    start_revision: int  # asked for; 0 is "now"
    created_revision: int  # of the server's created response
    at_ns: int
    mode: Literal["resume", "naive"]
    slow: bool = False  # its client reads late on purpose


class WatchEvent(_Record, frozen=True, array_like=True, tag="e", gc=False):
    worker: int
    watch: int
    attempt: int
    response: int  # number of the response that carried it: events of one revision may not be split
    revision: int
    type: Literal["put", "delete"]
    key: str
    value: str
    received_ns: int


class WatchDelivery(_Record, frozen=True, array_like=True, tag="E", gc=False):
    """One response of a watch with all its events, as a worker writes it: one record where WatchEvent takes one for
    each. `History` has WatchEvents alone; `settled` makes them."""

    worker: int
    watch: int
    attempt: int
    response: int  # number of the response within the attempt
    received_ns: int
    events: Sequence[tuple[int, Literal["put", "delete"], bytes, bytes]]  # revision, type, key, head of the value


class WatchProgress(_Record, frozen=True, array_like=True, tag="p", gc=False):
    """A progress notification: the watch has seen all up to `revision`."""

    worker: int
    watch: int
    attempt: int
    revision: int
    received_ns: int


class WatchClosed(_Record, frozen=True, array_like=True, tag="c"):
    worker: int
    watch: int
    attempt: int
    at_ns: int
    reason: str  # "server cancel", "reset", "no leader", "progress deadline", "compacted", "stopped"
    detail: str = ""
    compact_revision: int = 0


class LeaseEnded(_Record, frozen=True, array_like=True, tag="l"):
    """A client stopped caring for a lease: why, as the client saw it."""

    worker: int
    client: int
    lease: int
    key: str
    at_ns: int
    reason: Literal["stopped", "revoked", "expired", "left to expire"]


class LogEvent(_Record, frozen=True, array_like=True, tag="L", gc=False):
    """Ground truth: an event that the audit watcher of one member delivered."""

    member: str
    revision: int
    type: Literal["put", "delete"]
    key: str
    value: str
    lease: int
    seen_ns: int


class LogGap(_Record, frozen=True, array_like=True, tag="G"):
    """The audit watcher of a member could not see these revisions, both ends included."""

    member: str
    first_revision: int
    last_revision: int
    reason: str


class Phase(_Record, frozen=True, array_like=True, tag="P"):
    """A stretch of the run. `name` is unique: "baseline", "fault:partition", "recovery:partition", "step:knee:9/s"."""

    name: str
    kind: Literal["warmup", "baseline", "fault", "burst", "recovery", "drain", "step"]
    begins_ns: int
    ends_ns: int
    judged: bool = True


class FaultSpan(_Record, frozen=True, array_like=True, tag="F"):
    """One injected fault from injection to proven heal. A time is 0 when that point was not reached."""

    name: str  # as in its phase, such as "partition" or "kill#2"
    kind: str  # name in the faults' table
    targets: tuple[str, ...]  # members or links, as resolved at injection
    detail: str  # one sentence: what was done to whom
    injected_ns: int
    verified_ns: int
    heal_began_ns: int
    healed_ns: int
    evidence: str = ""  # what the probe saw while it bit
    heal_evidence: str = ""
    problem: str = ""  # why it is not proven, or not healed
    cut: tuple[str, ...] = ()  # every link on which nothing passed, as "n1->n2": who was cut off is derived from it


class MemberSample(_Record, frozen=True, array_like=True, tag="m"):
    """One look at one member, by its own status RPC on a path that faults do not touch, and by the operating system."""

    at_ns: int
    member: str
    state: Literal["up", "paused", "down", "silent"]  # silent: runs but does not answer
    pid: int = 0
    leader: str = ""  # member name, "" when it knows none
    term: int = 0
    revision: int = 0
    raft_index: int = 0
    db_size: int = 0
    version: str = ""


class ResourceSample(_Record, frozen=True, array_like=True, tag="R"):
    """One second of one member: what it has used and counted since it was started. None where nobody could say."""

    at_ns: int
    member: str
    pid: int  # counters begin anew with another one
    cpu_s: float | None = None
    memory_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    fsyncs: int | None = None
    fsync_s: float | None = None
    commits: int | None = None
    commit_s: float | None = None
    leader_changes: int | None = None
    proposals_pending: int | None = None
    db_bytes: int | None = None


class WriteProbe(_Record, frozen=True, array_like=True, tag="W"):
    """One write that the observer tried at one member, on a path that faults do not touch: can it write now?"""

    member: str
    sent_ns: int
    done_ns: int
    revision: int  # 0 when it was not acknowledged in time


class GeneratorSample(_Record, frozen=True, array_like=True, tag="g"):
    """One second of one load worker's own health."""

    worker: int
    at_ns: int
    cpu: float  # share of one core in this second, 0..1
    loop_stall_ms: float  # longest time in which the event loop did not turn
    rss_bytes: int
    sent: int
    ok: int
    gc_pause_ms: float = 0.0  # longest collection of garbage, in which nothing else ran
    gc_ms: float = 0.0  # all of them together


class ClosedModel(_Record, frozen=True, array_like=True, tag="U"):
    """A workload of simulated users who wait for each answer before they call again: due is sent for its calls."""

    worker: int
    kind: str  # of operation
    clients: int
    think_ns: int  # from an answer to the same client's next call
    begins_ns: int


class ClockOffset(_Record, frozen=True, array_like=True, tag="T"):
    """How far a worker's clock is from the controller's, measured by that worker on another machine, again and again.
    Its shard is in its own time; reading a history shifts all of it by the first offset."""

    worker: int
    at_ns: int
    offset_ns: int  # controller's clock − worker's clock
    uncertainty_ns: int  # the offset may be wrong by this much; 0: both read the same clock
    host: str = ""


class Search(_Record, frozen=True, array_like=True, tag="K"):
    """A search for the highest rate that holds: steps of equal length, each a phase called `step_phase(name, rate)`."""

    name: str
    kind: str  # of operation whose rate was raised
    p99_limit_ns: int  # of its response time
    every_ns: int
    rates_per_s: tuple[float, ...]  # of all steps that were planned
    begun: int  # how many of them were begun
    begins_ns: int
    ends_ns: int
    stopped: str = ""  # why it ended before its last step did, as it looked then; the figures decide for themselves


def step_phase(search: str, rate_per_s: float) -> str:
    """The phase of one step of a search."""
    return f"step:{search}:{rate_per_s:g}/s"


class Mark(_Record, frozen=True, array_like=True, tag="M"):
    """A moment of the run worth a line: see MARKS for the kinds."""

    kind: str
    at_ns: int
    detail: str = ""
    revision: int = 0
    member: str = ""
    worker: int | None = None


MARKS = {
    "load_ready": "all watches open, all leases granted",
    "load_stopped": "no further arrivals",
    "final_marker": "the last write, which must succeed and must reach every watch; carries its revision",
    "drained": "drain deadline over or every watch at the final marker",
    "leader_changed": "a member reported another leader than before",
    "infra_fault": "the test bed itself misbehaved and was repaired",
    "worker_lost": "a load worker died or fell silent; what it had in flight is unknown",
    "share_redistributed": "the other load workers do the lost one's share from here on",
    "interrupted": "a person or a signal asked to stop",
    "steady_state": "the baseline was judged; detail says how",
    "shared_cluster": "others use the cluster too: what is up to this revision is not the run's, nor is all behind it",
}

Record = (
    Operation
    | Unsent
    | WatchOpened
    | WatchEvent
    | WatchProgress
    | WatchClosed
    | LeaseEnded
    | LogEvent
    | LogGap
    | Phase
    | FaultSpan
    | MemberSample
    | ResourceSample
    | WriteProbe
    | GeneratorSample
    | Mark
    | ClosedModel
    | ClockOffset
    | WatchDelivery
    | Search
)
