"""What people's reports say, as rows and facts of plain text. The terminal and Markdown only lay it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaoskit.reporters.words import NONE, count, moment, ms, number, percent, printable, seconds, short_kind
from chaoskit.results import (
    FaultFigures,
    MemberWrites,
    OperationFigures,
    PhaseFigures,
    RecoveryFigures,
    Results,
    WatchFigures,
    WorkerFigures,
)
from chaoskit.verdict import Finding, Verdict

_BUSY_LAG_MS = 5.0  # from here on the generator may set the latencies itself; the rule is in docs/figures.md
_BUSY_CPU = 0.9
_ERRORS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure with its name; `bad` asks for the reader's eye."""

    label: str
    value: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One kind of operation in one phase. `first` rows name the phase."""

    phase: str
    kind: str
    seconds: str  # with its unit
    judged: bool
    first: bool
    operation: str
    goodput: str
    offered: str
    p50: str
    p99: str
    p99_9: str
    max: str
    failed: int
    unknown: int
    unsent: int
    write_gap: str


def operation_rows(results: Results) -> list[OperationRow]:
    """Phases in order; kinds of operation that nobody asked for in a phase are left out."""
    return [row for phase in results.phases for row in _phase_rows(phase)]


def _phase_rows(phase: PhaseFigures) -> Iterator[OperationRow]:
    shown = [(kind, op) for kind, op in phase.ops.items() if op.ok or op.failed or op.unknown or op.unsent]
    for index, (kind, op) in enumerate(shown):
        yield _row(phase, kind, op, first=index == 0)


def _row(phase: PhaseFigures, kind: str, op: OperationFigures, *, first: bool) -> OperationRow:
    return OperationRow(
        phase=phase.name,
        kind=phase.kind,
        seconds=seconds(phase.seconds),
        judged=phase.judged,
        first=first,
        operation=f"{short_kind(kind)}{' (closed)' * op.closed}",
        goodput=number(op.goodput_per_s),
        offered=number(op.offered_per_s),
        p50=number(op.response_ms.p50),
        p99=number(op.response_ms.p99),
        p99_9=number(op.response_ms.p99_9),
        max=number(op.response_ms.max),
        failed=op.failed,
        unknown=op.unknown,
        unsent=op.unsent,
        write_gap=number(phase.write_gap_s) if kind == "put" else "",
    )


def closed_model(results: Results) -> str:
    """What a reader must know of operations whose clients waited for their answers; nothing when there are none."""
    kinds = [short_kind(kind) for kind, op in results.totals.items() if op.closed]
    return (
        f"{', '.join(kinds)}: closed model. Each client waited for its answer before it called again, so a stall hides "
        "the calls that it kept from being made: not to be compared with latencies at an offered rate"
        if kinds
        else ""
    )


def censored(results: Results) -> int:
    """Operations whose latency is known only as "at least"."""
    return sum(op.response_ms.censored for op in results.totals.values())


def conflicts(results: Results) -> str:
    """One line on transactions that met a rival; nothing when none did."""
    met = [(short_kind(kind), op) for kind, op in results.totals.items() if op.conflicts]
    told = (f"{op.conflicts:,} of {op.ok:,} {kind} met a conflict and wrote nothing" for kind, op in met)
    return "; ".join(told)


def errors(results: Results) -> list[str]:
    """`put  UNAVAILABLE: leader changed  ×132`, the most frequent first."""
    found = [(times, kind, error) for kind, op in results.totals.items() for error, times in op.errors.items()]
    found.sort(key=lambda item: (-item[0], item[1:]))
    lines = [f"{short_kind(kind)}: {error or 'no message'} ×{times:,}" for times, kind, error in found[:_ERRORS_SHOWN]]
    more = len(found) - len(lines)
    return [*lines, f"{more} more kinds of error in results.json"] if more > 0 else lines


def watch_facts(watch: WatchFigures, *, slow: bool = False) -> list[Fact]:
    """Losses first; nothing when nobody watched. That slow watches are late is their own doing."""
    if not watch.watches:
        return []
    reconnects = sum(watch.reconnects.values())
    return [
        Fact("slow watches" if slow else "watches", count(watch.watches)),
        Fact("delivered", f"{watch.delivered:,} of {watch.expected:,}"),
        Fact("silent loss", count(watch.silent_loss), bad=watch.silent_loss != 0),
        Fact("client loss", count(watch.client_loss), bad=bool(watch.client_loss)),
        Fact("declared loss", count(watch.declared_loss), bad=bool(watch.declared_loss)),
        Fact("tail", count(watch.tail), bad=bool(watch.tail)),
        Fact("duplicates", count(watch.duplicate), bad=bool(watch.duplicate)),
        Fact("out of order", count(watch.out_of_order), bad=bool(watch.out_of_order)),
        Fact("late", count(watch.late), bad=bool(watch.late) and not slow),
        Fact("lag p50 / p99 / max", _three(watch.lag_ms.p50, watch.lag_ms.p99, watch.lag_ms.max)),
        Fact("longest stall", seconds(watch.stall_max_s)),
        Fact("reconnects", f"{reconnects:,}{_by_reason(watch.reconnects)}"),
    ]


def lease_facts(results: Results) -> list[Fact]:
    """Nothing when no lease was granted."""
    lease = results.lease
    if not lease.granted:
        return []
    keepalive = results.totals.get("lease_keepalive")
    facts = [
        Fact("leases", count(lease.granted)),
        Fact("keepalives", count(lease.keepalives)),
        Fact("early expiry", count(lease.early_expiry), bad=lease.early_expiry != 0),
        Fact("late expiry", count(lease.late_expiry), bad=bool(lease.late_expiry)),
        Fact("client expiry", count(lease.client_expiry), bad=bool(lease.client_expiry)),
        Fact("renewed after gone", count(lease.renewed_after_gone), bad=bool(lease.renewed_after_gone)),
        Fact("expired as asked", count(lease.expired_as_asked)),
    ]
    if lease.expiry_lag_s.count:
        facts.append(Fact("expiry lag p99", seconds(lease.expiry_lag_s.p99)))
    if keepalive:
        facts.append(Fact("keepalive p99", ms(keepalive.response_ms.p99)))
    return facts


def cluster_facts(results: Results) -> list[Fact]:
    """What the run cost as a whole, and how each member spent it."""
    at = f" at {seconds(results.write_gap_at_s)}" if results.write_gap_at_s is not None else ""
    return [
        Fact("write gap", f"{seconds(results.write_gap_s)}{at}"),
        Fact("worst client's", seconds(results.write_gap_per_client_s)),
        Fact("leader changes", count(results.leader_changes)),
        *(
            Fact(member.name, _spent(member.leader_s, member.down_s, member.paused_s, member.silent_s))
            for member in results.members
        ),
    ]


def _spent(leader_s: float, down_s: float, paused_s: float, silent_s: float) -> str:
    parts = {"leader": leader_s, "down": down_s, "paused": paused_s, "silent": silent_s}
    return ", ".join(f"{word} {seconds(value)}" for word, value in parts.items() if value > 0) or "follower throughout"


def generator_facts(results: Results) -> list[Fact]:
    """Whether the load generator itself is above suspicion."""
    generator = results.generator
    lag, cpu, memory = generator.lag_ms.p99, generator.cpu, generator.rss_bytes
    closed = any(op.closed for op in results.totals.values())
    facts = [
        Fact("lag", "none, nothing was due at a time (closed model)")
        if closed and lag is None
        else Fact(
            "lag p99 / max", f"{number(lag)} / {ms(generator.lag_ms.max)}", bad=lag is None or lag > _BUSY_LAG_MS
        ),
        Fact("CPU peak / mean", f"{percent(cpu)} / {percent(generator.cpu_mean)}", bad=cpu is None or cpu > _BUSY_CPU),
        Fact("longest stall", ms(generator.loop_stall_ms)),
        Fact("longest GC pause", ms(generator.gc_pause_ms)),
        Fact("memory", NONE if memory is None else f"{memory / 2**20:,.0f} MiB"),
    ]
    if generator.saturated_phases:
        facts.append(Fact("saturated, so latency is unknown, in", ", ".join(generator.saturated_phases), bad=True))
    if len(generator.workers) > 1 or any(worker.host for worker in generator.workers):
        facts += map(_worker_fact, generator.workers)
    return facts


def _worker_fact(worker: WorkerFigures) -> Fact:
    """One of several, and how far its clock was from the controller's."""
    said = [
        f"{worker.sent:,} calls",
        f"lag p99 {ms(worker.lag_ms.p99)}",
        f"CPU {percent(worker.cpu)}",
    ]
    if worker.clock_doubt_ms:
        said.append(f"clock {worker.clock_offset_s:+,.3f} s ± {worker.clock_doubt_ms:.2f} ms")
    if worker.lost_at_s is not None:
        said.append(f"lost at {seconds(worker.lost_at_s)}")
    host = f" on {printable(worker.host)}" if worker.host else ""
    return Fact(f"worker {worker.worker}{host}", ", ".join(said), bad=worker.lost_at_s is not None)


