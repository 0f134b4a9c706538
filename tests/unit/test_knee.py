"""Searches: planted histories with a clear knee, with none in range, and with one that the generator hides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chaoskit.checkers import slo
from chaoskit.contracts import LiveSample, Promises
from chaoskit.figures import compute
from chaoskit.history import GeneratorSample, History, Operation, Outcome, Phase, Search, Unsent
from chaoskit.history.records import step_phase
from chaoskit.results import KneeFigures
from chaoskit.runner.judge import RunIdentity, judge
from chaoskit.runner.search import BreakWatch
from chaoskit.verdict import ExitCode, Finding, Verdict
from tests.unit.histories import S, Scenario, at, healthy, put

pytestmark = pytest.mark.unit

RATES = (100.0, 200.0, 300.0, 400.0)
EVERY_S = 2
BEGINS_S = 6  # behind the baseline of the healthy scenario
LIMIT_S = 0.05

Took = Callable[[float, float], float]
"""Rate and seconds since the step's beginning → response time."""


def quick(_rate: float, _since_s: float) -> float:
    return 0.004


def searched(took: Took = quick, *, rates: tuple[float, ...] = RATES, begun: int | None = None) -> History:
    """A healthy run of 5 s baseline, then a search through these steps, then the drain."""
    begun = len(rates) if begun is None else begun
    history = healthy(Scenario(fault=False, put_rate=30, watches=2, leases=1))
    ends_s = BEGINS_S + begun * EVERY_S
    history.phases = [phase for phase in history.phases if phase.kind != "drain"]
    for place, rate in enumerate(rates[:begun]):
        begins_s = BEGINS_S + place * EVERY_S
        phase = Phase(step_phase("knee", rate), "step", at(begins_s), at(begins_s + EVERY_S), judged=False)
        history.phases.append(phase)
        history.operations += [
            put(
                100_000 + 1000 * place + number, begins_s + number / rate, took_s=took(rate, number / rate), kind="read"
            )
            for number in range(round(rate * EVERY_S))
        ]
    history.phases.append(Phase("drain", "drain", at(ends_s), at(ends_s + 1), judged=False))
    history.searches = [
        Search("knee", "read", round(LIMIT_S * S), EVERY_S * S, rates, begun, at(BEGINS_S), at(ends_s), "")
    ]
    for second in range(BEGINS_S, ends_s):
        history.generator.append(GeneratorSample(0, at(second + 1), 0.4, 2.0, 80_000_000, 200, 200))
    history.marks = [replace(mark, at_ns=at(ends_s)) if mark.kind == "load_stopped" else mark for mark in history.marks]
    history.operations.sort(key=lambda op: op.due_ns)
    return history


def breaking_at(limit_per_s: float) -> Took:
    """A queue that grows when more is offered than can be served."""
    return lambda rate, since_s: 0.004 + max(rate - limit_per_s, 0) / limit_per_s * since_s


def knee_of(history: History) -> KneeFigures:
    (knee,) = compute(history, Promises()).knees
    return knee


def finding(history: History, *promises: str) -> tuple[Finding, ExitCode]:
    results = judge(history, Promises(slo=promises), RunIdentity("x", "X", "1", "now", 7))
    (found,) = [finding for finding in results.findings if finding.checker == "knee"]
    return found, results.exit_code


def test_a_clear_knee_is_the_last_rate_that_held() -> None:
    history = searched(breaking_at(250), begun=3)
    knee = knee_of(history)
    assert (knee.outcome, knee.at_least_per_s, knee.below_per_s) == ("found", 200, 300)
    assert [step.verdict for step in knee.steps] == ["held", "held", "broke"]
    assert knee.steps[2].p99_ms == pytest.approx(1000 * (0.004 + 0.2 * 2), rel=0.02)
    assert "P99 " in knee.steps[2].why
    found, code = finding(history)
    assert found.verdict is Verdict.PASS
    assert "200/s with P99 ≤ 50 ms; at 300/s: P99 " in found.sentence
    assert code is ExitCode.PASS, "the overload of the last step is no reason to call the run inconclusive"


