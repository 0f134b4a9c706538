"""Rates over time: what people write, what it means second by second, and how mistakes are told."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from chaoskit.shapes import Closed, PaceSpec, Piece, Shape, pace_of, stairs

pytestmark = pytest.mark.unit

RATES = st.just(0.0) | st.floats(min_value=0.001, max_value=1e5)
RATE: TypeAdapter[Any] = TypeAdapter(PaceSpec)


def pace(written: object) -> object:
    return pace_of(RATE.validate_python(written))


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("1500/s", Shape(1500)),
        ({"from": "0/s", "to": "600/s", "over": "10s"}, Shape(600, (Piece(10, 0, 600),))),
        (
            {"from": "100/s", "step": "100/s", "every": "5s", "to": "300/s"},
            Shape(300, (Piece(5, 100, 100), Piece(5, 200, 200))),
        ),
        (
            {"stages": [{"to": "50/s", "over": "2s"}, {"to": "50/s", "over": "5s"}, {"to": "9/s", "over": "0s"}]},
            Shape(9, (Piece(2, 0, 50), Piece(5, 50, 50))),
        ),
        ({"think": "20ms"}, Closed(0.02)),
    ],
)
def test_every_form_of_a_rate_means_what_it_says_and_survives_being_written_down(written: object, means: Shape) -> None:
    assert pace(written) == means
    again = RATE.validate_json(RATE.dump_json(RATE.validate_python(written)))
    assert pace_of(again) == means


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (300, "needs a unit"),
        ("0/s", "must be from 1/m to 100000/s"),
        ({}, "a rate is 1500/s, a ramp"),
        ({"from": "1/s", "to": "2/s"}, "a rate is 1500/s, a ramp"),
        ({"from": "1/s", "to": "100000/s", "step": "1/s", "every": "1s"}, "more than 200 steps"),
        ({"stages": []}, "at least 1"),
        ({"think": 3}, "needs a unit"),
    ],
)
def test_what_is_no_rate_is_refused_with_the_choices(written: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        RATE.validate_python(written)


def test_a_staircase_ends_at_its_last_rate_even_where_no_whole_step_leads() -> None:
    assert stairs(100, 80, 300) == (100, 180, 260, 300)
    assert stairs(100, 80, 20) == (100, 20)
    assert stairs(100, 80, 100) == (100,)
    assert stairs(0.1, 0.1, 0.3) == pytest.approx((0.1, 0.2, 0.3))


def test_the_warmup_holds_the_first_rate() -> None:
    assert Shape(600, (Piece(10, 100, 600),)).after(3) == Shape(600, (Piece(3, 100, 100), Piece(10, 100, 600)))
    assert Shape(600).after(0) == Shape(600)


def test_the_plan_says_the_exact_rates() -> None:
    shape = Shape(600, (Piece(3, 100, 100), Piece(10, 100, 600)))
    assert str(shape) == "100/s for 3s, 100/s to 600/s within 10s, then 600/s"


@settings(deadline=None)
@given(
    st.floats(min_value=0.1, max_value=1000),
    RATES,
    RATES,
    st.lists(st.floats(min_value=0, max_value=1), min_size=2),
)
def test_moments_lie_inside_the_piece_in_order_and_give_the_count_back(
    seconds: float, first: float, last: float, shares: list[float]
) -> None:
    piece = Piece(seconds, first, last)
    counts = sorted(share * piece.calls for share in shares)
    moments = [piece.moment(count) for count in counts]
    assert all(0 <= moment <= seconds for moment in moments)
    assert all(before <= after * (1 + 1e-12) for before, after in pairwise(moments))
    for count, moment in zip(counts, moments, strict=True):
        asked = moment * (first + (last - first) * moment / seconds / 2)
        assert asked == pytest.approx(count, rel=1e-6, abs=1e-6 * max(piece.calls, 1))
