"""Chances of keys and lengths: their shape, their bounds, their spelling, and that the same seed gives the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.load.worker.schedule import Choices
from chaoskit.workloads.distributions import (
    Between,
    Fixed,
    Hot,
    KeyChoice,
    Sequential,
    Sizes,
    Uniform,
    Weighted,
    Zipfian,
    parse_distribution,
    parse_sizes,
)

pytestmark = pytest.mark.unit

exponents = st.floats(0.01, 5).map(lambda exponent: round(exponent, 3))
distributions = st.one_of(
    st.just(Uniform()),
    st.just(Sequential()),
    st.builds(Zipfian, exponents),
    st.builds(Hot, st.integers(0, 100).map(lambda percent: percent / 100), st.integers(1, 50)),
)
sizes = st.one_of(
    st.builds(Fixed, st.integers(1, 1_000_000)),
    st.tuples(st.integers(1, 1_000_000), st.integers(1, 1_000_000)).map(lambda pair: Between(*sorted(pair))),
    st.lists(st.integers(1, 1_000_000), min_size=4, max_size=4).map(
        lambda four: Weighted(tuple(zip((0.7, 0.2, 0.09, 0.01), four, strict=True)))
    ),
)


def counted(distribution: KeyChoice, keys: int, arrivals: int = 20_000) -> Counter[int]:
    """How often each key is chosen, each time by the bits of an arrival of its own, as in a load worker."""
    choose, source, rng = distribution.over(keys), Random(11), Choices("7")
    chosen: Counter[int] = Counter()
    for arrival in range(arrivals):
        rng.restart(source.getrandbits(64))
        chosen[choose(rng, arrival)] += 1
    return chosen


@given(distributions, st.integers(1, 200), st.integers(0, (1 << 64) - 1), st.integers(0, 1 << 40))
def test_a_chosen_key_is_one_of_the_keys_and_the_same_for_the_same_chance(
    distribution: KeyChoice, keys: int, chance: int, arrival: int
) -> None:
    rng = Choices("7")
    rng.restart(chance)
    first = distribution.over(keys)(rng, arrival)
    rng.restart(chance)
    assert 0 <= first < keys
    assert distribution.over(keys)(rng, arrival) == first


@given(sizes, st.integers(0, (1 << 64) - 1))
def test_a_drawn_length_is_one_that_was_asked_for_and_the_same_for_the_same_chance(asked: Sizes, chance: int) -> None:
    rng = Choices("7")
    rng.restart(chance)
    first = asked.draw(rng)
    rng.restart(chance)
    assert asked.draw(rng) == first
    match asked:
        case Fixed(size):
            assert first == size
        case Between(smallest, largest):
            assert smallest <= first <= largest
        case Weighted(shares):
            assert first in {size for _, size in shares}


@given(distributions)
def test_a_distribution_is_spelled_as_it_is_read(distribution: KeyChoice) -> None:
    assert parse_distribution(str(distribution)) == distribution


@given(sizes)
def test_sizes_are_spelled_as_they_are_read(asked: Sizes) -> None:
    assert parse_sizes(str(asked)) == asked


def test_uniform_is_even() -> None:
    chosen = counted(Uniform(), 10)
    assert sum((chosen[key] - 2000) ** 2 / 2000 for key in range(10)) < 27.9  # one in a thousand is above


def test_sequential_goes_round_in_order_whatever_chance_says() -> None:
    choose, rng = Sequential().over(3), Choices("7")
    assert [choose(rng, arrival) for arrival in range(7)] == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("exponent", [0.5, 0.99, 2.0])
def test_zipfian_keys_have_the_frequencies_of_their_law(exponent: float) -> None:
    keys, arrivals = 100, 20_000
    chosen = counted(Zipfian(exponent), keys, arrivals)
    norm = sum((key + 1) ** -exponent for key in range(keys))
    expected = [arrivals * (key + 1) ** -exponent / norm for key in range(keys)]
    assert chosen[0] == pytest.approx(expected[0], rel=0.1)
    assert chosen[0] / chosen[4] == pytest.approx(5**exponent, rel=0.25)
    common = [key for key in range(keys) if expected[key] >= 50]
    assert sum((chosen[key] - expected[key]) ** 2 / expected[key] for key in common) < 2 * len(common)


def test_a_hot_share_goes_to_the_hot_keys_and_the_rest_to_all_others() -> None:
    chosen = counted(Hot(0.9, 5), 105)
    hot = [chosen[key] for key in range(5)]
    assert sum(hot) == pytest.approx(18_000, rel=0.02)
    assert max(hot) / min(hot) < 1.2
    assert len(chosen) == 105


def test_when_all_keys_are_hot_none_is() -> None:
    assert set(counted(Hot(0.9, 8), 4)) == {0, 1, 2, 3}


def test_lengths_between_two_are_even_and_weighted_ones_keep_their_shares() -> None:
    source = Random(5)
    even = Counter(Between(1, 4).draw(source) for _ in range(20_000))
    assert all(count == pytest.approx(5000, rel=0.06) for count in even.values())
    weighted = Counter(Weighted(((0.9, 10), (0.1, 20))).draw(source) for _ in range(20_000))
    assert weighted[10] == pytest.approx(18_000, rel=0.02)


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (parse_distribution, "zipfain", "did you mean 'zipfian 0.99'"),
        (parse_distribution, "", "there are: hot 90% on 5"),
        (parse_distribution, "zipfian 0", "is not an exponent"),
        (parse_distribution, "zipfian nan", "is not an exponent"),
        (parse_distribution, "zipfian -1", "is not an exponent"),
        (parse_distribution, "zipfian 9", "up to 5"),
        (parse_distribution, "hot 90%", "a share and a number of keys"),
        (parse_distribution, "hot 90% on 0", "a share and a number of keys"),
        (parse_distribution, "hot 9 on 5", "is not a share"),
        (parse_sizes, "3XB", "'3XB' is not a size"),
        (parse_sizes, "0B", "must be from 1B to 1MB"),
        (parse_sizes, "2MB", "must be from 1B to 1MB"),
        (parse_sizes, "4KiB to 1B", "the smaller size comes first"),
        (parse_sizes, "90% 1B, 9% 2B", "add up to 99%"),
        (parse_sizes, "90% 1B, 2B", "is not a share"),
        (parse_sizes, "100%", "is not a size"),
    ],
)
def test_a_misspelled_one_is_refused_with_the_choices(read: Callable[[str], Any], text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(text)
