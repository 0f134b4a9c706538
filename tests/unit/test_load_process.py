"""The controller's side of the load, as far as it needs no worker."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chaoskit.load import channel
from chaoskit.load.worker.crowd import Crowd
from chaoskit.shapes import Shape
from chaoskit.workloads.put import Put

pytestmark = pytest.mark.unit

SECOND = 1_000_000_000


def test_the_controllers_side_loads_neither_locust_nor_gevent() -> None:
    code = "import chaoskit.load, chaoskit.workloads, sys; print([m for m in ('locust', 'gevent') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize(
    "command", [channel.Go(), channel.BeginBurst("a"), channel.EndBurst("b"), channel.StopArrivals(), channel.Finish(2)]
)
def test_a_command_crosses_the_channel_whole(command: channel.Command) -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        ours.send(channel.encode(command))
        assert channel.decode_command(theirs.recv(channel.MESSAGE_LIMIT)) == command


def test_the_other_end_sees_when_one_is_closed() -> None:
    ours, theirs = channel.pair()
    with theirs:
        ours.close()
        assert theirs.recv(channel.MESSAGE_LIMIT) == b""


def test_arrivals_that_found_no_client_before_the_stop_are_recorded_as_unsent() -> None:
    crowd = Crowd(Put.model_validate({"rate": "100/s"}), seed="7:0", arrivals="uniform", first_client=0)
    crowd.begin(0, worker=0)
    assert crowd.schedule is not None
    taken = [crowd.schedule.take().due_ns for _ in range(30)]
    (unsent,) = crowd.end(1_000_000_000, worker=4)
    assert (unsent.worker, unsent.kind, unsent.stopped_ns) == (4, "put", 1_000_000_000)
    assert len(unsent.dues_ns) == 70
    assert taken[-1] < unsent.dues_ns[0] <= unsent.dues_ns[-1] <= 1_000_000_000
    assert crowd.end(2_000_000_000, worker=4) == []


def test_a_crowd_that_turns_to_another_rate_gives_up_what_was_due_and_comes_back_to_its_own() -> None:
    crowd = Crowd(Put.model_validate({"rate": "100/s"}), seed="7:0", arrivals="uniform", first_client=0)
    crowd.begin(0, worker=0)
    before = crowd.schedule
    assert before is not None
    for _ in range(30):
        before.take()
    (unsent,) = crowd.turn_to(Shape(1000), "knee", SECOND, worker=4)
    assert len(unsent.dues_ns) == 70
    assert before.ended_ns == SECOND
    assert crowd.schedule is not None
    steps = [crowd.schedule.take().due_ns for _ in range(1000)]
    assert SECOND <= steps[0] < steps[-1] < 2 * SECOND
    assert crowd.turn_back("after knee", 2 * SECOND, worker=4) == []
    assert crowd.schedule is not None
    back = [crowd.schedule.take().due_ns for _ in range(100)]
    assert 2 * SECOND <= back[0] < back[-1] < 3 * SECOND
    crowd.end(3 * SECOND, worker=4)
    assert crowd.turn_to(Shape(1000), "late", 4 * SECOND, worker=4) == []
