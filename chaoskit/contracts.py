"""The promises between parts. Parts know these Protocols and the nouns below them, never each other.

Read in this order: System and Cluster (the thing under test), Harm and Fault (what is done to it), Client, Session and
Workload (what loads it), Checker and Reporter (what is said about it).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from chaoskit.access import PLAIN, Access
from chaoskit.history import History, LogEvent, LogGap, Outcome
from chaoskit.results import Figures, Results
from chaoskit.shapes import Pace
from chaoskit.topology import Link, Links
from chaoskit.verdict import Finding

Capability = Literal["cut", "toxic", "signal", "restart", "cpu", "memory", "disk_io", "disk"]
"""What a backend can do to its cluster: cut links, shape links, send signals to members, start members again, limit
their CPU, their memory and what they write to disk, and give them a data disk of limited size that can be filled."""

DATA_DISK_BYTES = 256 << 20
"""Size of a member's data disk where one can be filled. It lives in memory; etcd sets 128 MB aside for its log."""

ImageSource = Literal["auto", "pull", "build"]
"""Where images come from: the project's own from a registry, built from local binaries, or what is quickest."""

Say = Callable[[str], None]
"""Where a part tells people what takes long; one line without an end."""


# ── the system under test ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """A member's own view of itself, by its status RPC."""

    leader: str  # member name; "" when it knows none
    term: int
    revision: int
    raft_index: int
    db_size: int
    version: str


@dataclass(frozen=True, slots=True)
class ServerMetrics:
    """A server's own counters since its start; its pending proposals and the size of its database are as of now."""

    fsyncs: int  # of the write-ahead log
    fsync_s: float  # spent in them
    commits: int  # of the database
    commit_s: float
    leader_changes: int
    proposals_pending: int
    db_bytes: int
    received_bytes: int  # from clients and peers
    sent_bytes: int


@dataclass(frozen=True, slots=True)
class MemberAddresses:
    """Where one member listens and how it is told to reach the others. All are URLs without a path."""

    name: str
    listen_client: str
    advertise_client: str
    listen_peer: str
    advertise_peer: str


@dataclass(frozen=True, slots=True)
class FoundMember:
    """A member of a cluster that is somebody else's."""

    name: str  # ours, such as n1
    own_name: str  # what its people call it
    id: int
    version: str
    peer_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in a cluster that is somebody else's, and all that stands in the way of a run there."""

    members: tuple[FoundMember, ...] = ()
    revision: int = 0  # the newest
    problems: tuple[str, ...] = ()  # each with what to do about it


class System(Protocol):
    """What members run: etcd. Knows command lines and RPCs, nothing about processes, containers or proxies."""

    name: str

    def member_argv(
        self,
        binary: Path,
        member: MemberAddresses,
        cluster: Sequence[MemberAddresses],
        data_dir: Path,
        token: str,
        flags: Mapping[str, str],
    ) -> list[str]: ...

    def refused_flags(self, flags: Mapping[str, str]) -> dict[str, str]:
        """Flags that chaoskit owns or that do not exist, each with the reason."""

    def status(self, endpoint: str, timeout_s: float) -> MemberStatus | None:
        """The status RPC at `host:port`; None when no answer came in time. Never raises for a sick member."""

    def put(self, endpoint: str, key: str, value: str, timeout_s: float) -> int | None:
        """One write; its revision, or None when it was not acknowledged in time."""

    def audit(
        self, member: str, endpoint: str, prefix: str, record: Callable[[LogEvent | LogGap], None], after: int = 0
    ) -> Audit:
        """Watch everything below `prefix` at one member from behind revision `after` on, reconnecting for ever."""

    def examine(self, endpoints: Mapping[str, str], prefix: str) -> Examination:
        """Look at members that somebody else runs, by name and `host:port`. Writes nothing; nothing it finds raises."""

    def member_at(self, endpoint: str, behind: str, timeout_s: float) -> str:
        """The name of the examined member that answers at `host:port`, with the certificate of the endpoint `behind`
        it; "" when none does."""

    def tidy(
        self, endpoints: Sequence[str], prefix: str, leases: Collection[int], deadline_s: float
    ) -> tuple[int, int]:
        """Remove the keys below a run's prefix and its leases; how many went. Raises InfrastructureError."""

    def metrics(self, endpoint: str, timeout_s: float) -> ServerMetrics | None:
        """What the server counts of itself; None when no answer came in time."""

    def close(self) -> None:
        """Close every connection that this controller-side object opened."""


