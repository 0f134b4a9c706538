"""What the recorder writes, when, and what it forgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.history import Operation, Outcome, Record, ShardReader, ShardWriter
from chaoskit.history.gathered import gather
from chaoskit.load.worker.recorder import Recorder

pytestmark = pytest.mark.unit


@pytest.fixture
def ended() -> list[Operation]:
    return []


@pytest.fixture
def recorder(tmp_path: Path, ended: list[Operation]) -> Recorder:
    return Recorder(3, ShardWriter(tmp_path / "worker.shard"), ended.append)


def written(tmp_path: Path) -> list[Record]:
    return list(ShardReader(tmp_path / "worker.shard"))


def begun(recorder: Recorder, sent_ns: int, kind: str = "put") -> Operation:
    op = Operation(
        recorder.worker, recorder.next_number(), kind, client=0, member="n1", due_ns=sent_ns - 5, sent_ns=sent_ns,
        done_ns=0, outcome=Outcome.UNKNOWN, error="in flight when the run stopped", value="3.1",
    )  # fmt: skip
    recorder.begin(op)
    return op


def test_a_call_that_came_back_is_written_once_and_told_to_locust(
    recorder: Recorder, ended: list[Operation], tmp_path: Path
) -> None:
    recorder.end(begun(recorder, 10), Outcome.OK, 30, revision=7)
    recorder.flush()
    (record,) = written(tmp_path)
    assert isinstance(record, Operation)
    assert (record.outcome, record.done_ns, record.revision, record.error) == (Outcome.OK, 30, 7, "")
    assert ended == [record]
    assert recorder.in_flight == {}


def test_a_call_in_flight_is_written_at_the_next_flush_and_only_there(recorder: Recorder, tmp_path: Path) -> None:
    begun(recorder, 10)
    for _ in range(3):
        recorder.flush()
    (record,) = written(tmp_path)
    assert isinstance(record, Operation)
    assert (record.done_ns, record.outcome) == (0, Outcome.UNKNOWN)


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
        recorder.end(begun(recorder, 1_000_000), outcome, 3_000_000, revision=9)
    assert (live.sent, dict(live.ok), live.failed, live.unknown) == (4, {"put": 2}, 1, 1)
    assert live.p99_ms()["put"] == pytest.approx(2, abs=0.01)
    live.turn()
    assert (live.sent, dict(live.ok), live.failed, live.unknown, live.p99_ms()) == (0, {}, 0, 0, {})


def test_watch_lag_counts_from_the_acknowledgement_that_this_worker_knows(recorder: Recorder) -> None:
    recorder.end(begun(recorder, 1_000_000), Outcome.OK, 3_000_000, revision=9)
    recorder.live.watch_event(8, 9_000_000)  # somebody else's write
    assert recorder.live.watch_lag_ms is None
    recorder.live.watch_event(9, 5_000_000)
    assert recorder.live.watch_lag_ms == pytest.approx(2)
    assert recorder.live.watch_events == 2
