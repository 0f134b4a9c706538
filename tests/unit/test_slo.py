"""The grammar of promises, and how they are held against figures."""

from __future__ import annotations

from dataclasses import replace as replace_value

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.checkers.slo import Slo, evaluate, parse
from chaoskit.contracts import Promises
from chaoskit.figures import compute
from chaoskit.results import Figures, RecoveryFigures
from chaoskit.verdict import Verdict
from tests.unit.histories import Scenario, healthy

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def figures() -> Figures:
    return compute(healthy(), Promises())


@pytest.mark.parametrize(
    ("text", "subject", "name", "limit", "of_baseline", "phases"),
    [
        ("put.p99 < 100ms", "put", "p99", 0.1, False, ""),
        ("put.p99.9<1s", "put", "p99_9", 1.0, False, ""),
        ("read.service.p50 <= 2ms in baseline", "read", "service.p50", 0.002, False, "baseline"),
        ("put.errors < 0.1%", "put", "errors", 0.001, False, ""),
        ("put.goodput > 200/s", "put", "goodput", 200, False, ""),
        ("goodput > 90% of baseline", "goodput", "", 0.9, True, ""),
        ("put.p99 < 300 % of baseline in recovery:*", "put", "p99", 3.0, True, "recovery:*"),
        ("watch.lost == 0 in fault:kill#2", "watch", "lost", 0, False, "fault:kill#2"),
        ("watch.lag.p99 < 1s", "watch", "lag.p99", 1.0, False, ""),
        ("lease.keepalive.p99 < 1m30s", "lease_keepalive", "p99", 90, False, ""),
        ("lease.early_expiry == 0", "lease", "early_expiry", 0, False, ""),
        ("recovery.time < 10s", "recovery", "time", 10, False, ""),
        ("leader.changes != 3", "leader", "changes", 3, False, ""),
        ("write.gap >= 5s", "write", "gap", 5, False, ""),
    ],
)
def test_promises_are_read(text: str, subject: str, name: str, limit: float, of_baseline: bool, phases: str) -> None:
    found = parse(text)
    assert (found.subject, found.name, found.of_baseline, found.phases) == (subject, name, of_baseline, phases)
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("put.p98 < 1s", "unknown metric 'p98'; did you mean 'p99'?"),
        ("pot.p99 < 1s", "unknown subject 'pot'; did you mean 'put'?"),
        ("put < 1s", "unknown metric ''"),
        ("goodput.p99 < 1s", "goodput alone is a figure"),
        ("put.p99 < 100", "not a duration"),
        ("put.errors < 3", "not a share"),
        ("put.goodput > 90%", "not a rate"),
        ("watch.lost == 0.5", "not a count"),
        ("watch.lost == 0s", "not a count"),
        ("watch.lost < 3% of baseline", "only rates and durations"),
        ("write.gap < 300% of baseline", "no value in a baseline"),
        ("lease.early_expiry == 0 in baseline", "whole run only"),
        ("put.p99 = 1s", "is not a promise"),
        ("linearizable", "is not a promise"),
        ("", "is not a promise"),
        ("put.p99 < 1s in", "is not a"),
    ],
)
def test_what_is_no_promise_is_refused_with_the_choices(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)
    assert says in str(caught.value)


@given(st.text(max_size=60))
def test_any_other_text_is_refused_and_never_crashes(text: str) -> None:
    try:
        assert isinstance(parse(text), Slo)
    except ValueError as error:
        assert str(error)


def test_a_new_kind_of_operation_can_be_promised_about() -> None:
    assert parse("txn.p99 < 1s", {"txn"}).subject == "txn"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("put.p99 < 10ms", Verdict.PASS),
        ("put.p99 < 1ms", Verdict.FAIL),
        ("put.errors == 0%", Verdict.PASS),
        ("put.failed > 0", Verdict.FAIL),
        ("put.goodput >= 99/s", Verdict.PASS),
        ("put.goodput > 101/s", Verdict.FAIL),
        ("goodput > 95% of baseline in recovery:*", Verdict.PASS),
        ("goodput > 105% of baseline", Verdict.FAIL),
        ("put.p99 < 150% of baseline", Verdict.PASS),
        ("put.p99 < 1% of baseline", Verdict.FAIL),
        ("watch.lost == 0", Verdict.PASS),
        ("watch.client_loss > 0", Verdict.FAIL),
        ("watch.lag.p99 < 1s in *", Verdict.UNKNOWN),  # nothing lags in the drain
        ("watch.stall < 10s", Verdict.PASS),
        ("lease.early_expiry == 0", Verdict.PASS),
        ("lease.expiry_lag.p99 < 1s", Verdict.UNKNOWN),  # no lease expired
        ("lease.keepalive.p99 < 1s", Verdict.PASS),
        ("lease_revoke.p99 < 1s", Verdict.UNKNOWN),  # there were none
        ("write.gap < 100ms", Verdict.PASS),
        ("write.gap < 100ms in fault:*", Verdict.PASS),
        ("write.gap_per_client < 1ms", Verdict.FAIL),
        ("recovery.time < 1s", Verdict.PASS),
        ("recovery.since_heal < 1s in recovery:pause", Verdict.PASS),
        ("recovery.time < 1s in recovery:kill", Verdict.UNKNOWN),
        ("leader.changes <= 2", Verdict.PASS),
        ("put.p99 < 1s in fault:kill", Verdict.UNKNOWN),
    ],
)
def test_promises_are_held_against_the_figures(figures: Figures, text: str, verdict: Verdict) -> None:
    assert evaluate(parse(text), figures).verdict is verdict