class Audit(Protocol):
    """One member's audit watcher: ground truth, on a path that faults do not touch."""

    revision: int  # all events up to here were recorded

    def close(self) -> None: ...


# ── the cluster ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Cut:
    """Links on which nothing passes. `blackhole`: silence, like a real partition. `reject`: refused at once."""

    links: Links
    mode: Literal["blackhole", "reject"] = "blackhole"


@dataclass(frozen=True, slots=True)
class Toxic:
    """One Toxiproxy toxic of fixed strength on both streams of each link."""

    links: Links
    type: Literal["latency", "bandwidth"]
    attributes: tuple[tuple[str, int], ...]  # ms for latency and jitter, KB/s for rate


@dataclass(frozen=True, slots=True)
class Down:
    """Members that are not running: SIGKILL, or SIGTERM and SIGKILL when that took too long."""

    members: tuple[str, ...]
    signal: Literal["KILL", "TERM"] = "KILL"


@dataclass(frozen=True, slots=True)
class Paused:
    """Members that are stopped by SIGSTOP."""

    members: tuple[str, ...]


Limit = Literal["cpu", "memory", "disk_write"]
"""What of a member can be limited, in µs of CPU time per second, bytes, and bytes per second."""


@dataclass(frozen=True, slots=True)
class Limited:
    """Members that may use no more than `amount` of something. What dies of it stays down until it is released."""

    members: tuple[str, ...]
    limit: Limit
    amount: int


@dataclass(frozen=True, slots=True)
class Filled:
    """Members whose data disk has no more than this many bytes free. Who dies of it stays down until it is released."""

    members: tuple[str, ...]
    free_bytes: int


Harm = Cut | Toxic | Down | Paused | Limited | Filled
"""All that can be done to a cluster, as data. Whoever inflicts it is its holder and alone can release it."""


@dataclass(frozen=True, slots=True)
class LinkProbe:
    """One request through a link's own path: its proxy listener, then the member behind it."""

    answered: bool
    seconds: float  # until the answer, or until the probe gave up
    how: str  # "HTTP 200", "silence for 0.5 s", "connection refused"


@dataclass(frozen=True, slots=True)
class MemberProcess:
    """What the operating system says of a member."""

    state: Literal["running", "paused", "down"]
    pid: int  # 0 when down
    starts: int  # how often it was started
    end: str = ""  # how it ended last, under harm that was done to it: "SIGKILL, 10 s after SIGTERM"; "" if never


@dataclass(frozen=True, slots=True)
class MemberLimits:
    """A member's limits as the operating system has them, and what it counts of them; None: no limit."""

    cpu: int | None = None  # µs of CPU time per second
    memory: int | None = None  # bytes
    disk_write: int | None = None  # bytes per second
    throttled: int = 0  # periods in which it wanted more CPU than it got, since its start
    memory_used: int = 0  # bytes, as the limit counts them: with the page cache
    memory_hits: int = 0  # how often it wanted more than its limit since that was set; 0 where nobody counts


@dataclass(frozen=True, slots=True)
class MemberResources:
    """What a member has used since it was started; memory is what it uses now. Without the page cache."""

    cpu_s: float
    memory_bytes: int
    read_bytes: int | None  # from its disks; None where the machine does not say
    written_bytes: int | None


