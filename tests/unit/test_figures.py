"""Operations, phases, gaps, recovery, members, the generator: the figures that are not about watches or leases."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.checkers import slo
from chaoskit.contracts import Promises
from chaoskit.figures import compute
from chaoskit.figures.faults import cut_off
from chaoskit.history import (
    ClosedModel,
    FaultSpan,
    GeneratorSample,
    History,
    Mark,
    MemberSample,
    Operation,
    Outcome,
    Phase,
    Unsent,
    WriteProbe,
)
from chaoskit.results import Figures, PhaseFigures
from chaoskit.topology import between, halves, isolate, member_names, ring
from chaoskit.verdict import Verdict
from tests.unit.histories import MEMBERS, S, Scenario, at, healthy, put

pytestmark = pytest.mark.unit


def _figures(history: History) -> Figures:
    return compute(history, Promises())


def _phase(figures: Figures, name: str) -> PhaseFigures:
    return next(phase for phase in figures.phases if phase.name == name)


def _run(*operations: Operation, seconds: float = 10) -> History:
    """Only a baseline and these operations."""
    history = History(phases=[Phase("baseline", "baseline", at(0), at(seconds))])
    history.operations = sorted(operations, key=lambda op: op.due_ns)
    history.marks = [Mark("load_stopped", at(seconds))]
    return history


def test_an_empty_history_has_figures_and_claims_nothing() -> None:
    figures = _figures(History())
    assert figures.write_gap_s is None
    assert figures.watch.silent_loss is None
    assert figures.lease.early_expiry is None
    assert figures.timeline == ()


def test_an_operation_counts_in_the_phase_in_which_it_was_due() -> None:
    history = _run(put(1, 0.9, took_s=0.5))
    history.phases = [Phase("baseline", "baseline", at(0), at(1)), Phase("recovery:x", "recovery", at(1), at(2))]
    figures = _figures(history)
    assert _phase(figures, "baseline").ops["put"].ok == 1
    assert "put" not in _phase(figures, "recovery:x").ops


def test_offered_achieved_and_goodput_are_three_figures() -> None:
    operations = [put(number, number / 10) for number in range(50)]
    operations += [put(100 + n, 5 + n / 10, outcome=Outcome.FAILED, error="REFUSED: no") for n in range(10)]
    operations += [put(200 + n, 6 + n / 10, outcome=Outcome.UNKNOWN, error="TIMEOUT: late") for n in range(10)]
    history = _run(*operations)
    history.unsent = [Unsent(0, "put", tuple(at(7 + n / 10) for n in range(30)), at(10))]
    found = _figures(history).totals["put"]
    assert (found.offered_per_s, found.achieved_per_s, found.goodput_per_s) == (10.0, 7.0, 5.0)
    assert (found.ok, found.failed, found.unknown, found.unsent) == (50, 10, 10, 30)
    assert found.errors == {"REFUSED: no": 10, "TIMEOUT: late": 10}


def test_operations_of_clients_who_wait_for_answers_are_labelled_and_tell_nothing_of_the_scheduler() -> None:
    reads = [put(100 + n, n / 10, kind="read", lag_s=0.05) for n in range(50)]
    puts = [put(n, n / 10, lag_s=0.0004) for n in range(50)]
    history = _run(*puts, *reads)
    history.closed_models = [ClosedModel(0, "read", 4, 0, at(0))]
    figures = _figures(history)
    assert [kind for kind, found in figures.totals.items() if found.closed] == ["read"]
    assert [kind for kind, found in _phase(figures, "baseline").ops.items() if found.closed] == ["read"]
    assert figures.generator.lag_ms.count == 50
    assert figures.generator.saturated_phases == ()


def test_failed_operations_do_not_flatter_percentiles_and_unknown_and_unsent_ones_are_censored() -> None:
    slow = [put(n, n / 10, took_s=0.1) for n in range(20)]
    fast_failures = [put(100 + n, n / 10, took_s=0.0001, outcome=Outcome.FAILED) for n in range(80)]
    history = _run(*slow, *fast_failures, put(300, 3.0, took_s=2.0, outcome=Outcome.UNKNOWN))
    history.unsent = [Unsent(0, "put", (at(4),), at(10))]
    found = _figures(history).totals["put"].response_ms
    assert found.p50 == pytest.approx(100, rel=0.001)
    assert (found.count, found.censored, found.max) == (22, 2, 6000)


def test_an_operation_in_flight_lasted_until_its_worker_was_last_heard_of() -> None:
    in_flight = replace(put(1, 2.0, outcome=Outcome.UNKNOWN), done_ns=0)
    history = _run(in_flight, put(2, 8.0, took_s=0.5))
    assert _figures(history).totals["put"].response_ms.max == 6500


def test_warmup_and_drain_are_in_no_total() -> None:
    history = healthy(Scenario(fault=False))
    figures = _figures(history)
    assert figures.totals["put"].ok == _phase(figures, "baseline").ops["put"].ok == 500
    assert _phase(figures, "warmup").ops["put"].ok == 100


def test_time_between_an_injection_and_its_proof_counts_in_the_whole_run() -> None:
    history = _run(*(put(n, n / 10) for n in range(100)))
    history.phases = [Phase("baseline", "baseline", at(0), at(4)), Phase("fault:x", "fault", at(6), at(10))]
    figures = _figures(history)
    assert figures.totals["put"].ok == 100
    assert sum(phase.ops["put"].ok for phase in figures.phases) == 80


def test_what_a_fault_did_to_operations_under_way_is_not_held_against_the_phase_before() -> None:
    """A put that was sent an instant before the injection was steady; its timeout says nothing about the baseline."""
    stuck = put(101, 3.99, took_s=2.0, outcome=Outcome.UNKNOWN)
    slow = put(102, 1.0, took_s=2.0, outcome=Outcome.UNKNOWN)  # over before anything was injected
    history = _run(*(put(n, n / 10) for n in range(100)), stuck, slow)
    history.phases = [Phase("baseline", "baseline", at(0), at(4)), Phase("fault:x", "fault", at(5), at(10))]
    history.faults = [FaultSpan("x", "kill", (), "", at(4), at(5), at(9), at(10))]
    figures = _figures(history)
    assert _phase(figures, "baseline").ops["put"].unknown == 1
    assert _phase(figures, "fault:x").ops["put"].unknown == 0
    assert figures.totals["put"].unknown == 2


def _frozen(freeze_s: float) -> History:
    """20 s at 200/s; from 10 s on nothing is answered for a while, then all at once."""
    rng = Random(7)
    operations = []
    for number in range(4000):
        due_s = number / 200
        took_s = rng.uniform(0.001, 0.003)
        if 10 <= due_s + took_s < 10 + freeze_s:
            took_s += 10 + freeze_s - due_s
        operations.append(put(number, due_s, took_s=took_s, client=number % 8))
    return _run(*operations, seconds=20)


def test_a_freeze_of_two_seconds_shows_in_p99_and_in_the_write_gap() -> None:
    figures = _figures(_frozen(2.0))
    assert figures.totals["put"].response_ms.p99 == pytest.approx(1800, rel=0.1)
    assert figures.totals["put"].response_ms.max == pytest.approx(2000, rel=0.1)
    assert figures.write_gap_s == pytest.approx(2.0, rel=0.1)
    assert figures.write_gap_at_s == pytest.approx(10.0, abs=0.01)
    assert figures.write_gap_per_client_s == pytest.approx(2.0, rel=0.1)


def test_the_edges_of_the_run_count_in_the_write_gap() -> None:
    assert _figures(_run(put(1, 3.0), put(2, 4.0))).write_gap_s == pytest.approx(6.0, abs=0.01)
    assert _figures(_run(put(1, 7.0), put(2, 9.0))).write_gap_s == pytest.approx(7.0, abs=0.01)


def test_a_cluster_that_never_acknowledges_has_a_gap_as_long_as_the_run() -> None:
    assert _figures(_run(put(1, 3.0, outcome=Outcome.UNKNOWN))).write_gap_s == 10
    assert _figures(_run(put(1, 3.0, kind="read"))).write_gap_s is None


def test_deletes_and_transactions_are_writes_that_end_a_gap() -> None:
    for kind in ("delete", "txn"):
        figures = _figures(_run(put(1, 3.0), put(2, 5.0, kind=kind)))
        assert figures.write_gap_s == pytest.approx(5.0, abs=0.01), kind
        assert _figures(_run(put(1, 5.0, kind=kind))).write_gap_s == pytest.approx(5.0, abs=0.01), kind


def test_a_transaction_that_did_not_write_is_a_conflict_and_acknowledged() -> None:
    wrote = replace(put(1, 3.0, kind="txn"), succeeded=True)
    figures = _figures(_run(wrote, put(2, 4.0, kind="txn"), put(3, 5.0, kind="txn", outcome=Outcome.UNKNOWN)))
    txn = figures.totals["txn"]
    assert (txn.ok, txn.unknown, txn.conflicts) == (2, 1, 1)
    assert slo.evaluate(slo.parse("txn.conflicts < 50%"), figures).verdict is Verdict.FAIL
    assert slo.evaluate(slo.parse("txn.conflicts <= 50%"), figures).verdict is Verdict.PASS


def test_the_gap_of_one_client_can_be_longer_than_the_clusters() -> None:
    busy = [put(n, n / 10, client=1) for n in range(100)]
    figures = _figures(_run(*busy, put(500, 1.0, client=2), put(501, 9.0, client=2)))
    assert figures.write_gap_s == pytest.approx(0.1, abs=0.01)
    assert figures.write_gap_per_client_s == pytest.approx(8.0, abs=0.01)


def _after_fault(*, dead_s: float, slow_s: float = 0.0, seconds: int = 8) -> History:
    """A healthy run, but puts and reads are unknown for a while after the fault was proven at 6 s, then slow."""
    history = healthy(Scenario(recovery_s=seconds))

    def spoilt(op: Operation) -> Operation:
        since_s = (op.due_ns - at(6)) / S
        if 0 <= since_s < dead_s:
            return replace(op, outcome=Outcome.UNKNOWN, done_ns=op.sent_ns + S, revision=0)
        return replace(op, done_ns=op.due_ns + S // 2) if 0 <= since_s < dead_s + slow_s else op

    history.operations = [spoilt(op) for op in history.operations]
    return history


def test_recovery_is_counted_from_the_proof_and_from_the_heal() -> None:
    (found,) = _figures(_after_fault(dead_s=5.0)).recovery
    # done a second after they were due, the last unknown ones hold up the P99 of second 5
    assert found.seconds == 6.0
    assert found.seconds_since_heal == 2.0
    assert found.goodput_lowest_per_s == 0
    assert found.never_recovered_after_s is None


def test_quick_refusals_are_no_recovery() -> None:
    history = healthy()
    history.operations = [
        replace(op, outcome=Outcome.FAILED, revision=0) if at(6) <= op.due_ns < at(9) and op.number % 5 == 0 else op
        for op in history.operations
    ]
    (found,) = _figures(history).recovery
    assert found.seconds == 3.0
    assert found.goodput_lowest_per_s == 160


def test_slow_answers_are_no_recovery() -> None:
    (found,) = _figures(_after_fault(dead_s=0.0, slow_s=3.0)).recovery
    assert found.seconds == 4.0


def test_a_cluster_that_stays_slow_never_recovers() -> None:
    (found,) = _figures(_after_fault(dead_s=2.0, slow_s=20.0)).recovery
    assert found.seconds is None
    assert found.never_recovered_after_s == 12.0
    assert found.never_since_heal_after_s == 8.0


@pytest.mark.parametrize(("allowed_s", "recovered_s"), [(None, 4.0), (0.49, 4.0), (0.51, 1.0)])
def test_what_the_steady_state_allows_is_recovered_even_beyond_three_times_the_baseline(
    allowed_s: float | None, recovered_s: float
) -> None:
    history = _after_fault(dead_s=0.0, slow_s=3.0)  # half a second each, so the first second lacks half of its answers
    (found,) = compute(history, Promises(steady_p99_s=allowed_s)).recovery
    assert found.seconds == recovered_s


def test_too_short_a_look_says_neither_recovered_nor_never() -> None:
    (found,) = _figures(_after_fault(dead_s=6.5, seconds=2)).recovery
    assert found.seconds is None
    assert found.never_recovered_after_s is None


def test_a_relapse_after_the_heal_is_seen() -> None:
    history = healthy()
    history.operations = [
        replace(op, done_ns=op.due_ns + S // 2) if op.due_ns >= at(10) else op for op in history.operations
    ]
    (found,) = _figures(history).recovery
    assert found.seconds == 0.0
    assert found.never_since_heal_after_s == 8.0


def test_scheduling_lag_leaves_out_operations_that_waited_for_a_client() -> None:
    free = [put(n, n / 10, took_s=0.02, lag_s=0.001) for n in range(50)]
    queued = [put(100 + n, n / 10, took_s=2.0, lag_s=1.0, queued=True) for n in range(50)]
    figures = _figures(_run(*free, *queued))
    assert figures.generator.lag_ms.p99 == pytest.approx(1.0, rel=0.001)
    assert figures.generator.saturated_phases == ()


def test_a_late_scheduler_saturates_its_phase() -> None:
    figures = _figures(_run(*(put(n, n / 10, took_s=0.02, lag_s=0.006) for n in range(50))))
    assert figures.generator.saturated_phases == ("baseline",)


@pytest.mark.parametrize(("stall_ms", "saturated"), [(4.9, False), (9, False), (30, True)])
def test_a_loop_that_stands_still_too_often_saturates_its_phase_even_without_a_lag(
    stall_ms: float, saturated: bool
) -> None:
    history = healthy(Scenario(fault=False))
    history.closed_models = [ClosedModel(0, kind, 4, 0, at(0)) for kind in ("put", "read")]
    history.generator = [replace(one, loop_stall_ms=stall_ms) for one in history.generator]
    figures = _figures(history)
    assert figures.generator.saturated_phases == (("baseline",) if saturated else ())
    assert _phase(figures, "baseline").generator_stalled == pytest.approx(stall_ms / 1000 if stall_ms > 5 else 0)


def test_every_second_tells_how_the_generator_was_and_the_worst_worker_speaks() -> None:
    history = healthy(Scenario(fault=False))
    first, second = history.generator[2], history.generator[3]
    history.generator[2] = replace(first, cpu=0.5, gc_pause_ms=3.0, gc_ms=4.0)
    history.generator.append(replace(first, worker=1, cpu=0.7, loop_stall_ms=8.0, gc_pause_ms=1.0, gc_ms=1.0))
    history.operations = [
        replace(op, sent_ns=op.due_ns + 3_000_000) if at(3) <= op.due_ns < at(4) else op for op in history.operations
    ]
    figures = _figures(history)
    told = figures.timeline[2]
    assert (told.generator_cpu, told.loop_stall_ms, told.gc_pause_ms) == (0.7, 8.0, 3.0)
    assert figures.timeline[3].generator_cpu == second.cpu
    assert figures.timeline[3].generator_lag_p99_ms == pytest.approx(3.0)
    assert (told.generator_lag_p99_ms or 9) < 1
    assert figures.generator.gc_pause_ms == 3.0
    assert figures.generator.gc_share == pytest.approx(5 / 6 / 1000)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 9.9), st.floats(1e-6, 60)), min_size=1, max_size=300))
def test_percentiles_over_workers_and_phases_are_those_of_the_raw_samples(
    samples: list[tuple[int, float, float]],
) -> None:
    """Each phase and worker adds its own; merging them may cost nothing of the 0.1 %."""
    operations = [
        replace(put(number, due_s, took_s=took_s), worker=worker)
        for number, (worker, due_s, took_s) in enumerate(samples)
    ]
    history = _run(*operations)
    history.phases = [Phase(f"burst:{n}", "burst", at(2 * n), at(2 * n + 2)) for n in range(5)]
    found = _figures(history).totals["put"].response_ms
    raw = sorted(op.done_ns - op.due_ns for op in operations)
    for per_mille, value in ((500, found.p50), (900, found.p90), (990, found.p99), (999, found.p99_9)):
        assert value == pytest.approx(raw[-(-per_mille * len(raw) // 1000) - 1] / 1e6, rel=0.001)
    assert found.max == raw[-1] / 1e6


@pytest.mark.parametrize(("busy_seconds", "saturated"), [(2, False), (3, True)])
def test_cpu_must_stay_high_to_saturate_a_worker(busy_seconds: int, saturated: bool) -> None:
    history = healthy()
    for index in range(3, 3 + busy_seconds):
        history.generator[index] = GeneratorSample(0, history.generator[index].at_ns, 0.97, 2.0, 1, 1, 1)
    assert _figures(history).generator.saturated_phases == (("baseline",) if saturated else ())


def _elected(history: History, leader: str, term: int, since_s: float) -> None:
    history.members = [
        replace(sample, leader=leader, term=term) if sample.at_ns >= at(since_s) else sample
        for sample in history.members
    ]


def test_a_new_term_with_a_leader_is_a_change_and_the_first_is_none() -> None:
    history = healthy()
    assert _figures(history).leader_changes == 0
    _elected(history, "n2", 3, 7)
    _elected(history, "n2", 4, 9)
    figures = _figures(history)
    assert figures.leader_changes == 2
    assert figures.recovery[0].leader_changes == 2
    assert [second.leader for second in figures.timeline][5:9] == ["n1", "n1", "n2", "n2"]


def test_an_isolated_leader_that_believes_in_itself_is_not_believed() -> None:
    history = healthy()
    _elected(history, "n2", 3, 7)
    history.members += [MemberSample(at(8.01), "n1", "up", 1, "n1", 2)]
    history.members.sort(key=lambda sample: sample.at_ns)
    assert _figures(history).leader_changes == 1


def test_members_are_down_paused_and_leading_for_as_long_as_they_were_seen_so() -> None:
    history = healthy()
    history.members = [
        replace(sample, state="paused", leader="")
        if sample.member == "n3" and at(6) <= sample.at_ns < at(10)
        else sample
        for sample in history.members
    ]
    n1, _, n3 = _figures(history).members
    assert n3.paused_s == pytest.approx(4.0, abs=0.3)
    assert (n3.down_s, n3.leader_s) == (0, 0)
    assert n1.leader_s == pytest.approx(19, abs=0.3)


def test_the_timeline_has_one_entry_a_second_and_counts_by_the_second_of_the_answer() -> None:
    figures = _figures(_run(put(1, 0.9, took_s=0.5), put(2, 5.0, outcome=Outcome.UNKNOWN)))
    assert [second.at_s for second in figures.timeline] == list(range(10))
    assert figures.timeline[1].ok == {"put": 1}
    assert figures.timeline[1].p99_ms == 500
    assert figures.timeline[5].unknown == 1


# ── who was cut off ──────────────────────────────────────────────────────────────────────────────────────────────────


def _names(links: frozenset[object]) -> tuple[str, ...]:
    return tuple(str(link) for link in links)


def test_who_has_no_majority_left_is_cut_off() -> None:
    five = member_names(5)
    assert cut_off(_names(isolate(five, ["n1"])), five) == {"n1"}
    assert cut_off(_names(isolate(five, ["n1", "n2"])), five) == {"n1", "n2"}
    assert cut_off(_names(halves(five)), five) == {"n1", "n2"}


def test_a_bridge_a_ring_and_a_cut_of_one_direction_cut_nobody_off() -> None:
    five = member_names(5)
    assert cut_off(_names(ring(five)), five) == set()
    assert cut_off(_names(between(five[:2], five[2:4])), five) == set()
    assert cut_off(("n1->n2", "n1->n3"), MEMBERS) == set()


@pytest.mark.parametrize(
    ("member", "due_s", "took_s", "wrote"),
    [("n3", 7.0, 0.01, True), ("n1", 7.0, 0.01, False), ("n3", 5.0, 0.01, False), ("n3", 9.0, 1.5, False)],
)
def test_a_write_counts_against_the_minority_only_when_all_of_it_lies_within_the_cut(
    member: str, due_s: float, took_s: float, wrote: bool
) -> None:
    history = healthy()
    history.operations = [op for op in history.operations if op.member != "n3"]
    history.operations.append(put(99_999, due_s, took_s=took_s, member=member, revision=9_999))
    history.faults = [replace(history.faults[0], cut=_names(isolate(MEMBERS, ["n3"])))]
    assert _figures(history).faults[0].old_leader_wrote is wrote


@pytest.mark.parametrize(("member", "sent_s", "wrote"), [("n3", 7.0, True), ("n1", 7.0, False), ("n3", 5.0, False)])
def test_a_write_probe_that_a_cut_off_member_acknowledges_counts_against_the_minority(
    member: str, sent_s: float, wrote: bool
) -> None:
    history = healthy()
    history.operations = [op for op in history.operations if op.member != "n3"]
    history.faults = [replace(history.faults[0], cut=_names(isolate(MEMBERS, ["n3"])))]
    history.write_probes = [WriteProbe(member, at(sent_s), at(sent_s + 0.01), 9_999)]
    assert _figures(history).faults[0].old_leader_wrote is wrote


def test_what_each_member_could_write_during_a_fault_is_counted_from_its_proof() -> None:
    history = healthy()
    (fault,) = history.faults
    sent = [fault.verified_ns - 1, fault.verified_ns, fault.verified_ns + S, fault.heal_began_ns]
    history.write_probes = [
        WriteProbe("n1", at_ns, at_ns + S // 2, 0 if at_ns < fault.verified_ns + S else 7) for at_ns in sent
    ]
    (writes,) = _figures(history).faults[0].writes
    assert (writes.member, writes.tried, writes.acknowledged, writes.first_s) == ("n1", 2, 1, 1.5)


def test_without_a_partition_nobody_is_asked_whether_a_minority_wrote() -> None:
    assert _figures(healthy()).faults[0].old_leader_wrote is None
