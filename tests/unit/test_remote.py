"""Workers on other machines: keys, messages, clocks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.contracts import LiveSample
from chaoskit.errors import InvalidExperiment
from chaoskit.history import ClockOffset, GeneratorSample, Operation, Outcome, Record, Unsent
from chaoskit.history.clocks import doubt_ns, on_one_timeline
from chaoskit.load import channel, remote
from chaoskit.load.token import given_token, kept_token, keys
from chaoskit.load.worker.offset import RoundTrip, measured

pytestmark = pytest.mark.unit

TOKEN = "a token of some length"
OTHER = "another token of some length"


# ── the token ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_both_sides_derive_the_same_keys_and_another_token_gives_others() -> None:
    assert keys(TOKEN) == keys(TOKEN)
    assert keys(TOKEN).public != keys(OTHER).public
    assert TOKEN.encode() not in keys(TOKEN).public + keys(TOKEN).secret


def heard(server_key: bytes | None) -> bool:
    """Whether one message of a peer that believes in this key comes in."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server, context.socket(zmq.DEALER) as client:
        server.linger = client.linger = 0
        server.curve_server = True
        server.curve_publickey, server.curve_secretkey = keys(TOKEN)
        port = server.bind_to_random_port("tcp://127.0.0.1")
        if server_key:
            client.curve_serverkey = server_key
            client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
        client.connect(f"tcp://127.0.0.1:{port}")
        client.send(b"client_ready")
        return bool(server.poll(5000 if server_key == keys(TOKEN).public else 300))


def test_who_has_the_token_is_heard_and_nobody_else() -> None:
    assert heard(keys(TOKEN).public)
    assert not heard(keys(OTHER).public)
    assert not heard(None)


def test_a_token_comes_from_a_file_or_the_environment_and_a_short_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    assert given_token(file, {}) == TOKEN
    assert given_token(None, {"CHAOSKIT_TOKEN": TOKEN}) == TOKEN
    assert given_token(None, {}) is None
    with pytest.raises(InvalidExperiment, match="at least 16 characters"):
        given_token(None, {"CHAOSKIT_TOKEN": "sesame"})


def test_a_token_file_that_others_can_read_is_refused_and_its_content_not_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o640)
    with pytest.raises(InvalidExperiment, match="chmod 600") as refused:
        given_token(file, {})
    assert TOKEN not in str(refused.value)


def test_a_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "worker-token"
    token = kept_token(file)
    assert len(token) >= 40
    assert kept_token(file) == token
    assert file.stat().st_mode & 0o777 == 0o600
    assert kept_token(tmp_path / "other") != token


# ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SECOND = channel.Second(
    LiveSample(
        at_ns=1, ok={"put": 2}, failed=0, unknown=0, p99_ms={}, watch_events=0, watch_lag_ms=None, watches_open=0,
        watch_reached=0, in_flight=0, ready=True, cpu=0.1,
    ),
    {"put": {1: 2}},
)  # fmt: skip


@pytest.mark.parametrize(
    "message",
    [
        remote.Join("0.1.0", "host", "clock"),
        remote.Here("ticket", {"put": 3}),
        remote.Said(channel.Finished()),
        remote.Said(SECOND),
        remote.Piece(7, os.urandom(remote.PIECE_BYTES)),
        remote.Ping(1),
        remote.Leaving("why"),
    ],
)
def test_what_a_worker_says_arrives_whole(message: remote.FromWorker) -> None:
    assert remote.decode_from_worker(remote.encode(message)) == message
    assert len(remote.encode(message)) < remote.MESSAGE_LIMIT


@pytest.mark.parametrize(
    "message",
    [
        remote.Welcome(1, "ticket", False, b"{}"),
        remote.Refused("why"),
        remote.Told(channel.Adopt(((0, 2), (1, 3)), 5)),
        remote.Stored(9),
        remote.Pong(1, 2),
        remote.Expelled("why"),
    ],
)
def test_what_a_master_says_arrives_whole(message: remote.FromMaster) -> None:
    assert remote.decode_from_master(remote.encode(message)) == message


# ── clocks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

DELAYS_NS = st.integers(0, 50_000_000)


@given(st.integers(-(10**15), 10**15), st.lists(st.tuples(DELAYS_NS, DELAYS_NS), min_size=1, max_size=20))
def test_the_true_offset_lies_within_the_uncertainty_however_lopsided_the_way(
    offset_ns: int, ways_ns: list[tuple[int, int]]
) -> None:
    trips = [RoundTrip(1000, 1000 + there + offset_ns, 1000 + there + back) for there, back in ways_ns]
    found = measured(trips)
    assert abs(found.offset_ns - offset_ns) <= found.uncertainty_ns
    assert found.uncertainty_ns <= (min(there + back for there, back in ways_ns) + 1) // 2


def op(sent_ns: int, done_ns: int) -> Operation:
    return Operation(1, 1, "put", 0, "n1", sent_ns - 5, sent_ns, done_ns, Outcome.OK)


def test_a_worker_elsewhere_is_read_on_the_controllers_clock_by_its_first_offset() -> None:
    shard: list[Record] = [
        ClockOffset(1, 90, 1000, 3),
        op(100, 130),
        op(100, 0),
        Unsent(1, "put", (100, 200), 300),
        ClockOffset(1, 95, 990, 2),
        GeneratorSample(1, 400, 0.1, 5.0, 1, 1, 1),
    ]
    clock, done, in_flight, unsent, _, sample = on_one_timeline(shard)
    assert isinstance(done, Operation)
    assert (done.due_ns, done.sent_ns, done.done_ns) == (1095, 1100, 1130)
    assert isinstance(in_flight, Operation)
    assert in_flight.done_ns == 0, "still in flight"
    assert isinstance(unsent, Unsent)
    assert (unsent.dues_ns, unsent.stopped_ns) == ((1100, 1200), 1300)
    assert isinstance(sample, GeneratorSample)
    assert (sample.at_ns, sample.loop_stall_ms) == (1400, 5.0)
    assert isinstance(clock, ClockOffset)
    assert (clock.at_ns, clock.offset_ns, clock.uncertainty_ns) == (1090, 1000, 3)


def test_the_same_clock_shifts_nothing() -> None:
    (_, done) = on_one_timeline([ClockOffset(1, 90, 0, 0, "here"), op(100, 130)])
    assert done == op(100, 130)


def test_drift_adds_to_the_doubt() -> None:
    assert doubt_ns([ClockOffset(1, 0, 1000, 3), ClockOffset(1, 9, 990, 2)]) == 12
    assert doubt_ns([ClockOffset(1, 0, 0, 0)]) == 0
    assert doubt_ns([]) == 0