@dataclass(frozen=True, slots=True)
class FaultRow:
    """One fault; times are seconds since the run began."""

    name: str
    targets: str
    injected: str
    verified: str
    heal_began: str
    healed: str
    recovered: str  # since it bit
    since_heal: str
    lowest: str
    leader_changes: str
    bad: bool
    remarks: tuple[str, ...]  # what was done, what the probes saw, what went wrong


def fault_rows(results: Results) -> list[FaultRow]:
    """In the order of injection."""
    recoveries = {recovery.fault: recovery for recovery in results.recovery}
    return [_fault_row(fault, recoveries.get(fault.name)) for fault in results.faults]


def _fault_row(fault: FaultFigures, recovery: RecoveryFigures | None) -> FaultRow:
    never = recovery is not None and recovery.seconds is None
    return FaultRow(
        name=fault.name,
        targets=", ".join(fault.targets) or NONE,
        injected=moment(fault.injected_at),
        verified=moment(fault.verified_at),
        heal_began=moment(fault.heal_began_at),
        healed=moment(fault.healed_at),
        recovered=_lasted(recovery.seconds, recovery.never_recovered_after_s) if recovery else NONE,
        since_heal=_lasted(recovery.seconds_since_heal, recovery.never_since_heal_after_s) if recovery else NONE,
        lowest=number(recovery.goodput_lowest_per_s) if recovery else NONE,
        leader_changes=count(recovery.leader_changes) if recovery else NONE,
        bad=never or bool(fault.problem) or fault.verified_at is None or fault.healed_at is None,
        remarks=tuple(_remarks(fault)),
    )


