"""Arrivals: the same for the same seed, at the asked rate, and independent of who takes them."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.load.order import Arrivals
from chaoskit.load.worker.schedule import Arrival, Choices, Schedule
from chaoskit.shapes import Piece, Shape

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000


def first(number: int, arrivals: Arrivals, seed: str = "7:put", rate_per_s: float = 300) -> list[Arrival]:
    schedule = Schedule(Shape(rate_per_s), arrivals, seed, zero_ns=5 * SECOND)
    return [schedule.take() for _ in range(number)]


@pytest.mark.parametrize("arrivals", ["uniform", "poisson"])
def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others(arrivals: Arrivals) -> None:
    assert first(1000, arrivals) == first(1000, arrivals)
    assert first(1000, arrivals) != first(1000, arrivals, seed="8:put")


@pytest.mark.parametrize("arrivals", ["uniform", "poisson"])
def test_nothing_is_due_before_zero_and_due_times_never_go_back(arrivals: Arrivals) -> None:
    dues = [arrival.due_ns for arrival in first(1000, arrivals)]
    assert dues[0] >= 5 * SECOND
    assert dues == sorted(dues)


@given(st.floats(min_value=0.1, max_value=50_000), st.integers())
def test_uniform_arrivals_are_equally_far_apart_and_do_not_drift(rate_per_s: float, seed: int) -> None:
    dues = [arrival.due_ns for arrival in first(200, "uniform", str(seed), rate_per_s)]
    gaps = [after - before for before, after in itertools.pairwise(dues)]
    assert max(gaps) - min(gaps) <= 2
    assert dues[-1] - dues[0] == pytest.approx(199 * SECOND / rate_per_s, abs=2)


def test_poisson_arrivals_keep_the_rate_and_scatter_like_independent_people() -> None:
    dues = [arrival.due_ns for arrival in first(30_000, "poisson")]
    gaps = [after - before for before, after in itertools.pairwise(dues)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(SECOND / 300, rel=0.02)
    assert spread == pytest.approx(mean, rel=0.03)  # of an exponential distribution both are equal


RATES = st.just(0.0) | st.floats(min_value=0.001, max_value=5_000)
PIECES = st.lists(st.builds(Piece, st.floats(min_value=0.1, max_value=3), RATES, RATES), max_size=5)
SHAPES = st.builds(Shape, st.floats(min_value=50, max_value=5_000), PIECES.map(tuple))


def integral(shape: Shape, until_s: float) -> float:
    """Calls that a shape asks for in its first seconds, by small trapezoids: nothing of the code under test."""
    calls = begins_s = 0.0
    for piece in (*shape.pieces, Piece(1e6, shape.then_per_s, shape.then_per_s)):
        span = min(piece.seconds, until_s - begins_s)
        slices = 64
        for number in range(slices if span > 0 else 0):
            middle = (number + 0.5) / slices * span / piece.seconds
            calls += (piece.from_per_s + middle * (piece.to_per_s - piece.from_per_s)) * span / slices
        begins_s += piece.seconds
    return calls


def dues_within(shape: Shape, arrivals: Arrivals, seed: str, seconds: float) -> list[float]:
    schedule = Schedule(shape, arrivals, seed, zero_ns=0)
    dues = iter(lambda: schedule.take().due_ns / SECOND, None)
    return list(itertools.takewhile(lambda due_s: due_s < seconds, dues))


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers(), st.lists(st.floats(min_value=0, max_value=8), min_size=2, max_size=2))
def test_uniform_arrivals_of_any_interval_match_the_integral_of_the_rate(
    shape: Shape, seed: int, edges: list[float]
) -> None:
    begin_s, end_s = sorted(edges)
    dues = dues_within(shape, "uniform", str(seed), 8)
    assert dues == sorted(dues)
    inside = sum(begin_s <= due_s < end_s for due_s in dues)
    assert inside == pytest.approx(integral(shape, end_s) - integral(shape, begin_s), abs=1.01)


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.integers())
def test_poisson_arrivals_of_any_shape_scatter_around_the_integral_as_counts_do(shape: Shape, seed: int) -> None:
    dues = dues_within(shape, "poisson", str(seed), 8)
    assert dues == sorted(dues)
    for begin_s, end_s in ((0, 2), (2, 5), (5, 8)):
        expected = integral(shape, end_s) - integral(shape, begin_s)
        inside = sum(begin_s <= due_s < end_s for due_s in dues)
        assert abs(inside - expected) <= 6 * (expected**0.5) + 12  # the variance of a Poisson count is its mean


def test_poisson_counts_on_a_ramp_vary_as_much_as_their_mean_and_no_more() -> None:
    """Scattering by thinning that forgets the momentary rate, or uniform arrivals in disguise, would show here."""
    ramp = Shape(0, (Piece(10, 0, 200),))
    slots = [[0] * 10 for _ in range(400)]
    for run, counts in enumerate(slots):
        for due_s in dues_within(ramp, "poisson", str(run), 10):
            counts[int(due_s)] += 1
    for second in range(10):
        counts = [run[second] for run in slots]
        mean = sum(counts) / len(counts)
        variance = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
        assert mean == pytest.approx(20 * second + 10, abs=5 * ((20 * second + 10) / 400) ** 0.5)
        assert variance == pytest.approx(mean, rel=0.35)


def test_a_shape_that_ends_at_no_rate_has_an_arrival_that_is_never_due() -> None:
    schedule = Schedule(Shape(0, (Piece(1, 10, 10),)), "uniform", "7", zero_ns=SECOND)
    dues = [schedule.take().due_ns for _ in range(12)]
    assert all(due_ns <= 2 * SECOND for due_ns in dues[:10])
    assert all(due_ns > 1_000_000_000 * SECOND for due_ns in dues[10:])
    assert schedule.end(3 * SECOND) == ()


def test_what_nobody_took_is_untaken_up_to_the_stop_and_not_behind_it() -> None:
    dues = [arrival.due_ns for arrival in first(20, "uniform")]
    schedule = Schedule(Shape(300), "uniform", "7:put", zero_ns=5 * SECOND)
    for _ in range(8):
        schedule.take()
    assert schedule.end(dues[14]) == tuple(dues[8:15])


def test_two_workloads_of_one_rate_are_not_due_at_the_same_instants() -> None:
    puts, reads = first(50, "uniform", "7:put"), first(50, "uniform", "7:read")
    assert not {put.due_ns for put in puts} & {read.due_ns for read in reads}


def test_choices_depend_on_the_arrival_and_not_on_who_takes_it_or_when() -> None:
    arrivals = first(100, "uniform")
    one, other = Choices("7:put:0"), Choices("7:put:1")
    by_one = []
    for arrival in arrivals:
        one.restart(arrival.chance)
        by_one.append(one.randrange(1000))
    by_other = []
    for arrival in reversed(arrivals):
        other.restart(arrival.chance)
        by_other.append(other.randrange(1000))
    assert by_one == by_other[::-1]


def test_choices_are_spread_evenly_both_across_arrivals_and_within_one() -> None:
    across, rng, source = [0] * 10, Choices("7"), Random(3)
    for _ in range(20_000):
        rng.restart(source.getrandbits(64))
        across[rng.randrange(10)] += 1
    within = [0] * 10
    for _ in range(20_000):
        within[int(rng.random() * 10)] += 1
    for counts in (across, within):
        chi_squared = sum((count - 2000) ** 2 / 2000 for count in counts)
        assert chi_squared < 27.9  # exceeded once in a thousand with 9 degrees of freedom


@given(st.integers(min_value=0, max_value=(1 << 64) - 1), st.integers(min_value=0, max_value=200))
def test_drawn_bits_fit_their_width(chance: int, width: int) -> None:
    rng = Choices("7")
    rng.restart(chance)
    assert 0 <= rng.getrandbits(width) < 1 << width
