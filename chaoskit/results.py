"""The figures and the verdict of one run: exactly what `results.json` holds.

Every figure is defined in docs/figures.md. A figure that could not be computed is None, never 0.
Times of latencies are milliseconds, other times seconds; rates are per second.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from chaoskit.verdict import ExitCode, Finding, Verdict

SCHEMA_VERSION = 1


class _Part(msgspec.Struct, frozen=True):
    """Base for its options alone."""


class Percentiles(_Part, frozen=True, kw_only=True):
    """Of a histogram with ≤ 0.1 % error. `count` 0 leaves the rest None. `censored` ones count with what was waited."""

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    p99_9: float | None = None
    max: float | None = None
    censored: int = 0
    stddev: float | None = None  # of all values, not of a sample of them


class OperationFigures(_Part, frozen=True, kw_only=True):
    """One kind of operation in one phase; an operation belongs to the phase in which it was due."""

    offered_per_s: float
    achieved_per_s: float
    goodput_per_s: float
    ok: int
    failed: int
    unknown: int
    unsent: int
    response_ms: Percentiles  # done − due
    service_ms: Percentiles  # done − sent
    errors: dict[str, int] = {}  # "STATUS: message" → count
    conflicts: int = 0  # acknowledged transactions that wrote nothing, because somebody else had changed the key
    closed: bool = False  # clients waited for their answers: what a stall kept from being called is in no figure


class WatchFigures(_Part, frozen=True, kw_only=True):
    watches: int = 0
    expected: int = 0
    delivered: int = 0
    silent_loss: int | None = None  # None: not known, because the ground truth has a hole
    client_loss: int | None = None
    declared_loss: int | None = None
    tail: int | None = None
    duplicate: int = 0
    out_of_order: int = 0
    late: int = 0
    stall_max_s: float | None = None
    lag_ms: Percentiles = Percentiles()
    before_ack: int = 0  # events that came before their write was acknowledged: lag 0
    reconnects: dict[str, int] = {}  # reason → count
    broken: dict[str, int] = {}  # guarantee → how often it was broken, 0 where it held; whole run only
    evidence: dict[str, tuple[str, ...]] = {}  # guarantee or kind of loss → at most 20 lines


class PhaseFigures(_Part, frozen=True, kw_only=True):
    name: str
    kind: str
    judged: bool
    begins_s: float  # since the first phase began
    seconds: float
    ops: dict[str, OperationFigures]
    watch: WatchFigures = WatchFigures()  # of the events whose write was acknowledged in this phase
    slow_watch: WatchFigures = WatchFigures()  # the same of watches that read late on purpose, which are in no other
    write_gap_s: float | None = None
    leader_changes: int = 0
    generator_lag_p99_ms: float | None = None
    generator_cpu_max: float | None = None
    generator_stalled: float | None = None  # share of the phase in which a worker's event loop stood still, at least


class LogFigures(_Part, frozen=True, kw_only=True):
    """The ground truth: which revisions are known, and where its sources contradict each other."""

    revisions: int = 0  # known ones
    first_revision: int | None = None
    last_revision: int | None = None
    missing_revisions: int = 0  # must exist, but nobody saw what they changed
    reached: dict[str, int] = {}  # member → last revision that its audit watcher saw
    unknown_applied: int = 0  # writes of unknown outcome that did happen
    broken: dict[str, int] = {}  # guarantee → how often it was broken, 0 where it held
    evidence: dict[str, tuple[str, ...]] = {}


class AnswerFigures(_Part, frozen=True, kw_only=True):
    """What clients were told, held against the ground truth: reads, ranges, transactions, deletes."""

    checked: int = 0
    not_known: int = 0  # the ground truth has a hole where the answer came from
    unknown_deletes_applied: int = 0  # deletes without an answer that did happen
    broken: dict[str, int] = {}  # guarantee → how often it was broken, 0 where it held
    evidence: dict[str, tuple[str, ...]] = {}


class LeaseFigures(_Part, frozen=True, kw_only=True):
    granted: int = 0
    keepalives: int = 0
    early_expiry: int | None = None
    late_expiry: int | None = None
    client_expiry: int = 0
    expired_as_asked: int = 0  # left to expire on purpose and gone in time
    expiry_lag_s: Percentiles = Percentiles()  # key gone − (last renewal + TTL), in seconds
    early: tuple[str, ...] = ()  # one sentence for each, at most 20
    late: tuple[str, ...] = ()  # the same of late ones
    renewed_after_gone: int = 0  # keepalives answered "alive" after the lease's key was gone
    renewed: tuple[str, ...] = ()  # the same of those


class RecoveryFigures(_Part, frozen=True, kw_only=True):
    """What one fault cost."""

    fault: str
    seconds: float | None  # from verified until recovered; None: never
    seconds_since_heal: float | None
    never_recovered_after_s: float | None = None  # how long was waited when it never did
    never_since_heal_after_s: float | None = None  # the same, counted from the heal
    goodput_lowest_per_s: float | None = None
    leader_changes: int = 0


class MemberWrites(_Part, frozen=True, kw_only=True):
    """The observer's write probes at one member while a fault held: twice a second, on a path no fault touches."""

    member: str
    tried: int
    acknowledged: int
    first_s: float | None  # from verified until the first acknowledgement; None: none came