class Cluster(Protocol):
    """A running cluster. The backend is dumb: it inflicts and releases harm, and answers questions."""

    members: tuple[str, ...]
    links: Links  # those that can be probed
    access: Access  # how clients connect to the members
    base_revision: int  # in a cluster that others use too: the newest before the run; 0 where all is the run's

    def made_of(self) -> dict[str, str]:
        """What its servers were made of, for the report: "etcd image" → reference and digest, "etcd program" → path."""

    def client_endpoints(self) -> dict[str, str]:
        """Member → `host:port` as clients reach it, through Toxiproxy."""

    def direct_endpoints(self) -> dict[str, str]:
        """Member → `host:port` around Toxiproxy, for status, audit and proofs."""

    def inflict(self, holder: str, harm: Harm) -> None:
        """Journal, then do. Harm adds up: a link is cut, a member down or paused, while any holder says so."""

    def release(self, holder: str) -> None:
        """Undo all harm of this holder that no other holder keeps. Idempotent. Raises HealFailed."""

    def heal(self) -> None:
        """Release every holder, then read back that nothing is left. Raises HealFailed."""

    def process(self, member: str) -> MemberProcess: ...

    def resources(self, member: str) -> MemberResources | None:
        """None when it does not run, or its backend cannot say. Does not block."""

    def limits(self, member: str) -> MemberLimits: ...

    def write_seconds(self, member: str, size: int) -> float:
        """How long it takes to write and sync so many bytes to a data disk under the member's own limits.

        Raises FaultNotProven when that cannot be tried.
        """

    def disk_refusal(self, member: str, size: int) -> str:
        """Why so many bytes more do not fit on the member's data disk, "" when they do. Tries it, leaves nothing."""

    def probe(self, link: Link, timeout_s: float, padding: int = 0) -> LinkProbe:
        """Send one request with `padding` extra bytes through the link's path."""

    def trouble(self) -> list[str]:
        """What went wrong in the test bed itself since the last call: a proxy restarted, a member that died by itself.

        Raises BedLost when there is no test bed any more.
        """

    def close(self) -> None:
        """Heal, stop everything, remove everything that is not a result. Idempotent."""


def key_prefix(run_id: str) -> str:
    """All keys of a run start with it."""
    return f"/chaoskit/{run_id}/"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster is that somebody else runs."""

    endpoints: Mapping[str, str]  # member → host:port, around every proxy
    access: Access = PLAIN
    toxiproxy: str = ""  # host:port of its control API
    proxies: Mapping[Link, str] = field(default_factory=dict)  # link → the name of its proxy there


@dataclass(frozen=True, slots=True)
class ClusterWish:
    """What a backend is asked to build, or where it is."""

    run_id: str
    members: tuple[str, ...]
    version: str
    flags: Mapping[str, str]
    run_dir: Path  # logs/ below it stay; data/ and the like are removed
    binaries: Mapping[str, Path]  # explicit paths by server name, may be empty
    images: ImageSource = "auto"  # of containers
    image: str = ""  # of members, instead of what `images` finds
    clients_at: tuple[str, int] | None = None  # address of this machine and first port of the members' client proxies
    lifetime_s: float = 25 * 3600.0  # afterwards others may take what is left of it for abandoned
    needs: frozenset[Capability] = frozenset()  # what will be done to it, so that it can be built for that
    place: Place | None = None  # of a cluster that is there already


class Backend(Protocol):
    """Where members live."""

    name: str

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do on this machine."""

    @property
    def obstacles(self) -> Mapping[Capability, str]:
        """What it cannot do on this machine, each with the reason and what would help."""

    def missing(self) -> list[str]:
        """What this machine lacks to use the backend, each with how to get it; empty when it is ready."""

    def about(self) -> str:
        """One line on what it runs on, for people and the report. Only when nothing is missing."""

    def start(self, wish: ClusterWish, system: System, say: Say) -> Cluster:
        """Build the cluster and wait until every member answers its status RPC with a leader.

        Raises InfrastructureError; then nothing is left behind.
        """

    def sweep(self, say: Say) -> list[str]:
        """Heal and remove what dead runs left; a line for each thing done. Foreign things are not touched."""


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Scene(Protocol):
    """What a fault may see: the cluster as it is now, and a seeded source of choices."""

    members: tuple[str, ...]
    links: Links  # those that can be probed
    rng: Random

    def leader(self) -> str:
        """The leader that a majority names; waits a few seconds for one. Raises FaultNotProven without one."""

    def status(self, member: str, timeout_s: float = 0.5) -> MemberStatus | None:
        """The member's own status, on a path that faults do not touch."""

    def metrics(self, member: str, timeout_s: float = 1.0) -> ServerMetrics | None:
        """What the member counts of itself, on that path too. Costs it some milliseconds of CPU time."""

    def process(self, member: str) -> MemberProcess: ...

    def resources(self, member: str) -> MemberResources | None: ...

    def limits(self, member: str) -> MemberLimits: ...

    def write_seconds(self, member: str, size: int) -> float: ...

    def disk_refusal(self, member: str, size: int) -> str: ...

    def probe(self, link: Link, timeout_s: float = 0.5, padding: int = 0) -> LinkProbe: ...


