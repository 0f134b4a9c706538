"""The native client's connection against a scripted server: what etcd does rarely or never, and what nobody may do.

A test's server is the other end of a socket pair in the same process, and knows nothing but frames.
"""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress

import gevent
import gevent.socket
import pytest
from hpack import Encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaoskit.contracts import WatchMessage
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.clients.native import connection as connection_module
from chaoskit.systems.etcd.clients.native import frames, pulse
from chaoskit.systems.etcd.clients.native import watch as watch_module
from chaoskit.systems.etcd.clients.native.connection import Connection
from chaoskit.systems.etcd.clients.native.frames import Code, Frame, FrameReader
from chaoskit.systems.etcd.clients.native.headers import End, request_block
from chaoskit.systems.etcd.clients.native.messages import framed
from chaoskit.systems.etcd.clients.native.watch import Watch, WatchStream

pytestmark = pytest.mark.unit

BLOCK = request_block("/test/Call", "nowhere")
PATIENCE_S = 10.0


def block(*fields: tuple[str, str]) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(list(fields))


BEGIN = block((":status", "200"), ("content-type", "application/grpc"))
OK = block(("grpc-status", "0"))


class Server:
    """The other end. `send` writes raw bytes, `next` waits for a frame of a type."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = gevent.socket.socket(end.family, end.type, fileno=end.detach())
        self._reader = FrameReader(1 << 24)
        self._frames: list[Frame] = []
        self._preface = len(frames.PREFACE)
        self.goaway: int | None = None

    def send(self, *pieces: bytes) -> None:
        self.socket.sendall(b"".join(pieces))

    def greet(self, **values: int) -> None:
        self.send(frames.settings({getattr(frames, name): value for name, value in values.items()}))

    def next(self, *kinds: int) -> Frame:
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame[0] in kinds:
                    return frame
            self._frames += self._receive()

    def _receive(self) -> list[Frame]:
        chunk = self.socket.recv(1 << 16)
        assert chunk, "the client closed the connection"
        skipped = chunk[: self._preface]
        self._preface -= len(skipped)
        return self._reader.feed(chunk[len(skipped) :])

    def request(self) -> tuple[int, bytes]:
        """A whole call: its stream and its message."""
        stream, body = self.next(frames.HEADERS)[2], b""
        while True:
            _, flags, of, payload, _ = self.next(frames.DATA)
            assert of == stream
            body += payload
            if flags & frames.END_STREAM:
                return stream, body[5:]

    def answer(self, stream: int, message: bytes = b"answer", trailers: bytes = OK) -> None:
        self.send(
            headers(stream, BEGIN), frames.frame(frames.DATA, 0, stream, framed(message)), ended(stream, trailers)
        )

    def last_words(self) -> int:
        """The code of the GOAWAY before the client closes."""
        with suppress(AssertionError, OSError):
            return frames.code_in(self.next(frames.GOAWAY)[3], 4)
        return -1


def headers(stream: int, fields: bytes) -> bytes:
    return frames.frame(frames.HEADERS, frames.END_HEADERS, stream, fields)


def ended(stream: int, fields: bytes) -> bytes:
    return frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, fields)


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    with gevent.Timeout(PATIENCE_S):
        yield


Pair = tuple[Connection, Server]


def pair() -> Pair:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Connection(ours, "test"), Server(theirs)


@pytest.fixture
def greeted() -> Iterator[Pair]:
    connection, server = pair()
    server.greet()
    assert connection.ready.get() == ""
    yield connection, server
    connection.close()
    server.socket.close()


def ask(connection: Connection, message: bytes = b"question", timeout_s: float = 5.0) -> gevent.Greenlet:
    return gevent.spawn(connection.call, BLOCK, message, timeout_s)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_is_one_stream_and_gets_its_own_answer(greeted: Pair) -> None:
    connection, server = greeted
    first, second = ask(connection, b"1"), ask(connection, b"2")
    (stream_1, message_1), (stream_2, message_2) = server.request(), server.request()
    server.answer(stream_2, b"two")
    server.answer(stream_1, b"one")
    assert (stream_1, stream_2, message_1, message_2) == (1, 3, b"1", b"2")
    assert (first.get(), second.get()) == (b"one", b"two")


def test_a_status_comes_with_its_message(greeted: Pair) -> None:
    connection, server = greeted
    call = ask(connection)
    stream, _ = server.request()
    server.send(ended(stream, block((":status", "200"), ("grpc-status", "14"), ("grpc-message", "no%20leader"))))
    assert call.get() == End("UNAVAILABLE", "no leader")


def test_an_answer_in_many_frames_with_padding_is_put_together(greeted: Pair) -> None:
    connection, server = greeted
    call = ask(connection)
    stream, _ = server.request()
    body = framed(bytes(range(256)) * 100)
    server.send(headers(stream, BEGIN))
    for at in range(0, len(body), 1000):
        server.send(frames.frame(frames.DATA, frames.PADDED, stream, b"\x07" + body[at : at + 1000] + bytes(7)))
    server.send(ended(stream, OK))
    assert call.get() == bytes(range(256)) * 100
    server.send(frames.frame(frames.PING, 0, 0, b"the end."))
    padding = 8 * -(-len(body) // 1000)
    while padding:
        kind, _, of, payload, _ = server.next(frames.WINDOW_UPDATE, frames.PING)
        assert kind == frames.WINDOW_UPDATE, f"{padding} bytes of padding were not given back"
        padding -= frames.word_in(payload) if of == stream else 0


def test_an_answer_larger_than_every_window_arrives(greeted: Pair) -> None:
    """The server obeys the windows to the byte; without updates it would stop."""
    connection, server = greeted
    call = ask(connection)
    stream, _ = server.request()
    message = bytes(20 << 20)
    body, room, given = memoryview(framed(message)), connection_module.STREAM_WINDOW, 0
    server.send(headers(stream, BEGIN))
    while body:
        while room < 16384:
            _, _, of, payload, _ = server.next(frames.WINDOW_UPDATE)
            room += frames.word_in(payload) if of == stream else 0
            given += frames.word_in(payload) if not of else 0
        part, body = body[:16384], body[16384:]
        room -= len(part)
        server.send(frames.frame(frames.DATA, 0, stream, bytes(part)))
    server.send(ended(stream, OK))
    assert call.get() == message
    assert given > len(message) // 2, "the connection's own window must be kept open too"


@pytest.mark.parametrize(
    ("what", "sent", "status"),
    [
        ("OK without an answer", lambda s: headers(s, BEGIN) + ended(s, OK), "INTERNAL"),
        ("no trailers", lambda s: headers(s, BEGIN) + frames.frame(0, 1, s, framed(b"x")), "INTERNAL"),
        ("no headers", lambda s: frames.frame(0, 0, s, framed(b"x")), "INTERNAL"),
        ("two answers", lambda s: headers(s, BEGIN) + frames.frame(0, 0, s, framed(b"x") * 2), "INTERNAL"),
        ("compressed", lambda s: headers(s, BEGIN) + frames.frame(0, 0, s, b"\1\0\0\0\1x"), "INTERNAL"),
        ("endless", lambda s: headers(s, BEGIN) + frames.frame(0, 0, s, b"\0\xff\xff\xff\xff"), "INTERNAL"),
        ("a web page", lambda s: headers(s, block((":status", "200"), ("content-type", "text/html"))), "UNKNOWN"),
        ("a proxy's error", lambda s: ended(s, block((":status", "503"))), "UNAVAILABLE"),
        ("trailers that do not end", lambda s: headers(s, BEGIN) + headers(s, OK), "INTERNAL"),
        ("a window of nothing", lambda s: frames.window_update(s, 0), "INTERNAL"),
    ],
)
def test_a_bad_answer_fails_its_call_and_no_other(
    greeted: Pair, what: str, sent: Callable[[int], bytes], status: str
) -> None:
    connection, server = greeted
    bad, good = ask(connection), ask(connection)
    stream, other = server.request()[0], server.request()[0]
    server.send(sent(stream))
    server.answer(other, b"fine")
    end = bad.get()
    assert (end.status, end.untouched) == (status, False), what
    assert good.get() == b"fine"


# ── the client's own sending ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_waits_for_the_windows_and_obeys_them() -> None:
    connection, server = pair()
    server.greet(INITIAL_WINDOW_SIZE=1000)
    connection.ready.get()
    message = bytes(200_000)
    call = ask(connection, message)
    server.next(frames.HEADERS)
    got = len(server.next(frames.DATA)[3])
    assert got == 1000, "the stream's window"
    server.greet(INITIAL_WINDOW_SIZE=1500)
    got += len(server.next(frames.DATA)[3])
    assert got == 1500, "a changed setting moves the windows of open streams"
    server.send(frames.window_update(1, 1 << 20))
    while got < frames.DEFAULT_WINDOW:
        got += len(server.next(frames.DATA)[3])
    assert got == frames.DEFAULT_WINDOW, "the connection's window"
    server.send(frames.window_update(0, 1 << 20))
    while got < len(message) + 5:
        _, flags, _, payload, _ = server.next(frames.DATA)
        assert len(payload) <= frames.DEFAULT_FRAME_LIMIT
        got += len(payload)
    assert flags & frames.END_STREAM
    server.answer(1)
    assert call.get() == b"answer"


def test_a_window_that_a_setting_made_negative_is_filled_before_anything_is_sent() -> None:
    connection, server = pair()
    server.greet(INITIAL_WINDOW_SIZE=1000)
    connection.ready.get()
    ask(connection, bytes(5000))
    assert len(server.next(frames.DATA)[3]) == 1000
    server.greet(INITIAL_WINDOW_SIZE=100)
    server.send(frames.window_update(1, 901))
    assert len(server.next(frames.DATA)[3]) == 1


def test_no_more_streams_are_opened_than_the_server_allows() -> None:
    connection, server = pair()
    server.greet(MAX_CONCURRENT_STREAMS=2)
    connection.ready.get()
    calls = [ask(connection, bytes([number])) for number in range(5)]
    streams = [server.request()[0], server.request()[0]]
    with gevent.Timeout(0.05, False):
        server.next(frames.HEADERS)
        pytest.fail("a third stream")
    for stream in (*streams, 5, 7, 9):
        if stream > 3:
            assert server.request()[0] == stream
        server.answer(stream)
    assert [call.get() for call in calls] == [b"answer"] * 5


def test_a_call_that_found_no_room_in_time_was_not_sent() -> None:
    connection, server = pair()
    server.greet(MAX_CONCURRENT_STREAMS=0)
    connection.ready.get()
    end = ask(connection, timeout_s=0.05).get()
    assert (end.status, end.untouched) == ("DEADLINE_EXCEEDED", True)


def test_a_message_beyond_all_limits_is_not_sent(greeted: Pair) -> None:
    connection, server = greeted
    end = ask(connection, bytes((64 << 20) + 1)).get()
    assert (end.status, end.untouched) == ("RESOURCE_EXHAUSTED", True)
    call = ask(connection)
    server.answer(server.request()[0])
    assert call.get() == b"answer"


def test_a_server_that_answers_before_it_has_the_whole_request_is_left_alone_with_the_rest(greeted: Pair) -> None:
    connection, server = greeted
    call = ask(connection, bytes(1 << 20))
    stream = server.next(frames.HEADERS)[2]
    server.send(ended(stream, block((":status", "200"), ("grpc-status", "8"), ("grpc-message", "too large"))))
    assert call.get() == End("RESOURCE_EXHAUSTED", "too large")
    assert server.next(frames.RST_STREAM)[2] == stream


# ── deadlines and ends ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deadline_ends_the_call_and_cancels_its_stream(greeted: Pair) -> None:
    connection, server = greeted
    late, soon = ask(connection, timeout_s=5), ask(connection, timeout_s=0.05)
    server.request()
    stream, _ = server.request()
    assert soon.get().status == "DEADLINE_EXCEEDED"
    _, _, of, payload, _ = server.next(frames.RST_STREAM)
    assert (of, frames.code_in(payload)) == (stream, Code.CANCEL)
    server.answer(stream, b"too late")
    server.answer(1, b"in time")
    assert late.get() == b"in time"


def test_a_killed_caller_cancels_its_stream(greeted: Pair) -> None:
    connection, server = greeted
    call = ask(connection, timeout_s=60)
    stream, _ = server.request()
    call.kill()
    assert server.next(frames.RST_STREAM)[2] == stream


def test_a_refused_stream_was_not_touched_and_a_reset_one_may_have_been(greeted: Pair) -> None:
    connection, server = greeted
    refused, reset = ask(connection), ask(connection)
    first, second = server.request()[0], server.request()[0]
    server.send(frames.reset(first, Code.REFUSED_STREAM), frames.reset(second, Code.INTERNAL_ERROR))
    assert refused.get()[::2] == ("UNAVAILABLE", True)
    assert reset.get()[::2] == ("INTERNAL", False)


def test_a_server_that_gives_up_at_our_deadline_is_told_from_one_that_cancels(greeted: Pair) -> None:
    connection, server = greeted
    due, early = ask(connection, timeout_s=0.04), ask(connection, timeout_s=5)
    first, second = server.request()[0], server.request()[0]
    server.send(frames.reset(first, Code.CANCEL), frames.reset(second, Code.CANCEL))
    assert (due.get().status, early.get().status) == ("DEADLINE_EXCEEDED", "CANCELLED")


def test_goaway_lets_old_calls_end_and_gives_back_the_ones_it_did_not_look_at(greeted: Pair) -> None:
    connection, server = greeted
    old, new = ask(connection), ask(connection)
    server.request(), server.request()
    server.send(frames.frame(frames.GOAWAY, 0, 0, (1).to_bytes(4) + (11).to_bytes(4) + b"too_many_pings"))
    end = new.get()
    assert (end.status, end.untouched) == ("UNAVAILABLE", True)
    assert "too_many_pings" in end.message
    assert not connection.open
    server.answer(1)
    assert old.get() == b"answer"
    with pytest.raises(AssertionError, match="closed the connection"):
        server.next(-1)


def test_a_connection_that_is_going_away_is_closed_when_its_last_caller_gives_up(greeted: Pair) -> None:
    connection, server = greeted
    call = ask(connection, timeout_s=60)
    server.request()
    server.send(frames.frame(frames.GOAWAY, 0, 0, frames.LAST_STREAM.to_bytes(4) + bytes(4)))
    while connection.open:
        gevent.sleep(0)
    call.kill()
    with pytest.raises(AssertionError, match="closed the connection"):
        server.next(-1)


def test_a_caller_that_gives_up_makes_room_for_the_next() -> None:
    connection, server = pair()
    server.greet(MAX_CONCURRENT_STREAMS=1)
    connection.ready.get()
    first, second = ask(connection, timeout_s=60), ask(connection, timeout_s=60)
    server.request()
    first.kill()
    server.answer(server.request()[0])
    assert second.get() == b"answer"


def test_a_lost_connection_leaves_calls_unknown(greeted: Pair) -> None:
    connection, server = greeted
    call = ask(connection)
    server.request()
    server.socket.close()
    end = call.get()
    assert (end.status, end.untouched) == ("UNAVAILABLE", False)
    assert not connection.open


def test_a_caller_may_close_the_connection_from_inside_an_answer(greeted: Pair) -> None:
    connection, server = greeted

    def call_and_close() -> object:
        answer = connection.call(BLOCK, b"", 5)
        connection.close()
        return answer

    closing, other = gevent.spawn(call_and_close), ask(connection)
    server.request(), server.request()
    server.answer(1)
    assert closing.get() == b"answer"
    assert other.get().status == "UNAVAILABLE"


def test_pings_are_answered(greeted: Pair) -> None:
    _, server = greeted
    server.send(frames.frame(frames.PING, 0, 0, b"anybody?"))
    assert server.next(frames.PING) == (frames.PING, frames.ACK, 0, b"anybody?", 8)


def test_a_silent_server_is_pinged_and_given_up(greeted: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "_PING_AFTER_S", 0.1)
    monkeypatch.setattr(pulse, "_PING_ANSWER_S", 0.1)
    connection, server = greeted
    call = ask(connection)
    server.request()
    server.send(frames.frame(frames.PING, frames.ACK, 0, server.next(frames.PING)[3]))
    server.next(frames.PING)
    end = call.get()
    assert (end.status, end.untouched) == ("UNAVAILABLE", False)
    assert "ping" in end.message


# ── hostile servers ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("what", "sent", "code"),
    [
        ("a push", frames.frame(frames.PUSH_PROMISE, 4, 1, bytes(8)), Code.PROTOCOL_ERROR),
        ("DATA on a stream that never was", frames.frame(0, 0, 99, b"x"), Code.PROTOCOL_ERROR),
        ("HEADERS on a stream of the server's", headers(2, OK), Code.PROTOCOL_ERROR),
        ("RST_STREAM of a stream that never was", frames.reset(99, Code.CANCEL), Code.PROTOCOL_ERROR),
        ("a window that overflows", frames.window_update(0, frames.LARGEST_WINDOW), Code.FLOW_CONTROL_ERROR),
        ("a connection's window of nothing", frames.window_update(0, 0), Code.PROTOCOL_ERROR),
        ("a setting of 2 GiB", frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), Code.FLOW_CONTROL_ERROR),
        ("frames of no bytes", frames.settings({frames.MAX_FRAME_SIZE: 0}), Code.PROTOCOL_ERROR),
        ("a client that pushes", frames.settings({frames.ENABLE_PUSH: 1}), Code.PROTOCOL_ERROR),
        ("a block that is not HPACK", headers(1, b"\xff" * 20), Code.COMPRESSION_ERROR),
        ("a flood of pings", frames.frame(frames.PING, 0, 0, bytes(8)) * 30_000, Code.ENHANCE_YOUR_CALM),
        ("a flood of nothing", frames.frame(0, 0, 1) * 50_000, Code.ENHANCE_YOUR_CALM),
        ("a flood of the unknown", frames.frame(77, 0, 0) * 50_000, Code.ENHANCE_YOUR_CALM),
        ("a flood of resets", frames.reset(1, Code.CANCEL) * 50_000, Code.ENHANCE_YOUR_CALM),
    ],
)
def test_a_broken_protocol_ends_the_connection_and_its_calls_as_unknown(
    greeted: Pair, what: str, sent: bytes, code: Code
) -> None:
    connection, server = greeted
    call, bystander = ask(connection), ask(connection)
    server.request(), server.request()
    sender = gevent.spawn(server.send, headers(1, BEGIN) + sent)
    end = bystander.get()
    assert (end.status, end.untouched) == ("UNAVAILABLE", False), what
    assert isinstance(call.get(), End)
    assert server.last_words() in (code, -1)
    assert not connection.open
    sender.kill()


def test_a_server_must_begin_with_settings() -> None:
    connection, server = pair()
    server.send(frames.frame(frames.PING, 0, 0, bytes(8)))
    assert "SETTINGS" in connection.ready.get()


def test_memory_stays_bounded_when_a_server_sends_messages_without_end(
    greeted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_HELD_LIMIT", 4 << 20)
    connection, server = greeted
    calls = [ask(connection) for _ in range(4)]
    streams = [server.request()[0] for _ in calls]
    part = b"\0" + (60 << 20).to_bytes(4) + bytes(16000)
    tracemalloc.start()
    sent = [headers(stream, BEGIN) + frames.frame(0, 0, stream, part) for stream in streams]
    more = b"".join(frames.frame(0, 0, stream, bytes(16000)) for stream in streams) * 100
    sender = gevent.spawn(server.send, b"".join(sent) + more)
    assert [call.get().status for call in calls] == ["UNAVAILABLE"] * 4
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sender.kill()
    assert peak < 40 << 20


@given(st.lists(st.binary(max_size=200), max_size=10), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_end_in_an_answer_or_an_end_never_in_a_hang(chunks: list[bytes], framed_well: bool) -> None:
    connection, server = pair()
    server.greet()
    connection.ready.get()
    call = ask(connection, timeout_s=0.2)
    server.request()
    with suppress(OSError):
        for chunk in chunks:
            kind, flags = (chunk or b"\0")[0] % 11, (chunk or b"\0")[-1]
            server.send(frames.frame(kind, flags, 1 if kind in (0, 1, 3, 9) else 0, chunk) if framed_well else chunk)
    server.socket.shutdown(socket.SHUT_WR)
    assert isinstance(call.get(), End | bytes)
    connection.close()
    server.socket.close()


# ── watches ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def watch_response(**fields: object) -> bytes:
    return framed(pb.WatchResponse(header=pb.ResponseHeader(revision=7), **fields).SerializeToString())  # type: ignore[arg-type]


def event(revision: int) -> pb.Event:
    return pb.Event(kv=pb.KeyValue(key=b"k", value=b"v", mod_revision=revision))


class Watching:
    """A watch that was created by the scripted server."""

    def __init__(self, greeted: Pair) -> None:
        connection, self.server = greeted
        self.messages: list[WatchMessage] = []
        self.stream = WatchStream(connection, BLOCK)
        opening = gevent.spawn(self.stream.watch, b"k", b"", 0, self.messages.append, 5.0)
        self.request = pb.WatchRequest.FromString(self.server.next(frames.DATA)[3][5:])
        self.server.send(headers(1, BEGIN))
        self.say(watch_id=1, created=True)
        watch = opening.get()
        assert isinstance(watch, Watch)
        self.watch = watch

    def say(self, **fields: object) -> None:
        self.server.send(frames.frame(frames.DATA, 0, 1, watch_response(**fields)))

    def hear(self, count: int) -> list[WatchMessage]:
        while len(self.messages) < count:
            gevent.sleep(0)
        return self.messages


@pytest.fixture
def watching(greeted: Pair) -> Watching:
    return Watching(greeted)


def test_a_watch_asks_for_progress_and_knows_where_it_began(watching: Watching) -> None:
    assert watching.request.create_request.progress_notify
    assert watching.watch.created_revision == 7


def test_fragments_are_one_message(watching: Watching) -> None:
    watching.say(watch_id=1, events=[event(8), event(9)], fragment=True)
    watching.say(watch_id=1, events=[event(9)])
    assert [e[0] for e in watching.hear(1)[0].events] == [8, 9, 9]


@pytest.mark.parametrize(
    ("fields", "reason", "compact_revision"),
    [
        ({"canceled": True, "compact_revision": 5}, "compacted", 5),
        ({"canceled": True, "cancel_reason": "etcdserver: whatever"}, "server cancel", 0),
    ],
)
def test_a_cancel_of_the_server_closes_with_its_reason(
    watching: Watching, fields: dict[str, object], reason: str, compact_revision: int
) -> None:
    watching.say(watch_id=1, **fields)
    closed = watching.hear(1)[0]
    assert (closed.kind, closed.reason, closed.compact_revision) == ("closed", reason, compact_revision)
    watching.server.send(ended(1, OK))
    gevent.sleep(0.02)
    assert len(watching.messages) == 1, "closed once, whatever comes later"


@pytest.mark.parametrize(("message", "reason"), [("etcdserver: no leader", "no leader"), ("bye", "reset")])
def test_the_end_of_a_stream_closes_its_watches_once(watching: Watching, message: str, reason: str) -> None:
    watching.server.send(ended(1, block(("grpc-status", "14"), ("grpc-message", message))))
    closed = watching.hear(1)
    watching.stream.close()
    gevent.sleep(0.02)
    assert [each.reason for each in closed] == [reason]
    assert closed[0].detail == f"UNAVAILABLE: {message}"


def test_what_was_received_before_the_end_is_delivered_before_it(watching: Watching) -> None:
    watching.server.send(frames.frame(frames.DATA, 0, 1, watch_response(watch_id=1, events=[event(8)])), ended(1, OK))
    assert [each.kind for each in watching.hear(2)] == ["events", "closed"]


def test_after_a_cancel_nothing_is_delivered(watching: Watching) -> None:
    watching.say(watch_id=1, events=[event(8)])
    watching.hear(1)
    watching.watch.cancel()
    cancel = pb.WatchRequest.FromString(watching.server.next(frames.DATA)[3][5:])
    watching.say(watch_id=1, events=[event(9)])
    watching.server.send(ended(1, OK))
    gevent.sleep(0.02)
    assert cancel.cancel_request.watch_id == 1
    assert len(watching.messages) == 1


def test_a_refused_watch_is_told_to_who_asked_for_it(greeted: Pair) -> None:
    connection, server = greeted
    stream = WatchStream(connection, BLOCK)
    opening = gevent.spawn(stream.watch, b"k", b"", 0, lambda message: None, 5.0)
    server.next(frames.DATA)
    refusal = watch_response(watch_id=-1, created=True, canceled=True, cancel_reason="permission denied")
    server.send(headers(1, BEGIN), frames.frame(frames.DATA, 0, 1, refusal))
    assert opening.get() == End("CANCELLED", "permission denied")


def test_a_slow_reader_is_felt_by_the_server_and_holds_no_more_than_its_window(greeted: Pair) -> None:
    connection, server = greeted
    resume, taken = gevent.event.Event(), []

    def deliver(message: WatchMessage) -> None:
        resume.wait()
        taken.append(message)

    stream = WatchStream(connection, BLOCK)
    opening = gevent.spawn(stream.watch, b"k", b"", 0, deliver, 5.0)
    server.next(frames.DATA)
    server.send(headers(1, BEGIN), frames.frame(frames.DATA, 0, 1, watch_response(watch_id=1, created=True)))
    opening.get()
    big = pb.Event(kv=pb.KeyValue(key=b"k", value=bytes(16000), mod_revision=9))
    response = watch_response(watch_id=1, events=[big])
    count = connection_module.STREAM_WINDOW // len(response) - 1
    for _ in range(count):
        server.send(frames.frame(frames.DATA, 0, 1, response))
        gevent.sleep(0)
    updates = []
    with gevent.Timeout(0.1, False):
        while True:
            updates.append(server.next(frames.WINDOW_UPDATE)[2])
    assert 1 not in updates, "the window of the stream was opened though nobody reads"
    resume.set()
    while server.next(frames.WINDOW_UPDATE)[2] != 1:
        pass
    while len(taken) < count:
        gevent.sleep(0)


def test_a_server_that_ignores_the_window_of_a_watch_is_given_up(watching: Watching) -> None:
    endless = b"\0" + (60 << 20).to_bytes(4) + bytes(16000)
    watching.stream._give_back = lambda: None  # type: ignore[method-assign]  # as if nobody read
    with suppress(OSError):
        for _ in range(connection_module.STREAM_WINDOW // 16000 + 2):
            watching.server.send(frames.frame(frames.DATA, 0, 1, endless))
            endless = bytes(16000)
            gevent.sleep(0)
    assert watching.hear(1)[0].reason == "reset"
    assert "window" in watching.messages[0].detail


def test_a_watch_that_is_not_told_of_progress_asks_and_lives_as_long_as_its_stream(
    greeted: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("PROGRESS_DEADLINE_S", 0.2), ("_ASK_AFTER_S", 0.05), ("_PATROL_S", 0.02)):
        monkeypatch.setattr(watch_module, name, seconds)
    connection, server = greeted
    stream, messages = WatchStream(connection, BLOCK), list[WatchMessage]()
    server.send(headers(1, BEGIN))
    for number, notified in ((1, True), (2, False)):
        opening = gevent.spawn(stream.watch, b"k", b"", 0, messages.append, 5.0, notified=notified)
        request = pb.WatchRequest.FromString(server.next(frames.DATA)[3][5:])
        assert request.create_request.progress_notify == notified
        server.send(frames.frame(frames.DATA, 0, 1, watch_response(watch_id=number, created=True)))
        opening.get()
    asked = pb.WatchRequest.FromString(server.next(frames.DATA)[3][5:])
    assert asked.HasField("progress_request")
    server.send(frames.frame(frames.DATA, 0, 1, watch_response(watch_id=-1)))
    for _ in range(20):  # the server speaks of the first alone, as when the stream has not caught up
        server.send(frames.frame(frames.DATA, 0, 1, watch_response(watch_id=1)))
        gevent.sleep(0.02)
    assert "closed" not in [message.kind for message in messages]
    while [message.kind for message in messages].count("closed") < 2:  # now it speaks of nobody
        gevent.sleep(0.01)
    assert {message.reason for message in messages if message.kind == "closed"} == {"progress deadline"}
