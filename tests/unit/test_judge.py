"""From a history to a verdict and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replace_value
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.checkers import CHECKERS
from chaoskit.contracts import Promises
from chaoskit.history import History, LogEvent, Mark, Outcome, ShardWriter, WatchEvent, load
from chaoskit.results import Figures, Results
from chaoskit.runner.judge import RunIdentity, check_steady_state, judge
from chaoskit.verdict import ExitCode, Finding, Verdict
from tests.unit.histories import S, Scenario, at, healthy

pytestmark = pytest.mark.unit

IDENTITY = RunIdentity("partition", "Leader partitioned", "r1", "2026-01-01T00:00:00Z", 7, planned_faults=("pause",))
PROMISES = Promises(
    steady_state=("put.p99 < 100ms", "put.errors < 0.1%"),
    slo=("watch.lost == 0", "lease.early_expiry == 0", "write.gap < 5s", "recovery.time < 10s", "put.p99 < 1s"),
)


def _judged(history: History, promises: Promises = PROMISES, **how: object) -> Results:
    return judge(history, promises, replace_value(IDENTITY, **how))  # type: ignore[arg-type]


def _verdicts(results: Results, promise: str) -> list[Verdict]:
    return [finding.verdict for finding in results.findings if finding.promise == promise]


@settings(max_examples=25, deadline=None)
@given(
    st.builds(
        Scenario,
        seed=st.integers(0, 10**6),
        put_rate=st.sampled_from([10, 30]),
        watches=st.integers(0, 6),
        leases=st.integers(0, 4),
        resume_at_s=st.one_of(st.none(), st.floats(2, 16)),
        mode=st.sampled_from(["resume", "naive"]),
    )
)
def test_a_healthy_run_passes_whatever_its_shape(scenario: Scenario) -> None:
    results = _judged(healthy(scenario), Promises(steady_state=PROMISES.steady_state, slo=("put.p99 < 1s",)))
    assert [finding.sentence for finding in results.findings if finding.verdict is not Verdict.PASS] == []
    assert (results.verdict, results.exit_code) == (Verdict.PASS, ExitCode.PASS)


def test_judging_the_history_from_disk_gives_the_same_results(tmp_path: Path) -> None:
    history = healthy(Scenario(resume_at_s=8, mode="naive"))
    names = [name for name in History.__dataclass_fields__ if name != "torn_shards"]
    with ShardWriter(tmp_path / "a.shard") as shard:
        for name in names:
            for record in getattr(history, name):
                shard.add(record)
    first, second = _judged(load(tmp_path)), _judged(load(tmp_path))
    assert msgspec.json.encode(first) == msgspec.json.encode(second) == msgspec.json.encode(_judged(history))


def test_results_survive_json() -> None:
    results = _judged(healthy())
    assert msgspec.json.decode(msgspec.json.encode(results), type=Results) == results


def test_a_broken_guarantee_fails_the_run_without_any_slo() -> None:
    history = healthy()
    del history.watch_events[500]
    results = _judged(history, Promises())
    assert (results.verdict, results.exit_code) == (Verdict.FAIL, ExitCode.DEVIATED)
    assert results.summary.startswith("Reliable broken: 1 of 5516 events silently lost; first: watch ")


def test_client_loss_fails_no_run_by_itself() -> None:
    history = healthy(Scenario(resume_at_s=8, mode="naive"))
    assert _judged(history, Promises()).exit_code is ExitCode.PASS
    assert _judged(history, Promises(slo=("watch.client_loss == 0",))).exit_code is ExitCode.DEVIATED


def test_a_missed_slo_is_a_deviation() -> None:
    assert _judged(healthy(), Promises(slo=("put.p99 < 1ms",))).exit_code is ExitCode.DEVIATED


def test_a_run_without_operations_is_inconclusive() -> None:
    history = healthy(Scenario(watches=0, leases=0))
    history.operations = []
    results = _judged(history, Promises())
    assert (results.verdict, results.exit_code) == (Verdict.UNKNOWN, ExitCode.INCONCLUSIVE)


def test_an_empty_history_is_inconclusive_and_never_a_pass() -> None:
    assert _judged(History(), PROMISES).exit_code is ExitCode.INCONCLUSIVE


def test_a_planned_fault_that_never_came_is_inconclusive() -> None:
    results = _judged(healthy(), planned_faults=("pause", "kill"))
    assert results.exit_code is ExitCode.INCONCLUSIVE
    assert "kill was planned and never injected" in results.summary


def test_a_fault_that_was_not_proven_is_inconclusive() -> None:
    history = healthy()
    history.faults = [replace(history.faults[0], verified_ns=0, problem="the probe still got answers")]
    results = _judged(history, Promises())
    assert (results.verdict, results.exit_code) == (Verdict.UNKNOWN, ExitCode.INCONCLUSIVE)
    assert "the probe still got answers" in results.summary


def test_a_fault_that_is_not_proven_to_be_gone_is_an_alarm() -> None:
    history = healthy()
    history.faults = [replace(history.faults[0], healed_ns=0, problem="not healed: proxy does not answer")]
    assert _judged(history).exit_code is ExitCode.HEAL_FAILED


def test_heal_failed_beats_everything() -> None:
    history = healthy()
    del history.watch_events[500]
    results = _judged(history, heal_failed="a toxic is left", infra_failed="worker died", interruption="SIGINT")
    assert results.exit_code is ExitCode.HEAL_FAILED


def test_the_test_bed_beats_a_deviation() -> None:
    history = healthy()
    del history.watch_events[500]
    assert _judged(history, infra_failed="the load worker died").exit_code is ExitCode.INFRASTRUCTURE


@pytest.mark.parametrize(("signal", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupted_run_says_so_unless_something_was_found(signal: str, code: int) -> None:
    history = healthy()
    cut_short = {"interruption": signal, "planned_faults": ("pause", "kill")}
    results = _judged(history, **cut_short)
    assert (results.exit_code, results.verdict) == (code, Verdict.UNKNOWN)
    assert _verdicts(results, "Ran to its end") == [Verdict.UNKNOWN]
    del history.watch_events[500]
    assert _judged(history, **cut_short).exit_code is ExitCode.DEVIATED


def test_without_a_steady_state_nothing_else_is_asked_for() -> None:
    history = healthy(Scenario(fault=False))
    history.torn_shards = ("worker-0.shard",)  # unknown, but beside the point
    results = _judged(history, Promises(steady_state=("put.p99 < 1ms",), slo=PROMISES.slo), steady_state_failed=True)
    assert (results.verdict, results.exit_code) == (Verdict.FAIL, ExitCode.NO_STEADY_STATE)
    assert _verdicts(results, "recovery.time < 10s") == []
    assert _verdicts(results, "Injected: pause") == []


def test_a_steady_state_that_nobody_can_tell_is_inconclusive() -> None:
    history = healthy(Scenario(fault=False))
    _saturate(history)
    results = _judged(history, steady_state_failed=True)
    assert (results.verdict, results.exit_code) == (Verdict.UNKNOWN, ExitCode.INCONCLUSIVE)


def test_a_broken_guarantee_in_the_baseline_is_worse_than_no_steady_state() -> None:
    history = healthy(Scenario(fault=False))
    del history.watch_events[500]
    assert _judged(history, steady_state_failed=True).exit_code is ExitCode.DEVIATED


def test_a_steady_state_is_judged_on_the_baseline_alone() -> None:
    history = healthy()
    history.operations = [
        replace(op, done_ns=op.due_ns + S // 4) if op.due_ns > at(6) else op for op in history.operations
    ]
    assert check_steady_state(history, PROMISES)[0] is Verdict.PASS
    history.operations = [replace(op, done_ns=op.due_ns + S // 4) for op in history.operations]
    assert check_steady_state(history, PROMISES)[0] is Verdict.FAIL


def test_a_baseline_below_the_minimal_goodput_is_not_steady() -> None:
    history = healthy()
    history.operations = [
        replace(op, outcome=Outcome.UNKNOWN) if index % 3 else op for index, op in enumerate(history.operations)
    ]
    verdict, (finding, *_) = check_steady_state(history, Promises())
    assert (verdict, finding.promise) == (Verdict.FAIL, "Minimal goodput")


def test_an_idle_baseline_is_not_known_to_be_steady() -> None:
    history = healthy()
    history.operations = [op for op in history.operations if op.due_ns > at(6)]
    assert check_steady_state(history, Promises())[0] is Verdict.UNKNOWN


class _Crashing:
    name = "crashing"

    def check(self, _history: History, _figures: Figures, _promises: Promises) -> Sequence[Finding]:
        raise TypeError("None is no number")


def test_a_checker_that_crashes_says_unknown_and_the_others_still_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECKERS, "crashing", _Crashing())
    results = _judged(healthy())
    assert (results.verdict, results.exit_code) == (Verdict.UNKNOWN, ExitCode.INCONCLUSIVE)
    assert results.summary == "checker crashing crashed: TypeError: None is no number"
    assert _verdicts(results, "Reliable") == [Verdict.PASS]


@pytest.mark.parametrize("kind", ["worker_lost", "infra_fault"])
def test_trouble_of_the_test_bed_is_inconclusive(kind: str) -> None:
    history = healthy()
    history.marks.append(Mark(kind, at(9), "it broke"))
    assert _judged(history).exit_code is ExitCode.INCONCLUSIVE


def test_a_torn_shard_is_inconclusive_and_blames_no_tail_on_the_server() -> None:
    history = healthy()
    _shorten(history)
    history.torn_shards = ("worker-0.shard",)
    results = _judged(history)
    assert _verdicts(results, "Live after heal") == [Verdict.UNKNOWN]
    assert results.exit_code is ExitCode.INCONCLUSIVE


@pytest.mark.parametrize("damage", ["torn", "lost"])
def test_what_fails_for_want_of_operations_is_unknown_when_operations_are_missing(damage: str) -> None:
    history = healthy()
    history.operations = [op for op in history.operations if op.due_ns < at(8)]
    history.log = [_deleted(event) if event.revision == 900 else event for event in history.log]
    history.watch_events = [_deleted(event) if event.revision == 900 else event for event in history.watch_events]
    promises = Promises(slo=("write.gap < 1s",))
    whole = judge(history, promises, IDENTITY)
    assert whole.exit_code is ExitCode.DEVIATED
    assert _verdicts(whole, "Nothing vanishes unasked") == [Verdict.FAIL]
    if damage == "torn":
        history.torn_shards = ("worker-0.shard",)
    else:
        history.marks.append(Mark("worker_lost", at(9), "killed"))
    damaged = judge(history, promises, IDENTITY)
    assert damaged.exit_code is ExitCode.INCONCLUSIVE
    assert not [finding for finding in damaged.findings if finding.verdict is Verdict.FAIL]


Seen = TypeVar("Seen", LogEvent, WatchEvent)


def _deleted(event: Seen) -> Seen:
    """The client that asked for it is gone with its history."""
    return replace(event, type="delete", value="")


def test_a_tail_at_the_drain_deadline_breaks_liveness() -> None:
    history = healthy()
    _shorten(history)
    results = _judged(history)
    assert _verdicts(results, "Live after heal") == [Verdict.FAIL]
    assert results.exit_code is ExitCode.DEVIATED


def _shorten(history: History) -> None:
    """Watch 0 gets nothing in the last three seconds."""
    history.watch_events = [e for e in history.watch_events if e.watch or e.received_ns < at(15)]
    history.watch_progress = [e for e in history.watch_progress if e.watch or e.received_ns < at(15)]


def test_a_hole_in_the_ground_truth_is_inconclusive() -> None:
    history = healthy()
    history.log = [event for event in history.log if event.revision != 700]
    history.operations = [op for op in history.operations if op.revision != 700]
    history.watch_events = [event for event in history.watch_events if event.revision != 700]
    results = _judged(history, Promises())
    assert results.exit_code is ExitCode.INCONCLUSIVE
    assert _verdicts(results, "Reliable") == [Verdict.UNKNOWN]
    assert _verdicts(results, "The ground truth is whole") == [Verdict.UNKNOWN]


def _saturate(history: History) -> None:
    history.generator = [replace(sample, cpu=0.95) for sample in history.generator]


def test_a_saturated_generator_is_inconclusive_where_latency_was_promised() -> None:
    history = healthy()
    _saturate(history)
    results = _judged(history, Promises(slo=("put.p99 < 1s",)))
    assert results.exit_code is ExitCode.INCONCLUSIVE
    assert _verdicts(results, "Generator kept up") == [Verdict.UNKNOWN]
    (finding,) = [finding for finding in results.findings if finding.checker == "generator"]
    assert "baseline (scheduling lag P99 0.40 ms, highest CPU of a worker 95%)" in finding.sentence


def test_a_saturated_generator_harms_no_promise_about_losses() -> None:
    history = healthy()
    _saturate(history)
    results = _judged(history, Promises(slo=("watch.lost == 0",)))
    assert results.exit_code is ExitCode.PASS
    assert "saturated" in results.notes[0]


def test_a_cluster_that_never_recovers_fails_without_an_slo() -> None:
    history = healthy()
    history.operations = [
        replace(op, done_ns=op.due_ns + S // 2) if op.due_ns > at(7) else op for op in history.operations
    ]
    results = _judged(history, Promises())
    assert results.exit_code is ExitCode.DEVIATED
    assert "never recovered from pause: > 12 s" in results.summary


def test_every_finding_has_few_lines_of_evidence_and_a_name_of_its_own() -> None:
    history = healthy()
    history.watch_events = history.watch_events[::2]
    findings = _judged(history).findings
    assert all(len(finding.evidence) <= 20 for finding in findings)
    assert len({(finding.checker, finding.promise) for finding in findings}) == len(findings)