@runtime_checkable
class Fault(Protocol):
    """Harm with an end. One fault is one file in faults/: a Spec whose fields are its YAML form, and three methods."""

    kind: ClassVar[str]
    needs: ClassVar[frozenset[Capability]]
    example: ClassVar[Mapping[str, str]]  # its YAML form as in a method; shown to people, and what the tests do

    @property
    def for_(self) -> float:
        """Seconds until it is undone."""

    def impossible(self, members: Sequence[str]) -> str | None:
        """Why this fault cannot be done to such a cluster; None when it can. Asked before anything starts."""

    def harms(self, scene: Scene) -> Sequence[Harm]:
        """Choose the targets now and say what is to be done to them. Does nothing itself."""

    def bites(self, scene: Scene, harms: Sequence[Harm]) -> str:
        """One look by an independent probe: evidence that it bites. Raises FaultNotProven; asked until a deadline."""

    def gone(self, scene: Scene, harms: Sequence[Harm]) -> str:
        """One look by an independent probe: evidence that it is undone. Raises FaultNotProven; asked again."""


# ── load ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class CallFailed(Exception):
    """How a client hands a failed call to the recorder: outcome by the system's table, status and message as is."""

    def __init__(self, outcome: Outcome, status: str, message: str = "") -> None:
        super().__init__(f"{status}: {message}" if message else status)
        self.outcome = outcome


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What an acknowledged call told. 0, "" or nothing where the call has no such thing. A struct, because every call
    of the load makes one: 0.2 µs where a frozen dataclass of these fields takes 1.5."""

    revision: int = 0
    mod_revision: int = 0
    value: bytes = b""
    lease: int = 0
    ttl_s: int = 0
    count: int = 0  # keys in the whole range, or keys that a delete removed
    more: bool = False  # keys in the range behind this page
    kvs: tuple[tuple[bytes, int, bytes], ...] = ()  # one page of a range: (key, mod revision, value), by key
    succeeded: bool = False  # a transaction's guard held; when not, value and mod_revision are what stood against it


class WatchMessage(msgspec.Struct, frozen=True, gc=False):
    """One response on a watch, or its end. `events` are (revision, "put" | "delete", key, value).

    A Struct, because one is made for every response: it costs a fifth of a frozen dataclass.
    """

    kind: Literal["events", "progress", "closed"]
    revision: int = 0  # of the header
    events: Sequence[tuple[int, Literal["put", "delete"], bytes, bytes]] = ()
    reason: str = ""  # when closed: as in WatchClosed
    detail: str = ""
    compact_revision: int = 0


@dataclass(frozen=True, slots=True)
class LateReading:
    """How a slow watch reads: so many events a second at most, and not at all for `stop_s` of every `every_s`."""

    rate_per_s: float | None = None
    stop_s: float = 0.0
    every_s: float = 0.0


class WatchHandle(Protocol):
    """An open watch."""

    created_revision: int

    def cancel(self) -> None:
        """Stop it; no message is delivered afterwards."""


class Client(Protocol):
    """The library under test, connected to one member, used by greenlets of a gevent-patched worker.

    Every call is one RPC without retries behind it, with a deadline; it raises CallFailed when not acknowledged.
    """

    member: str

    def put(self, key: bytes, value: bytes, *, lease: int, timeout_s: float) -> Reply: ...

    def get(self, key: bytes, *, serializable: bool, timeout_s: float) -> Reply: ...

    def range(
        self, key: bytes, range_end: bytes, *, limit: int, revision: int, serializable: bool, timeout_s: float
    ) -> Reply:
        """The first `limit` keys in [key, range_end) as they are at `revision`, 0 for now. The next page begins at the
        last key and a zero byte, at the first page's revision."""

    def delete(self, key: bytes, *, timeout_s: float) -> Reply:
        """Of a key that does not exist: acknowledged, with a count of 0."""

    def compare_and_swap(self, key: bytes, value: bytes, *, mod_revision: int, timeout_s: float) -> Reply:
        """One transaction: put if the key was last modified at `mod_revision` (0: if it does not exist), else get."""

    def lease_grant(self, ttl_s: int, *, timeout_s: float) -> Reply: ...

    def lease_keepalive(self, lease: int, *, timeout_s: float) -> Reply:
        """One keepalive. An answer with TTL 0 says that the lease is gone; it is still an acknowledged call."""

    def lease_revoke(self, lease: int, *, timeout_s: float) -> Reply: ...

    def watch(
        self,
        key: bytes,
        range_end: bytes,
        start_revision: int,
        deliver: Callable[[WatchMessage], None],
        *,
        timeout_s: float,
        stream: int | None = None,
    ) -> WatchHandle:
        """Open a watch with require-leader and told of progress. Watches with the same `stream` share one; which do
        without a number is the client's choice.

        `deliver` is called in order, and exactly once with "closed" unless the handle was cancelled. The client finds a
        dead stream by itself within 6 s and closes its watches with "progress deadline" or "reset".
        """

    def close(self) -> None: ...