def test_a_knee_above_every_step_is_not_reached_and_says_from_where() -> None:
    knee = knee_of(searched())
    assert (knee.outcome, knee.at_least_per_s, knee.below_per_s) == ("not reached", 400, None)
    found, code = finding(searched())
    assert "≥ 400/s (not reached)" in found.sentence
    assert (found.verdict, code) == (Verdict.PASS, ExitCode.PASS)


def test_a_search_that_broke_at_its_first_step_is_inconclusive() -> None:
    history = searched(breaking_at(50), begun=1)
    knee = knee_of(history)
    assert (knee.outcome, knee.at_least_per_s, knee.below_per_s) == ("broke at once", None, 100)
    found, code = finding(history)
    assert "< 100/s (broke at its first step)" in found.sentence
    assert (found.verdict, code) == (Verdict.UNKNOWN, ExitCode.INCONCLUSIVE)


@pytest.mark.parametrize("how", ["cpu", "lag"])
def test_where_the_generator_was_saturated_the_knee_is_unknown_and_the_generator_is_named(how: str) -> None:
    history = searched(breaking_at(250), begun=3)
    begins_ns = at(BEGINS_S + 2 * EVERY_S)
    if how == "cpu":
        history.generator = [replace(one, cpu=0.97) if one.at_ns > begins_ns else one for one in history.generator]
    else:
        history.operations = [
            replace(op, sent_ns=op.due_ns + 8_000_000) if op.due_ns >= begins_ns and op.kind == "read" else op
            for op in history.operations
        ]
    knee = knee_of(history)
    assert (knee.outcome, knee.at_least_per_s, knee.below_per_s) == ("unknown", 200, None)
    assert "at 300/s: the generator, not the cluster" in knee.why
    found, code = finding(history)
    assert (found.verdict, code) == (Verdict.UNKNOWN, ExitCode.INCONCLUSIVE)


def test_quick_refusals_do_not_count_as_keeping_up() -> None:
    def refuse(op: Operation) -> Operation:
        refused = op.kind == "read" and op.due_ns >= at(BEGINS_S + EVERY_S) and op.number % 5 == 0
        return replace(op, outcome=Outcome.FAILED, error="RESOURCE_EXHAUSTED: too many requests") if refused else op

    history = searched(begun=2)
    history.operations = list(map(refuse, history.operations))
    knee = knee_of(history)
    assert (knee.outcome, knee.at_least_per_s, knee.below_per_s) == ("found", 100, 200)
    assert "goodput 160.0/s < 90% of 200.0/s offered" in knee.why


def test_what_found_no_client_before_the_search_ended_counts_against_its_step() -> None:
    history = searched(begun=2)
    late = [op for op in history.operations if op.kind == "read" and op.due_ns >= at(BEGINS_S + EVERY_S)][::3]
    gone = {op.number for op in late}
    history.operations = [op for op in history.operations if op.number not in gone]
    history.unsent = [Unsent(0, "read", tuple(op.due_ns for op in late), at(BEGINS_S + 2 * EVERY_S))]
    knee = knee_of(history)
    assert (knee.outcome, knee.below_per_s) == ("found", 200)
    assert knee.steps[1].offered_per_s == 200


def test_a_search_that_somebody_stopped_proves_nothing_beyond_its_whole_steps() -> None:
    history = searched(begun=2)
    name = step_phase("knee", 200)
    history.phases = [
        replace(phase, ends_ns=phase.begins_ns + S) if phase.name == name else phase for phase in history.phases
    ]
    knee = knee_of(history)
    assert (knee.outcome, knee.at_least_per_s) == ("unknown", 100)
    assert "cut short after 1.0 s" in knee.why
    history = searched(begun=2)
    history.searches = [replace(history.searches[0], stopped="the run was stopped")]
    knee = knee_of(history)
    assert (knee.outcome, knee.at_least_per_s) == ("unknown", 200)
    assert "ended after 2 of 4 steps: the run was stopped" in knee.why


def test_a_step_without_calls_or_without_a_phase_is_unknown() -> None:
    history = searched(begun=2)
    history.operations = [op for op in history.operations if op.kind != "read" or op.due_ns < at(BEGINS_S)]
    assert [step.verdict for step in knee_of(history).steps] == ["unknown", "unknown"]
    history.phases = [phase for phase in history.phases if phase.kind != "step"]
    assert knee_of(history).outcome == "unknown"


