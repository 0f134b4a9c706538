"""What the recorder writes, when, and what it forgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.history import Operation, Outcome, Record, ShardReader, ShardWriter
from chaoskit.history.gathered import gather
from chaoskit.load.worker.recorder import Call, Recorder

pytestmark = pytest.mark.unit


@pytest.fixture
def refused() -> list[Operation]:
    return []


@pytest.fixture
def recorder(tmp_path: Path, refused: list[Operation]) -> Recorder:
    return Recorder(3, ShardWriter(tmp_path / "worker.shard"), refused.append)


def written(tmp_path: Path) -> list[Record]:
    return list(ShardReader(tmp_path / "worker.shard"))


def begun(recorder: Recorder, sent_ns: int, kind: str = "put", revision: int = 0) -> Call:
    op = Call(
        recorder.worker, recorder.next_number(), kind, client=0, member="n1", due_ns=sent_ns - 5, sent_ns=sent_ns,
        done_ns=0, outcome=Outcome.UNKNOWN, error="in flight when the run stopped", value="3.1", revision=revision,
    )  # fmt: skip
    recorder.begin(op)
    return op


def test_a_call_that_came_back_is_written_once(recorder: Recorder, refused: list[Operation], tmp_path: Path) -> None:
    recorder.end(begun(recorder, 10, revision=7), Outcome.OK, 30)
    recorder.flush()
    (record,) = written(tmp_path)
    assert isinstance(record, Operation)
    assert (record.outcome, record.done_ns, record.revision, record.error) == (Outcome.OK, 30, 7, "")
    assert refused == []
    assert recorder.in_flight == {}


def test_each_call_that_was_not_acknowledged_is_told_of_once(recorder: Recorder, refused: list[Operation]) -> None:
    recorder.end(begun(recorder, 10), Outcome.FAILED, 30, "NOT_FOUND: no")
    recorder.end(begun(recorder, 20), Outcome.OK, 40)
    recorder.close()
    assert [(op.done_ns, op.outcome, op.error) for op in refused] == [(30, Outcome.FAILED, "NOT_FOUND: no")]


def test_acknowledgements_are_forgotten_at_any_rate(recorder: Recorder) -> None:
    held = []
    for second in range(10):
        for number in range(5_000):
            recorder.end(begun(recorder, 10, revision=second * 5_000 + number), Outcome.OK, 30)
        recorder.live.turn()
        held.append(len(recorder.live._acks) + len(recorder.live._older_acks))
    assert max(held) <= 50_000
    assert held[-1] < 50_000  # and it does not go on rising


def test_a_call_in_flight_is_written_at_the_next_flush_and_only_there(recorder: Recorder, tmp_path: Path) -> None:
    begun(recorder, 10)
    for _ in range(3):
        recorder.flush()
    (record,) = written(tmp_path)
    assert isinstance(record, Operation)
    assert (record.done_ns, record.outcome) == (0, Outcome.UNKNOWN)


def test_a_flush_that_mentions_nothing_leaves_calls_in_flight_to_the_next_that_does(
    recorder: Recorder, tmp_path: Path
) -> None:
    begun(recorder, 10)
    recorder.flush(mention=False)
    recorder.flush(mention=False)
    assert written(tmp_path) == []
    recorder.flush()
    assert len(written(tmp_path)) == 1


def test_a_call_in_flight_when_its_worker_died_is_unknown_in_the_history(recorder: Recorder, tmp_path: Path) -> None:
    begun(recorder, 10)
    recorder.flush()
    (op,) = gather(written(tmp_path)).operations  # no close: the worker is gone
    assert (op.done_ns, op.outcome, op.value) == (0, Outcome.UNKNOWN, "3.1")


def test_the_answer_replaces_what_a_flush_said_of_a_call_in_flight(recorder: Recorder, tmp_path: Path) -> None:
    op = begun(recorder, 10)
    recorder.flush()
    recorder.end(op, Outcome.OK, 40)
    recorder.close()
    (op,) = gather(written(tmp_path)).operations
    assert (op.done_ns, op.outcome) == (40, Outcome.OK)


def test_closing_makes_what_is_in_flight_unknown_with_a_time(recorder: Recorder, tmp_path: Path) -> None:
    op = begun(recorder, 10)
    recorder.close()
    recorder.end(op, Outcome.OK, 99)  # too late: the run is over
    (record,) = written(tmp_path)
    assert isinstance(record, Operation)
    assert record.outcome is Outcome.UNKNOWN
    assert record.done_ns > 10


def test_the_live_counts_are_those_of_one_second(recorder: Recorder) -> None:
    live = recorder.live
    for outcome in (Outcome.OK, Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN):
        recorder.end(begun(recorder, 1_000_000, revision=9), outcome, 3_000_000)
    assert (live.sent, dict(live.ok), live.failed, live.unknown) == (4, {"put": 2}, 1, 1)
    assert sum(live.response()["put"].values()) == 4
    live.turn()
    assert (live.sent, dict(live.ok), live.failed, live.unknown, live.response()) == (0, {}, 0, 0, {})


def test_watch_lag_counts_from_the_acknowledgement_that_this_worker_knows(recorder: Recorder) -> None:
    recorder.end(begun(recorder, 1_000_000, revision=9), Outcome.OK, 3_000_000)
    recorder.live.watch_delivery(1, 8, 9_000_000)  # somebody else's write
    assert recorder.live.watch_lag_ms is None
    recorder.live.watch_delivery(1, 9, 5_000_000)
    assert recorder.live.watch_lag_ms == pytest.approx(2)
    assert recorder.live.watch_events == 2
