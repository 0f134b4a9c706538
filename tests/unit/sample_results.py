"""Results as real runs give them: one that found a weakness, one that passed, one interrupted, one with nothing."""

from __future__ import annotations

import msgspec

from chaoskit.results import (
    Event,
    FaultFigures,
    GeneratorFigures,
    KneeFigures,
    KneeStep,
    LeaseFigures,
    MemberFigures,
    MemberLoad,
    MemberWrites,
    OperationFigures,
    Percentiles,
    PhaseFigures,
    RecoveryFigures,
    Results,
    Second,
    WatchFigures,
)
from chaoskit.verdict import ExitCode, Finding, Verdict


def latencies(
    p50: float, p99: float, p99_9: float, highest: float, count: int = 15000, censored: int = 0
) -> Percentiles:
    return Percentiles(count=count, p50=p50, p90=p50 * 1.8, p99=p99, p99_9=p99_9, max=highest, censored=censored)


def operations(
    offered: float, goodput: float, response: Percentiles, unknown: int = 0, **errors: int
) -> OperationFigures:
    return OperationFigures(
        offered_per_s=offered,
        achieved_per_s=offered,
        goodput_per_s=goodput,
        ok=round(goodput * 10),
        failed=0,
        unknown=unknown,
        unsent=0,
        response_ms=response,
        service_ms=response,
        errors=errors,
    )


_QUIET = {
    "put": operations(1500, 1499.6, latencies(0.83, 4.21, 9.12, 21.7)),
    "read": operations(1000, 999.8, latencies(0.61, 3.02, 6.4, 18.2)),
    "lease_keepalive": operations(120, 120, latencies(0.9, 3.9, 5.2, 9.1)),
}
_HURT = {
    "put": operations(
        1500,
        1301.4,
        latencies(1.1, 1804.3, 2003.1, 2004.0, censored=132),
        unknown=132,
        **{"UNAVAILABLE: etcdserver: leader changed": 90, "DEADLINE_EXCEEDED: no answer in 2 s": 42},
    ),
    "read": operations(
        1000,
        871.0,
        latencies(0.8, 1650.2, 1990.0, 2001.5, censored=61),
        unknown=61,
        **{"DEADLINE_EXCEEDED: no answer in 2 s": 61},
    ),
    "lease_keepalive": operations(120, 113.2, latencies(1.0, 1402, 1903.7, 2000.9, censored=7), unknown=7),
}


def _phase(
    name: str,
    begins_s: float,
    length_s: float,
    ops: dict[str, OperationFigures],
    gap: float | None,
    leaders: int = 0,
    judged: bool = True,
) -> PhaseFigures:
    return PhaseFigures(
        name=name,
        kind=name.partition(":")[0],
        judged=judged,
        begins_s=begins_s,
        seconds=length_s,
        ops=ops,
        write_gap_s=gap,
        leader_changes=leaders,
        generator_lag_p99_ms=0.42,
        generator_cpu_max=0.43,
    )