class ClientFactory(Protocol):
    """Makes clients of one kind inside a worker."""

    name: str
    environment: ClassVar[Mapping[str, str]]  # variables that the worker process needs before it starts

    def connect(self, member: str, endpoint: str, *, reads_late: bool = False) -> Client:
        """With `reads_late` the server may send ahead little, so that it soon feels that nobody reads."""


class Session(Protocol):
    """One simulated client inside a worker: a recorded Client, seeded choices and its share of the schedule.

    Every call on it is timed, classified and recorded; it never raises for a sick cluster: a failed or unknown call
    returns None. After one, the next call goes to the next member unless the clients are pinned.
    """

    number: int  # 0.. within the workload
    rng: Random
    prefix: str  # all keys of the run start with it
    keys: int  # all workloads but leases share this many keys: `<prefix>put/000000` …
    arrival: int  # number of the arrival that was yielded last, over all clients of the workload

    @property
    def stopping(self) -> bool:
        """This client's load is over: no further arrivals or, for clients that pace themselves, the run has drained."""

    def arrivals(self) -> Iterator[int]:
        """Due times in ns; each is yielded when it is due (or late). Ends when the load stops. In the closed model it
        yields 0 whenever the client is to call again: a call with `due_ns` 0 is due when it is sent."""

    def sleep_until(self, at_ns: int) -> bool:
        """Sleep; False when this client's load ended before `at_ns`. Due times that pass while the client is busy
        go through here too: that is how an operation is known to have waited for its client."""

    def now_ns(self) -> int: ...

    def put(self, key: str, *, size: int, due_ns: int, lease: int = 0, kind: str = "put") -> Reply | None:
        """Write a value that is unique in the run and `size` bytes long. `kind` is the row that it counts in: every
        kind of write ends in "put", every kind of grant in "grant"."""

    def get(self, key: str, *, due_ns: int, serializable: bool = False, kind: str = "read") -> Reply | None: ...

    def range(
        self,
        key: str,
        range_end: str,
        *,
        limit: int,
        due_ns: int,
        revision: int = 0,
        serializable: bool = False,
        kind: str = "range",
    ) -> Reply | None:
        """One page: at most `limit` keys of [key, range_end), at `revision` or now."""

    def delete(self, key: str, *, due_ns: int, kind: str = "delete") -> Reply | None:
        """Kinds end in "delete"."""

    def compare_and_swap(
        self, key: str, *, mod_revision: int, size: int, due_ns: int, kind: str = "txn"
    ) -> Reply | None:
        """Put a unique value if the key was last modified at `mod_revision`, else get it. Kinds end in "txn"."""

    def lease_grant(self, ttl_s: int, *, due_ns: int, kind: str = "lease_grant") -> Reply | None: ...

    def lease_keepalive(self, lease: int, *, due_ns: int, ttl_s: int) -> Reply | None: ...

    def lease_revoke(self, lease: int, *, due_ns: int) -> Reply | None: ...

    def lease_ended(
        self, lease: int, key: str, reason: Literal["stopped", "revoked", "expired", "left to expire"]
    ) -> None: ...

    def keep_watching(
        self,
        key: str,
        range_end: str,
        mode: Literal["resume", "naive"],
        *,
        stream: int | None = None,
        late: LateReading | None = None,
    ) -> None:
        """Open a watch, record all it delivers, reopen it when it ends; returns when the load has drained. Watches
        with the same `stream` share one and begin at the same member. One with `late` is a slow watch: it has
        connections apart from all others, and figures of its own."""

    def ready(self) -> None:
        """Say that this client is set up; the run's warmup begins when all have said so."""


