"""The promises between parts. Parts know these Protocols and the nouns below them, never each other.

Read in this order: System and Cluster (the thing under test), Harm and Fault (what is done to it), Client, Session and
Workload (what loads it), Checker and Reporter (what is said about it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar, Literal, Protocol, runtime_checkable

import msgspec

from chaoskit.history import History, LogEvent, LogGap, Outcome
from chaoskit.results import Figures, Results
from chaoskit.topology import Link, Links
from chaoskit.verdict import Finding

Capability = Literal["cut", "toxic", "signal", "restart"]
"""What a backend can do to its cluster: cut links, shape links, send signals to members, start members again."""

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

    def audit(self, member: str, endpoint: str, prefix: str, record: Callable[[LogEvent | LogGap], None]) -> Audit:
        """Watch everything below `prefix` at one member from the first revision on, reconnecting for ever."""

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


Harm = Cut | Toxic | Down | Paused
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
    capabilities: frozenset[Capability]

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

    def probe(self, link: Link, timeout_s: float, padding: int = 0) -> LinkProbe:
        """Send one request with `padding` extra bytes through the link's path."""

    def trouble(self) -> list[str]:
        """What went wrong in the test bed itself since the last call: a proxy restarted, a member that died by itself.

        Raises BedLost when there is no test bed any more.
        """

    def close(self) -> None:
        """Heal, stop everything, remove everything that is not a result. Idempotent."""


@dataclass(frozen=True, slots=True)
class ClusterWish:
    """What a backend is asked to build."""

    run_id: str
    members: tuple[str, ...]
    version: str
    flags: Mapping[str, str]
    run_dir: Path  # logs/ below it stay; data/ and the like are removed
    binaries: Mapping[str, Path]  # explicit paths by server name, may be empty
    images: ImageSource = "auto"  # of containers
    image: str = ""  # of members, instead of what `images` finds
    lifetime_s: float = 25 * 3600.0  # afterwards others may take what is left of it for abandoned


class Backend(Protocol):
    """Where members live."""

    name: str
    capabilities: frozenset[Capability]

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
    rng: Random

    def leader(self) -> str:
        """The leader that a majority names; waits a few seconds for one. Raises FaultNotProven without one."""

    def status(self, member: str, timeout_s: float = 0.5) -> MemberStatus | None:
        """The member's own status, on a path that faults do not touch."""

    def process(self, member: str) -> MemberProcess: ...

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


@dataclass(frozen=True, slots=True)
class Reply:
    """What an acknowledged call told. 0 or "" where the call has no such thing."""

    revision: int = 0
    mod_revision: int = 0
    value: bytes = b""
    lease: int = 0
    ttl_s: int = 0


@dataclass(frozen=True, slots=True)
class WatchMessage:
    """One response on a watch, or its end. `events` are (revision, "put" | "delete", key, value)."""

    kind: Literal["events", "progress", "closed"]
    revision: int = 0  # of the header
    events: Sequence[tuple[int, Literal["put", "delete"], bytes, bytes]] = ()
    reason: str = ""  # when closed: as in WatchClosed
    detail: str = ""
    compact_revision: int = 0


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
    ) -> WatchHandle:
        """Open a watch with require-leader and progress notifications; several may share a stream.

        `deliver` is called in order, and exactly once with "closed" unless the handle was cancelled. The client finds a
        dead stream by itself within 6 s and closes its watches with "progress deadline" or "reset".
        """

    def close(self) -> None: ...


class ClientFactory(Protocol):
    """Makes clients of one kind inside a worker."""

    name: str
    environment: ClassVar[Mapping[str, str]]  # variables that the worker process needs before it starts

    def connect(self, member: str, endpoint: str) -> Client: ...


class Session(Protocol):
    """One simulated client inside a worker: a recorded Client, seeded choices and its share of the schedule.

    Every call on it is timed, classified and recorded; it never raises for a sick cluster: a failed or unknown call
    returns None. After one, the next call goes to the next member unless the clients are pinned.
    """

    number: int  # 0.. within the workload
    rng: Random
    prefix: str  # all keys of the run start with it
    keys: int  # put, read and watch share this many keys: `<prefix>put/000000` …

    @property
    def stopping(self) -> bool:
        """This client's load is over: no further arrivals or, for clients that pace themselves, the run has drained."""

    def arrivals(self) -> Iterator[int]:
        """Due times in ns; each is yielded when it is due (or late). Ends when the load stops."""

    def sleep_until(self, at_ns: int) -> bool:
        """Sleep; False when this client's load ended before `at_ns`. Due times that pass while the client is busy
        go through here too: that is how an operation is known to have waited for its client."""

    def now_ns(self) -> int: ...

    def put(self, key: str, *, size: int, due_ns: int, lease: int = 0, kind: str = "put") -> Reply | None:
        """Write a value that is unique in the run and `size` bytes long. `kind` is the row that it counts in: every
        kind of write ends in "put", every kind of grant in "grant"."""

    def get(self, key: str, *, due_ns: int, serializable: bool = False, kind: str = "read") -> Reply | None: ...

    def lease_grant(self, ttl_s: int, *, due_ns: int, kind: str = "lease_grant") -> Reply | None: ...

    def lease_keepalive(self, lease: int, *, due_ns: int, ttl_s: int) -> Reply | None: ...

    def lease_revoke(self, lease: int, *, due_ns: int) -> Reply | None: ...

    def lease_ended(
        self, lease: int, key: str, reason: Literal["stopped", "revoked", "expired", "left to expire"]
    ) -> None: ...

    def keep_watching(self, key: str, range_end: str, mode: Literal["resume", "naive"]) -> None:
        """Open a watch, record all it delivers, reopen it when it ends; returns when the load has drained."""

    def ready(self) -> None:
        """Say that this client is set up; the run's warmup begins when all have said so."""


@runtime_checkable
class Workload(Protocol):
    """What simulated clients do. One workload is one file in workloads/: a Spec whose fields are its YAML form."""

    kind: ClassVar[str]
    operations: ClassVar[tuple[str, ...]]  # the kinds of Operation that it records

    def clients(self) -> int:
        """How many simulated clients run it, each as one Locust user."""

    def rate_per_s(self) -> float | None:
        """Arrivals per second over all its clients; None when the clients pace themselves."""

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