def test_the_sentence_quotes_the_promise_with_its_number(figures: Figures) -> None:
    finding = evaluate(parse("put.ok < 5 in baseline"), figures)
    assert finding.sentence == "put.ok < 5 in baseline broken: 500 in baseline"
    assert finding.numbers == {"value": 500, "limit": 5}


def test_each_phase_of_a_glob_must_hold(figures: Figures) -> None:
    assert evaluate(parse("put.ok >= 500 in [bf]*"), figures).verdict is Verdict.FAIL  # the fault phase has 400
    assert evaluate(parse("put.ok >= 400 in [bf]*"), figures).verdict is Verdict.PASS


def test_a_steady_state_is_held_against_the_baseline(figures: Figures) -> None:
    assert evaluate(parse("put.ok == 500"), figures, "steady-state").verdict is Verdict.PASS
    assert evaluate(parse("put.ok == 500"), figures).verdict is Verdict.FAIL


def _saturated(figures: Figures, *phases: str) -> Figures:
    return replace(figures, generator=replace(figures.generator, saturated_phases=phases))


def test_a_saturated_generator_makes_latency_unknown_whatever_it_was(figures: Figures) -> None:
    spoilt = _saturated(figures, "fault:pause")
    for text in ("put.p99 < 1ms", "put.p99 < 1s", "watch.lag.p99 < 1s", "put.p99 < 1s in fault:*"):
        finding = evaluate(parse(text), spoilt)
        assert (finding.verdict, "generator saturated" in finding.sentence) == (Verdict.UNKNOWN, True)
    assert evaluate(parse("put.p99 < 1s in baseline"), spoilt).verdict is Verdict.PASS


def test_a_saturated_generator_excuses_low_goodput_but_no_loss(figures: Figures) -> None:
    spoilt = _saturated(figures, "fault:pause")
    assert evaluate(parse("put.goodput > 200/s"), spoilt).verdict is Verdict.UNKNOWN
    assert evaluate(parse("put.goodput > 20/s"), spoilt).verdict is Verdict.PASS
    assert evaluate(parse("watch.lost > 0"), spoilt).verdict is Verdict.FAIL


def test_never_recovered_fails_with_how_long_was_waited(figures: Figures) -> None:
    never = RecoveryFigures(fault="kill", seconds=None, seconds_since_heal=None, never_recovered_after_s=12.0)
    worse = replace(figures, recovery=(*figures.recovery, never))
    finding = evaluate(parse("recovery.time < 10s"), worse)
    assert (finding.verdict, finding.sentence) == (Verdict.FAIL, "recovery.time < 10s broken: > 12 s after kill")


def test_a_recovery_that_was_not_seen_is_unknown(figures: Figures) -> None:
    unseen = RecoveryFigures(fault="kill", seconds=None, seconds_since_heal=None)
    finding = evaluate(parse("recovery.time < 10s"), replace(figures, recovery=(*figures.recovery, unseen)))
    assert finding.verdict is Verdict.UNKNOWN


def test_an_unknown_loss_is_no_pass(figures: Figures) -> None:
    blind = replace(figures, watch=replace(figures.watch, silent_loss=None))
    assert evaluate(parse("watch.lost == 0"), blind).verdict is Verdict.UNKNOWN


def test_without_watches_no_promise_about_them_passes() -> None:
    none = compute(healthy(replace_value(Scenario(), watches=0)), Promises())
    assert evaluate(parse("watch.lost == 0"), none).verdict is Verdict.UNKNOWN