@runtime_checkable
class Workload(Protocol):
    """What simulated clients do. One workload is one file in workloads/: a Spec whose fields are its YAML form."""

    kind: ClassVar[str]
    operations: ClassVar[tuple[str, ...]]  # the kinds of Operation that it records

    def clients(self) -> int:
        """How many simulated clients run it, each as one Locust user."""

    def pace(self) -> Pace | None:
        """How the calls of all its clients come about; None when the clients pace themselves."""

    def live(self, session: Session) -> None:
        """One simulated client's life, until `session.stopping`."""


class LiveSample(msgspec.Struct, frozen=True, kw_only=True):
    """One second of one load worker, as it happens: for people's eyes, never a source of figures."""

    at_ns: int
    ok: dict[str, int]  # by kind of operation
    failed: int
    unknown: int
    p99_ms: dict[str, float]  # response time, by kind
    watch_events: int
    watch_lag_ms: float | None  # largest of this second, against the acknowledgements this worker knows
    watches_open: int
    watch_reached: int  # lowest revision that every watch has passed; 0 without watches
    in_flight: int
    ready: bool  # every client has said that it is set up
    cpu: float
    slow: dict[str, int] = {}  # while a search runs: operations over its limit, by kind


class Narrator(Protocol):
    """Who tells people how the run goes: the rich live view, plain lines, or nobody."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def begin(self, title: str, steps: Sequence[tuple[str, float]]) -> None:
        """The run begins: every phase to come with its expected seconds."""

    def phase(self, name: str) -> None: ...

    def second(self, sample: LiveSample, leader: str, active_faults: Sequence[str]) -> None: ...

    def end(self) -> None: ...


# ── judging and reporting ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Promises:
    """What an experiment expects, in the form that checkers read: no plan, no cluster."""

    steady_state: tuple[str, ...] = ()
    slo: tuple[str, ...] = ()
    drain_deadline_s: float = 10.0
    late_after_s: float = 5.0
    steady_p99_s: float | None = None  # the response P99 that the steady state allows, the highest of several


class Checker(Protocol):
    """History → findings. Pure: no clock, no file, no network. A crash of one is turned into an unknown finding.

    `figures` were computed from the same history, once for all checkers.
    """

    name: str

    def check(self, history: History, figures: Figures, promises: Promises, /) -> Sequence[Finding]: ...


class Reporter(Protocol):
    """One format = one file in reporters/: results in, text out. `reporters.write_all` writes them."""

    name: str  # as in `chaoskit report RUN --format NAME`
    file: str  # its name in the run directory

    def render(self, results: Results) -> str:
        """Pure. The results are safe to print: secrets are masked, control characters are visible escapes."""
