"""Percentiles against the raw samples that they were made of."""

from __future__ import annotations

from statistics import pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.figures.histograms import LONGEST_NS, NS_PER_MS, Latencies, p99_of

pytestmark = pytest.mark.unit

durations = st.lists(st.integers(1_000, LONGEST_NS), min_size=1, max_size=300)


def _nearest_rank(samples: list[int], percent: float) -> int:
    """The smallest sample that at least so many percent do not exceed."""
    return sorted(samples)[-(-round(percent * 10) * len(samples) // 1000) - 1]


def _filled(samples: list[int]) -> Latencies:
    latencies = Latencies()
    for sample in samples:
        latencies.record(sample)
    return latencies


@settings(deadline=None)
@given(durations)
def test_no_percentile_is_more_than_a_thousandth_off(samples: list[int]) -> None:
    found = _filled(samples).percentiles()
    for percent, value in ((50, found.p50), (90, found.p90), (99, found.p99), (99.9, found.p99_9)):
        exact = _nearest_rank(samples, percent) / NS_PER_MS
        assert value == pytest.approx(exact, rel=0.001)
        assert value <= max(samples) / NS_PER_MS
    assert found.max == max(samples) / NS_PER_MS


@settings(deadline=None)
@given(durations, durations)
def test_merging_gives_what_recording_together_gives(left: list[int], right: list[int]) -> None:
    merged = _filled(left)
    merged.add(_filled(right))
    assert merged.percentiles() == _filled(left + right).percentiles()


@settings(deadline=None)
@given(durations, durations)
def test_the_standard_deviation_is_exact_also_after_merging(left: list[int], right: list[int]) -> None:
    merged = _filled(left)
    merged.add(_filled(right))
    assert merged.percentiles().stddev == pytest.approx(pstdev(left + right) / NS_PER_MS, rel=1e-6, abs=1e-3)


def test_a_duration_beyond_the_range_keeps_its_exact_maximum() -> None:
    found = _filled([90_000_000_000]).percentiles()
    assert found.max == 90_000
    assert found.p99 == pytest.approx(60_000, rel=0.001)


def test_nothing_has_no_percentiles() -> None:
    assert Latencies().percentiles().p99 is None


def test_censored_values_are_counted_beside_the_others() -> None:
    latencies = _filled([5_000_000])
    latencies.record(7_000_000, censored=True)
    assert (latencies.percentiles().count, latencies.percentiles().censored) == (2, 1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=400))
def test_at_most_one_percent_lies_above_the_exact_p99(samples: list[int]) -> None:
    p99 = p99_of(samples)
    assert p99 is not None
    assert sum(sample > p99 for sample in samples) * 100 <= len(samples)
    assert sum(sample >= p99 for sample in samples) * 100 > len(samples)