class FaultFigures(_Part, frozen=True, kw_only=True):
    """Times are seconds since the first phase began; None when that point was not reached."""

    name: str
    kind: str
    targets: tuple[str, ...]
    detail: str
    injected_at: float
    verified_at: float | None
    heal_began_at: float | None
    healed_at: float | None
    evidence: str
    heal_evidence: str
    problem: str
    old_leader_wrote: bool | None = None  # whether a cut-off minority acknowledged a write while it was cut off
    writes: tuple[MemberWrites, ...] = ()


class MemberLoad(_Part, frozen=True, kw_only=True):
    """What a member used in one phase. None where nobody could say."""

    cpu: float | None = None  # cores, mean
    cpu_max: float | None = None  # cores, highest second
    memory_max_bytes: int | None = None  # without the page cache
    read_bytes_per_s: float | None = None
    written_bytes_per_s: float | None = None
    received_bytes_per_s: float | None = None  # from clients and peers
    sent_bytes_per_s: float | None = None
    fsync_ms: float | None = None  # mean of the write-ahead log's
    commit_ms: float | None = None  # mean of the database's
    proposals_pending_max: int | None = None
    db_bytes: int | None = None  # at the end


class MemberFigures(_Part, frozen=True, kw_only=True):
    name: str
    down_s: float
    paused_s: float
    silent_s: float
    leader_s: float
    load: dict[str, MemberLoad] = {}  # by phase


class WorkerFigures(_Part, frozen=True, kw_only=True):
    """One load worker in the judged phases."""

    worker: int
    host: str = ""  # of a worker that joined from elsewhere
    sent: int
    lag_ms: Percentiles
    cpu: float | None  # highest second, 0..1
    loop_stall_ms: float | None
    rss_bytes: int | None
    clock_offset_s: float = 0.0  # controller's clock − its own, as first measured; 0 on the controller's machine
    clock_doubt_ms: float = 0.0  # by how much its times may be wrong against the controller's
    lost_at_s: float | None = None


class GeneratorFigures(_Part, frozen=True, kw_only=True):
    lag_ms: Percentiles
    cpu: float | None  # highest second of any worker, 0..1
    cpu_mean: float | None
    loop_stall_ms: float | None
    rss_bytes: int | None
    gc_pause_ms: float | None = None  # longest collection of garbage
    gc_share: float | None = None  # of the workers' time
    saturated_phases: tuple[str, ...] = ()
    workers: tuple[WorkerFigures, ...] = ()


StepVerdict = Literal["held", "broke", "unknown"]
KneeOutcome = Literal["found", "not reached", "broke at once", "unknown"]


