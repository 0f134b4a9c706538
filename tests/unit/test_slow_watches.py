"""Slow watches: how they read, and that what they get late is counted as theirs and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.checkers import CHECKERS
from chaoskit.contracts import LateReading, Promises
from chaoskit.figures import compute
from chaoskit.history import History
from chaoskit.load.worker import late_reader
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.late_reader import LateReader
from chaoskit.verdict import Verdict
from tests.unit.histories import S, healthy
from tests.unit.test_watchers import Factory

pytestmark = pytest.mark.unit

LATE_NS = 7 * S
SLOW = {0, 2}


def with_slow_watches(history: History) -> History:
    """Two of the watches read everything but their last response seven seconds late."""
    history.watch_opened = [replace(one, slow=one.watch in SLOW) for one in history.watch_opened]
    history.watch_events = [
        replace(event, received_ns=event.received_ns + LATE_NS * (event.watch in SLOW))
        for event in history.watch_events
    ]
    history.watch_progress = [one for one in history.watch_progress if one.watch not in SLOW]
    return history


def test_the_lag_of_slow_watches_is_theirs_alone() -> None:
    before, after = compute(healthy(), Promises()), compute(with_slow_watches(healthy()), Promises())
    assert before.slow_watch.watches == 0
    assert before.watch.late == after.watch.late == 0
    assert (after.watch.lag_ms.max or 0) < 1000 < 7000 <= (after.slow_watch.lag_ms.p50 or 0)
    assert after.slow_watch.late == after.slow_watch.lag_ms.count > 0
    assert (after.watch.watches, after.slow_watch.watches) == (before.watch.watches - 2, 2)
    assert after.watch.delivered + after.slow_watch.delivered == before.watch.delivered
    phases = [phase.slow_watch.lag_ms.count for phase in after.phases if phase.judged]
    assert sum(phases) == after.slow_watch.lag_ms.count


def test_what_a_slow_watch_lost_is_its_own_loss_and_breaks_the_same_promise() -> None:
    history = with_slow_watches(healthy())
    mine = [index for index, event in enumerate(history.watch_events) if event.watch == 2]
    del history.watch_events[mine[len(mine) // 2]]
    figures = compute(history, Promises())
    assert (figures.watch.silent_loss, figures.slow_watch.silent_loss) == (0, 1)
    failed = [
        finding.promise
        for finding in CHECKERS["watch"].check(history, figures, Promises())
        if finding.verdict is Verdict.FAIL
    ]
    assert failed == ["Reliable (slow watches)"]


def test_the_end_of_a_slow_watchs_stream_is_no_reconnect_of_the_others() -> None:
    history = with_slow_watches(healthy())
    history.watch_closed = [replace(end, reason="reset") if end.watch in SLOW else end for end in history.watch_closed]
    figures = compute(history, Promises())
    assert (figures.watch.reconnects, figures.slow_watch.reconnects) == ({}, {"reset": 2})


# ── how they read ────────────────────────────────────────────────────────────────────────────────────────────────────


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    time = Time()
    monkeypatch.setattr(late_reader, "monotonic", time)
    yield time


def test_it_reads_then_stops_then_reads_again(time: Time) -> None:
    reader = LateReader(LateReading(stop_s=4, every_s=6), Event())
    left = {}
    for second in range(13):
        left[second] = reader.seconds_left(100.0 + second)
    assert left == {0: 0, 1: 0, 2: 4, 3: 3, 4: 2, 5: 1, 6: 0, 7: 0, 8: 4, 9: 3, 10: 2, 11: 1, 12: 0}


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.floats(1, 1000))
def test_it_reads_as_many_events_a_second_as_it_was_told(responses: list[int], rate_per_s: float) -> None:
    time = Time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(late_reader, "monotonic", time)
        reader = LateReader(LateReading(rate_per_s=rate_per_s), Event())
        for events in responses:
            time.now += reader.seconds_left(time.now)
            reader.took(events)
        time.now += reader.seconds_left(time.now)
    assert time.now - 100.0 == pytest.approx(sum(responses) / rate_per_s)


def test_when_the_load_has_stopped_it_waits_no_longer(time: Time) -> None:
    over = Event()
    reader = LateReader(LateReading(rate_per_s=0.001), over)
    reader.took(100)
    over.set()
    reader.wait()


def test_slow_watches_share_no_connection_with_others(tmp_path: Path) -> None:
    class Noting(Factory):
        def connect(self, member: str, endpoint: str, *, reads_late: bool = False) -> object:
            return (member, reads_late, object())

    connections = Connections(Noting(), {"n1": "a"})  # type: ignore[arg-type]
    made = [connections.client(use, "n1") for use in ("calls", "watches", "slow watches")]
    assert [reads_late for _, reads_late, _ in made] == [False, False, True]  # type: ignore[attr-defined]
    assert len(set(made)) == 3