def _lasted(recovered_s: float | None, waited_s: float | None) -> str:
    if recovered_s is not None:
        return seconds(recovered_s)
    return "never" if waited_s is None else f"never, > {seconds(waited_s)}"


def _writes(writes: MemberWrites) -> str:
    if writes.first_s is None:
        return f"{writes.member} acknowledged none of {writes.tried}"
    return f"{writes.member} {writes.acknowledged} of {writes.tried}, the first after {seconds(writes.first_s)}"


def _remarks(fault: FaultFigures) -> Iterator[str]:
    if fault.problem:
        yield f"problem: {fault.problem}"
    if fault.detail:
        yield fault.detail
    if fault.evidence:
        yield f"bit: {fault.evidence}"
    if fault.heal_evidence:
        yield f"gone: {fault.heal_evidence}"
    if fault.writes:
        yield "writes tried at each member: " + "; ".join(map(_writes, fault.writes))
    if fault.old_leader_wrote is not None:
        yield "the cut-off minority " + ("ACKNOWLEDGED WRITES" if fault.old_leader_wrote else "acknowledged no write")


def findings_worst_first(results: Results) -> list[Finding]:
    """Failed, then unknown, then passed; the checkers' order within."""
    order = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.PASS)
    return sorted(results.findings, key=lambda finding: order.index(finding.verdict))


def _three(p50: float | None, p99: float | None, highest: float | None) -> str:
    return f"{number(p50)} / {number(p99)} / {ms(highest)}"


def _by_reason(reconnects: Mapping[str, int]) -> str:
    reasons = sorted(reconnects.items(), key=lambda item: (-item[1], item[0]))
    return f" ({', '.join(f'{reason} {times:,}' for reason, times in reasons)})" if reasons else ""
