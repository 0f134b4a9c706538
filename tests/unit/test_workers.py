"""The load divided among several workers: together they do exactly what one would do alone."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.contracts import LiveSample
from chaoskit.load import channel, intervals
from chaoskit.load.order import Arrivals
from chaoskit.load.share import WHOLE, Divided, Lane, Share, share_of
from chaoskit.load.worker.crowd import Crowd
from chaoskit.load.worker.schedule import Arrival, Schedule
from chaoskit.load.workers import merge
from chaoskit.shapes import Shape
from chaoskit.workloads.put import Put

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000
ARRIVALS = 500


def shares(divided: Divided, clients: int) -> list[Share]:
    all_shares = (share_of(division, clients) for division in chain.from_iterable(divided.held().values()))
    return [share for share in all_shares if share]


@given(st.integers(1, 12), st.integers(1, 40), st.lists(st.integers(0, 11), max_size=11))
def test_the_workers_together_have_every_client_and_every_arrival_once_whoever_is_lost(
    workers: int, clients: int, losses: list[int]
) -> None:
    divided = Divided(range(workers))
    well = list(range(workers))
    for choice in [None, *losses]:
        if choice is not None:
            if len(well) == 1:
                return
            lost = well.pop(choice % len(well))
            list(divided.lose(lost, well))
        parts = shares(divided, clients)
        assert Counter(chain.from_iterable(share.numbers(clients) for share in parts)) == Counter(range(clients))
        arrivals = chain.from_iterable(share.arrivals.below(ARRIVALS) for share in parts)
        assert Counter(arrivals) == Counter(range(ARRIVALS))


@given(st.integers(1, 12), st.integers(1, 40))
def test_only_who_has_a_client_has_arrivals(workers: int, clients: int) -> None:
    for share in shares(Divided(range(workers)), clients):
        assert list(share.numbers(clients))


def test_arrival_i_belongs_to_worker_i_modulo_n() -> None:
    for worker in range(3):
        share = share_of(((worker, 3),), 64)
        assert share is not None
        assert list(share.arrivals.below(9)) == [worker, worker + 3, worker + 6]


@pytest.mark.parametrize("arrivals", ["uniform", "poisson"])
def test_the_schedules_of_all_workers_are_the_schedule_of_one(arrivals: Arrivals) -> None:
    alone = Schedule(Shape(300), arrivals, "7:put", 5 * SECOND)
    expected = [alone.take() for _ in range(300)]
    several = [Schedule(Shape(300), arrivals, "7:put", 5 * SECOND, Lane(worker, 3)) for worker in range(3)]
    assert sorted(schedule.take() for schedule in several for _ in range(100)) == expected


def test_the_steps_of_a_search_divide_among_workers_as_any_arrivals_do() -> None:
    def arrivals(share: Share) -> list[int]:
        crowd = Crowd(
            Put.model_validate({"rate": "100/s", "clients": 30}), seed="7:put", arrivals="poisson", first_client=0,
            share=share,
        )  # fmt: skip
        crowd.begin(0, worker=0)
        crowd.turn_to(Shape(900), "knee", 5 * SECOND, worker=0)
        assert crowd.schedule is not None
        return [crowd.schedule.take().due_ns for _ in range(300)]

    alone = arrivals(WHOLE)
    shares = [share_of(((worker, 3),), 30) for worker in range(3)]
    together = sorted(due for share in shares if share for due in arrivals(share))
    assert together[:300] == alone


def test_who_takes_over_a_lane_begins_at_the_moment_and_with_the_arrivals_that_were_the_others() -> None:
    lost = Schedule(Shape(300), "poisson", "7:put", 5 * SECOND, Lane(1, 3))
    expected = [lost.take() for _ in range(100)]
    from_ns = expected[40].due_ns
    heirs = [Schedule(Shape(300), "poisson", "7:put", 5 * SECOND, Lane(1, 3).part(j, 2), from_ns) for j in range(2)]
    taken: list[Arrival] = sorted(heir.take() for heir in heirs for _ in range(30))
    assert taken == expected[40:100]


def second(at_ns: int, durations_ns: list[int], **more: int) -> channel.Second:
    facts = {"failed": 0, "unknown": 0, "watch_events": 0, "watches_open": 0, "watch_reached": 0, "in_flight": 0}
    sample = LiveSample(
        at_ns=at_ns, ok={"put": len(durations_ns)}, p99_ms={}, watch_lag_ms=None, ready=True, cpu=0.5, **(facts | more)
    )
    return channel.Second(sample, {"put": intervals.buckets(durations_ns)})


def test_a_merged_second_adds_counts_and_has_the_percentile_of_all_operations() -> None:
    fast, slow = [1_000_000] * 980, [90_000_000] * 20
    both = merge([second(1, fast, in_flight=3), second(2, slow, in_flight=4)])
    assert both.ok == {"put": 1000}
    assert both.in_flight == 7
    assert both.p99_ms["put"] == pytest.approx(90, rel=0.004)  # the mean of both P99 would say 45.5


def test_operations_over_a_searchs_limit_add_up() -> None:
    samples = [replace(second(1, []).sample, slow=slow) for slow in ({"put": 3}, {"put": 4, "read": 1}, {})]
    assert merge([channel.Second(sample) for sample in samples]).slow == {"put": 7, "read": 1}


def test_what_all_watches_have_reached_is_the_least_of_the_workers_that_have_watches() -> None:
    with_watches = [second(1, [], watches_open=2, watch_reached=70), second(1, [], watches_open=1, watch_reached=60)]
    assert merge([*with_watches, second(1, [])]).watch_reached == 60


@given(st.lists(st.integers(1, 60 * SECOND), min_size=1, max_size=200))
def test_an_interval_histogram_is_at_most_half_a_percent_off(durations_ns: list[int]) -> None:
    exact = sorted(durations_ns)[-(-99 * len(durations_ns) // 100) - 1]
    assert intervals.p99_ns(intervals.buckets(durations_ns)) == pytest.approx(exact, rel=0.005)