def test_a_step_with_too_few_calls_has_no_verdict() -> None:
    history = searched(rates=(30.0, 200.0))
    assert knee_of(history).steps[0].why == "60 calls have no P99"


def test_steps_are_in_no_total_and_their_overload_in_no_unscoped_promise() -> None:
    history = searched(breaking_at(250), begun=3)
    figures = compute(history, Promises())
    assert figures.totals["read"].response_ms.max is not None
    assert figures.totals["read"].response_ms.max < 10
    assert slo.evaluate(slo.parse("read.p99 < 50ms"), figures).verdict is Verdict.PASS
    assert slo.evaluate(slo.parse("read.p99 < 50ms in step:*"), figures).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("promise", "found", "above", "below"),
    [
        ("knee >= 50/s", "pass", "pass", "unknown"),
        ("knee >= 200/s", "pass", "pass", "fail"),
        ("knee > 200/s", "fail", "pass", "fail"),
        ("knee >= 900/s", "fail", "unknown", "fail"),
        ("knee < 300/s", "pass", "fail", "pass"),
        ("knee < 900/s", "pass", "unknown", "pass"),
        ("knee == 200/s", "pass", "unknown", "unknown"),
        ("knee >= 200/s in knee", "pass", "pass", "fail"),
        ("knee >= 200/s in other", "unknown", "unknown", "unknown"),
    ],
)
def test_a_promise_about_the_knee_holds_it_against_what_is_known(
    promise: str, found: str, above: str, below: str
) -> None:
    def verdict(history: History) -> str:
        return slo.evaluate(slo.parse(promise), compute(history, Promises())).verdict.value

    assert verdict(searched(breaking_at(250), begun=3)) == found
    assert verdict(searched()) == above
    assert verdict(searched(breaking_at(50), begun=1)) == below


def test_a_knee_is_no_share_of_a_baseline() -> None:
    with pytest.raises(ValueError, match=r"write a rate such as 1500/s"):
        slo.parse("knee > 90% of baseline")


# ── when to stop, live ───────────────────────────────────────────────────────────────────────────────────────────────


def second(at_s: float, ok: int, slow: int = 0) -> LiveSample:
    return LiveSample(
        at_ns=round(at_s * S), ok={"put": ok}, failed=0, unknown=0, p99_ms={}, watch_events=0, watch_lag_ms=None,
        watches_open=0, watch_reached=0, in_flight=0, ready=True, cpu=0.1, slow={"put": slow},
    )  # fmt: skip


def watching(rate_per_s: float = 1000, seconds: int = 4) -> BreakWatch:
    watch = BreakWatch("put", limit_s=0.05)
    watch.begin(rate_per_s, 10 * S, (10 + seconds) * S)
    return watch


def test_a_step_that_keeps_up_goes_on() -> None:
    watch = watching()
    assert [watch.add(second(at_s, 1000, slow=9)) for at_s in (11, 12, 13, 14)] == [""] * 4


def test_a_step_ends_when_its_p99_can_no_longer_hold() -> None:
    watch = watching()
    assert watch.add(second(11, 1000, slow=30)) == ""
    assert "42 of 4000 calls were over the limit" in watch.add(second(12, 1000, slow=12))


def test_a_step_ends_when_nothing_comes_back() -> None:
    watch = watching()
    assert "at 1000/s" in watch.add(second(11, 0))
    assert "behind" in watching().add(second(11, 400))


def test_a_second_counts_once_and_only_with_its_part_inside_the_step() -> None:
    watch = watching()
    straddling = second(10.25, 1000, slow=100)  # a quarter of it: 25 slow ones
    assert watch.add(straddling) == ""
    assert watch.add(straddling) == ""
    assert watch.add(second(11.25, 1000, slow=14)) == ""
    assert "over the limit" in watch.add(second(12.25, 1000, slow=2))


def test_the_step_before_is_still_looked_at_because_a_second_comes_after_it_is_over() -> None:
    watch = watching()
    for at_s in (11, 12, 13):
        assert watch.add(second(at_s, 1000, slow=10)) == ""
    watch.begin(2000, 14 * S, 18 * S)
    assert "at 1000/s 41 of 4000" in watch.add(second(14, 1000, slow=11))