class KneeStep(_Part, frozen=True, kw_only=True):
    """One step of a search; figures are None where nothing was due."""

    rate_per_s: float  # that was asked for
    phase: str
    seconds: float = 0.0
    offered_per_s: float | None = None
    goodput_per_s: float | None = None  # acknowledged within the step
    p99_ms: float | None = None  # response, of what was due in the step
    service_p99_ms: float | None = None
    lag_p99_ms: float | None = None  # the generator's
    cpu: float | None = None  # highest second of a worker
    verdict: StepVerdict
    why: str = ""


class KneeFigures(_Part, frozen=True, kw_only=True):
    """One search. The knee is `at_least_per_s` when it was found; otherwise it lies between the two, where known."""

    name: str
    operation: str
    p99_limit_ms: float
    outcome: KneeOutcome
    at_least_per_s: float | None  # the last step that held; None: not even the first
    below_per_s: float | None  # the step that broke
    why: str
    steps: tuple[KneeStep, ...]


class Second(_Part, frozen=True, kw_only=True):
    """One second of the timeline. An operation counts in the second in which it was done."""

    at_s: int
    ok: dict[str, int]
    failed: int
    unknown: int
    p99_ms: float | None
    watch_events: int
    leader: str
    generator_lag_p99_ms: float | None = None  # of what was due in this second
    generator_cpu: float | None = None  # of the busiest worker, as are the following
    loop_stall_ms: float | None = None
    gc_pause_ms: float | None = None
    cpu: dict[str, float] = {}  # member → cores
    memory_bytes: dict[str, int] = {}
    read_bytes_per_s: dict[str, float] = {}
    written_bytes_per_s: dict[str, float] = {}
    received_bytes_per_s: dict[str, float] = {}  # from clients and peers
    sent_bytes_per_s: dict[str, float] = {}
    fsync_ms: dict[str, float] = {}  # mean of the write-ahead log's
    commit_ms: dict[str, float] = {}  # mean of the database's
    proposals_pending: dict[str, int] = {}
    db_bytes: dict[str, int] = {}


class Event(_Part, frozen=True, kw_only=True):
    """A moment of the run worth a line: a phase, a fault's step, a member's state, a mark. One line of events.jsonl."""

    at_s: float  # since the first phase began
    kind: str  # "phase_began", "fault_verified", "member_state", … or a kind of history.records.MARKS
    subject: str = ""  # phase, fault or member
    detail: str = ""


class Figures(_Part, frozen=True, kw_only=True):
    """Everything that is computed from the history alone."""

    seconds: float
    phases: tuple[PhaseFigures, ...]
    totals: dict[str, OperationFigures]
    watch: WatchFigures
    lease: LeaseFigures
    write_gap_s: float | None
    write_gap_at_s: float | None
    write_gap_per_client_s: float | None  # the longest of any single client
    recovery: tuple[RecoveryFigures, ...]
    faults: tuple[FaultFigures, ...]
    members: tuple[MemberFigures, ...]
    leader_changes: int
    generator: GeneratorFigures
    timeline: tuple[Second, ...]
    log: LogFigures = LogFigures()
    slow_watch: WatchFigures = WatchFigures()  # watches that read late on purpose; `watch` is all others
    answers: AnswerFigures = AnswerFigures()
    events: tuple[Event, ...] = ()
    knees: tuple[KneeFigures, ...] = ()


class Results(Figures, frozen=True, kw_only=True):
    """results.json: the figures, and what is concluded from them."""

    schema_version: int = SCHEMA_VERSION
    experiment: str
    title: str
    run_id: str
    started_at: str  # UTC, ISO 8601
    chaoskit_version: str
    verdict: Verdict
    exit_code: ExitCode
    summary: str  # one sentence: why this verdict
    seed: int
    findings: tuple[Finding, ...]
    environment: dict[str, str]
    notes: tuple[str, ...] = ()  # test-bed repairs, torn shards, whatever a reader must know