def _second(at_s: int) -> Second:
    phase = "warmup" if at_s < 3 else "drain" if at_s >= 44 else "load"
    puts = 0 if phase == "drain" or at_s in (13, 33) else {14: 640, 15: 2410, 34: 1830}.get(at_s, 1500)
    return Second(
        at_s=at_s,
        ok={} if phase == "drain" else {"put": puts, "read": puts * 2 // 3, "lease_keepalive": 120},
        failed=0,
        unknown=66 if at_s in (13, 33) else 0,
        p99_ms=None if phase == "drain" else 4.2,
        watch_events=puts * 200,
        leader="n2" if at_s < 13 else "n1",
    )


def _loads(baseline: float, fault: float | None, recovery: float) -> dict[str, MemberLoad]:
    """Of the first three judged phases; None for a phase in which the member was down all the time."""
    shares = {"baseline": baseline, "fault:partition": fault, "recovery:partition": recovery}
    return {name: _load(number, cpu) for number, (name, cpu) in enumerate(shares.items()) if cpu is not None}


def _load(number: int, cpu: float) -> MemberLoad:
    return MemberLoad(
        cpu=cpu,
        cpu_max=cpu * 1.5,
        memory_max_bytes=(38 + 3 * number) << 20,
        read_bytes_per_s=0.0,
        written_bytes_per_s=cpu * 4e6,
        received_bytes_per_s=cpu * 3e6,
        sent_bytes_per_s=cpu * 5e6,
        fsync_ms=1.2 + number,
        commit_ms=4.5,
        proposals_pending_max=3,
        db_bytes=(5 + number) << 20,
    )


_FINDINGS = (
    Finding(
        checker="watch", promise="Reliable", kind="guarantee", verdict=Verdict.PASS, sentence="no gap in 200 watches"
    ),
    Finding(
        checker="watch",
        promise="Ordered",
        kind="guarantee",
        verdict=Verdict.PASS,
        sentence="revisions only rose in 200 watches",
    ),
    Finding(
        checker="slo",
        promise="put.p99 < 100ms",
        kind="steady-state",
        verdict=Verdict.PASS,
        sentence="baseline: 4.21 ms",
        numbers={"put.p99_ms": 4.21},
    ),
    Finding(
        checker="lease",
        promise="lease.early_expiry == 0",
        kind="slo",
        verdict=Verdict.FAIL,
        sentence="lease.early_expiry == 0 broken: 2 of 200 leases expired after an acknowledged keepalive",
        numbers={"lease.early_expiry": 2},
        evidence=(
            "lease 7587869 at n2: TTL 5 s, last keepalive sent at 19.402 s, key gone at 21.007 s, 3.395 s early",
            "lease 7587871 at n2: TTL 5 s, last keepalive sent at 19.611 s, key gone at 21.007 s, 3.604 s early",
        ),
    ),
    Finding(
        checker="slo", promise="write.gap < 5s", kind="slo", verdict=Verdict.PASS, sentence="longest 1.38 s at 12.97 s"
    ),
    Finding(
        checker="generator",
        promise="generator innocent",
        kind="generator",
        verdict=Verdict.UNKNOWN,
        sentence="recovery:kill: worker CPU 94 %: latency there is the generator's own",
    ),
)

FAIL = Results(
    experiment="partition",
    title="Leader partitioned, then killed",
    run_id="1121090403-a1b2c3",
    started_at="2026-11-21T09:04:03+00:00",
    chaoskit_version="0.1.0",
    verdict=Verdict.FAIL,
    exit_code=ExitCode.DEVIATED,
    summary="lease.early_expiry == 0 broken: 2 of 200 leases expired after an acknowledged keepalive",
    seed=7,
    findings=_FINDINGS,
    environment={"etcd": "3.6.14", "cpu": "Some CPU @ 2.6 GHz", "cpus": "2", "fsync p99": "1.42 ms"},
    notes=("toxiproxy was restarted once at 30.2 s",),
    seconds=46.2,
    phases=(
        _phase("warmup", 0, 3.0, {"put": operations(1500, 1490, latencies(1.2, 22, 51, 80.2))}, 0.05, judged=False),
        _phase("baseline", 3.0, 10.0, _QUIET, 0.021),
        _phase("fault:partition", 13.0, 10.2, _HURT, 1.38, leaders=1),
        _phase("recovery:partition", 23.2, 8.0, _QUIET, 0.034, leaders=1),
        _phase("fault:kill", 31.2, 5.1, _HURT, 1.02, leaders=1),
        _phase("recovery:kill", 36.3, 8.0, _QUIET, 0.02),
        _phase("drain", 44.3, 1.9, {}, None, judged=False),
    ),
    totals={"put": _HURT["put"], "read": _HURT["read"], "lease_keepalive": _HURT["lease_keepalive"]},
    watch=WatchFigures(
        watches=200,
        expected=58340,
        delivered=58340,
        silent_loss=0,
        client_loss=0,
        declared_loss=0,
        tail=0,
        late=3,
        stall_max_s=1.91,
        lag_ms=latencies(1.1, 3.4, 90, 1411),
        reconnects={"no leader": 66, "reset": 2},
        broken={"Reliable": 0},
    ),
    lease=LeaseFigures(
        granted=200,
        keepalives=5210,
        early_expiry=2,
        late_expiry=0,
        client_expiry=3,
        expiry_lag_s=latencies(0.2, 1.1, 1.2, 1.21, count=5),
    ),
    write_gap_s=1.38,
    write_gap_at_s=12.97,
    write_gap_per_client_s=2.01,
    recovery=(
        RecoveryFigures(
            fault="partition", seconds=2.6, seconds_since_heal=0.0, goodput_lowest_per_s=0.0, leader_changes=1
        ),
        RecoveryFigures(
            fault="kill",
            seconds=None,
            seconds_since_heal=None,
            never_recovered_after_s=12.8,
            goodput_lowest_per_s=0.0,
            leader_changes=1,
        ),
    ),
    faults=(
        FaultFigures(
            name="partition",
            kind="partition",
            targets=("n2",),
            detail="n2, the leader, cut from n1 and n3 in both directions (blackhole)",
            injected_at=12.61,
            verified_at=13.02,
            heal_began_at=23.02,
            healed_at=23.21,
            evidence="n1->n2: silence for 0.2 s; n2->n1: silence for 0.2 s",
            heal_evidence="every link answered in 3 ms",
            problem="",
            old_leader_wrote=False,
            writes=(
                MemberWrites(member="n1", tried=20, acknowledged=17, first_s=1.62),
                MemberWrites(member="n2", tried=7, acknowledged=0, first_s=None),
            ),
        ),
        FaultFigures(
            name="kill",
            kind="kill",
            targets=("n3",),
            detail="SIGKILL to n3, pid 4711",
            injected_at=31.2,
            verified_at=31.21,
            heal_began_at=36.2,
            healed_at=None,
            evidence="pid 4711 is gone",
            heal_evidence="",
            problem="n3 did not answer within 20 s of its restart",
        ),
    ),
    members=(
        MemberFigures(name="n1", down_s=0, paused_s=0, silent_s=0, leader_s=31.2, load=_loads(0.21, 0.44, 0.43)),
        MemberFigures(name="n2", down_s=0, paused_s=0, silent_s=0, leader_s=14.4, load=_loads(0.42, 0.02, 0.22)),
        MemberFigures(name="n3", down_s=5.2, paused_s=0, silent_s=0.3, leader_s=0, load=_loads(0.2, None, 0.25)),
    ),
    leader_changes=3,
    generator=GeneratorFigures(
        lag_ms=latencies(0.1, 0.42, 1.9, 7.3),
        cpu=0.94,
        cpu_mean=0.31,
        loop_stall_ms=11.8,
        rss_bytes=188_743_680,
        saturated_phases=("recovery:kill",),
    ),
    timeline=tuple(_second(at_s) for at_s in range(46)),
    events=(
        Event(at_s=3.0, kind="phase_began", subject="baseline", detail="baseline"),
        Event(at_s=12.61, kind="fault_injected", subject="partition", detail="n2 cut from n1 and n3 (blackhole)"),
        Event(at_s=14.2, kind="leader_changed", subject="n1", detail="n1 instead of n2"),
    ),
)

_ALL_WELL = tuple(finding for finding in _FINDINGS if finding.verdict is Verdict.PASS)

PASS = msgspec.structs.replace(
    FAIL,
    verdict=Verdict.PASS,
    exit_code=ExitCode.PASS,
    summary="all 4 promises held",
    findings=_ALL_WELL,
    notes=(),
    faults=FAIL.faults[:1],
    recovery=FAIL.recovery[:1],
    lease=LeaseFigures(),
    generator=msgspec.structs.replace(FAIL.generator, cpu=0.43, saturated_phases=()),
)

INTERRUPTED = msgspec.structs.replace(
    PASS,
    verdict=Verdict.UNKNOWN,
    exit_code=ExitCode.INTERRUPTED,
    summary="interrupted by SIGINT before the method was over",
    timeline=FAIL.timeline[:20],
    phases=FAIL.phases[:3],
)

NOTHING = Results(
    experiment="baseline",
    title="",
    run_id="1121090403-000000",
    started_at="",
    chaoskit_version="0.1.0",
    verdict=Verdict.UNKNOWN,
    exit_code=ExitCode.INFRASTRUCTURE,
    summary="no member became ready within 20 s",
    seed=0,
    findings=(),
    environment={},
    seconds=0.0,
    phases=(),
    totals={},
    watch=WatchFigures(watches=3),
    lease=LeaseFigures(granted=1),
    write_gap_s=None,
    write_gap_at_s=None,
    write_gap_per_client_s=None,
    recovery=(RecoveryFigures(fault="kill", seconds=None, seconds_since_heal=None),),
    faults=(
        FaultFigures(
            name="kill",
            kind="kill",
            targets=(),
            detail="",
            injected_at=1.0,
            verified_at=None,
            heal_began_at=None,
            healed_at=None,
            evidence="",
            heal_evidence="",
            problem="",
        ),
    ),
    members=(),
    leader_changes=0,
    generator=GeneratorFigures(lag_ms=Percentiles(), cpu=None, cpu_mean=None, loop_stall_ms=None, rss_bytes=None),
    timeline=(Second(at_s=0, ok={}, failed=0, unknown=0, p99_ms=None, watch_events=0, leader=""),),
)
"""A run that broke at once: every figure that can be missing is missing."""

_STEP = KneeStep(
    rate_per_s=500, phase="step:knee:500/s", seconds=4, offered_per_s=500, goodput_per_s=499.5, p99_ms=8.2,
    service_p99_ms=8.1, lag_p99_ms=0.2, cpu=0.21, verdict="held",
)  # fmt: skip
_OVERLOAD = KneeStep(
    rate_per_s=1000, phase="step:knee:1000/s", seconds=2.1, offered_per_s=1000, goodput_per_s=702, p99_ms=612.4,
    service_p99_ms=48.9, lag_p99_ms=0.4, cpu=0.35, verdict="broke", why="P99 612.4 ms > 50 ms",
)  # fmt: skip
KNEE = msgspec.structs.replace(
    PASS,
    knees=(
        KneeFigures(
            name="knee", operation="put", p99_limit_ms=50, outcome="found", at_least_per_s=500.0, below_per_s=1000.0,
            why="at 1000/s: P99 612.4 ms > 50 ms; goodput 702.0/s < 90% of 1000.0/s offered, and the reason is long",
            steps=(_STEP, _OVERLOAD),
        ),
        KneeFigures(
            name="again", operation="put", p99_limit_ms=50, outcome="not reached", at_least_per_s=500.0,
            below_per_s=None, why="every step held", steps=(_STEP,),
        ),
    ),
)  # fmt: skip

SAMPLES = {"fail": FAIL, "pass": PASS, "interrupted": INTERRUPTED, "nothing": NOTHING}
