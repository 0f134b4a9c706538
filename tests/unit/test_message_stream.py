"""The one-stream HTTP/2 client of the audit watchers, against a scripted server."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from threading import Thread

import hpack
import pytest

from chaoskit.systems.etcd.stream import MessageStream, StreamEnded, _opening

pytestmark = pytest.mark.unit

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_HEADERS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def message(body: bytes) -> bytes:
    return b"\0" + len(body).to_bytes(4) + body


class Server:
    """The other end: a plain socket that says what a test tells it to."""

    def __init__(self, listener: socket.socket) -> None:
        self.stream = MessageStream(
            f"127.0.0.1:{listener.getsockname()[1]}", "/a.B/C", b"request", connect_s=2, idle_s=2
        )
        self._socket, _ = listener.accept()
        self._socket.settimeout(2)
        self._file = self._socket.makefile("rb")
        assert self._file.read(len(PREFACE)) == PREFACE

    def say(self, *frames: bytes) -> None:
        self._socket.sendall(b"".join(frames))

    def hear(self) -> tuple[int, int, bytes]:
        """The next frame: kind, flags, payload."""
        header = self._file.read(9)
        return header[3], header[4], self._file.read(int.from_bytes(header[:3]))

    def hear_opening(self) -> list[tuple[int, int, bytes]]:
        return [self.hear() for _ in (SETTINGS, WINDOW_UPDATE, HEADERS, DATA)]

    def hang_up(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.mark.parametrize("length", [1, 126, 127, 128, 254, 255, 300, 16_510, 20_000])
def test_a_token_of_any_length_is_a_header_as_others_read_it(length: int) -> None:
    """A signed token is some hundred bytes long, and lengths from 127 on are written differently."""
    token = "t" * length
    opening = _opening("127.0.0.1:1", "/a.B/C", b"", token=token, tls=True)
    at = opening.index(bytes((HEADERS, END_HEADERS)) + (1).to_bytes(4)) - 3
    size = int.from_bytes(opening[at : at + 3])
    headers = dict(hpack.Decoder().decode(opening[at + 9 : at + 9 + size]))
    assert headers["token"] == token
    assert headers[":scheme"] == "https"
    assert headers[":path"] == "/a.B/C"


@pytest.fixture
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Server(listener)
        yield made
        made.stream.close()
        made.hang_up()


def read(stream: MessageStream, count: int) -> list[bytes]:
    got: list[bytes] = []
    while len(got) < count:
        got += stream.read()
    return got


def test_the_request_is_one_message_that_ends_our_half_of_the_stream(server: Server) -> None:
    kinds = server.hear_opening()
    assert [kind for kind, _, _ in kinds] == [SETTINGS, WINDOW_UPDATE, HEADERS, DATA]
    assert b"/a.B/C" in kinds[2][2]
    assert kinds[3] == (DATA, 1, message(b"request"))


def test_messages_arrive_whole_however_the_bytes_are_cut(server: Server) -> None:
    body = message(b"first") + message(b"") + message(b"third")
    said = frame(HEADERS, b"\x88", 4, 1) + b"".join(
        frame(DATA, body[at : at + 4], 0, 1) for at in range(0, len(body), 4)
    )

    def dribble() -> None:
        for byte in said:
            server.say(bytes((byte,)))

    thread = Thread(target=dribble)
    thread.start()
    assert read(server.stream, 3) == [b"first", b"", b"third"]
    thread.join()


def test_padding_is_taken_off(server: Server) -> None:
    server.say(frame(DATA, b"\x03" + message(b"padded") + b"\0\0\0", 8, 1))
    assert read(server.stream, 1) == [b"padded"]


def test_settings_and_pings_are_acknowledged(server: Server) -> None:
    server.hear_opening()
    server.say(frame(SETTINGS, struct.pack(">HI", 3, 9)), frame(PING, b"12345678"), frame(DATA, message(b"x"), 0, 1))
    assert read(server.stream, 1) == [b"x"]
    assert server.hear() == (SETTINGS, 1, b"")
    assert server.hear() == (PING, 1, b"12345678")


def test_windows_are_topped_up_before_they_are_used_up(server: Server) -> None:
    server.hear_opening()
    chunk = frame(DATA, message(bytes(1 << 20)), 0, 1)
    sender = Thread(target=lambda: [server.say(chunk) for _ in range(66)])
    sender.start()
    assert len(read(server.stream, 65)) >= 65
    kind, _, payload = server.hear()
    assert kind == WINDOW_UPDATE
    assert int.from_bytes(payload) > 1 << 26
    read(server.stream, 1)
    sender.join()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (frame(HEADERS, b"\x88", 5, 1), "the server ended the stream"),
        (frame(DATA, b"", 1, 1), "the server ended the stream"),
        (frame(RST_STREAM, (8).to_bytes(4), 0, 1), "the server reset the stream, code 8"),
        (frame(GOAWAY, bytes(8) + b"graceful_stop"), "the server is going away graceful_stop"),
        (frame(DATA, b"\1" + (3).to_bytes(4) + b"abc", 0, 1), "the server sent what is not a plain gRPC message"),
        (frame(DATA, b"\0\xff\xff\xff\xff", 0, 1), "the server sent what is not a plain gRPC message"),
    ],
)
def test_every_end_of_the_stream_is_told(server: Server, said: bytes, reason: str) -> None:
    server.say(said)
    with pytest.raises(StreamEnded, match=f"^{reason}$"):
        read(server.stream, 1)


def test_a_closed_connection_ends_the_stream(server: Server) -> None:
    server.hear_opening()
    server.hang_up()
    with pytest.raises(StreamEnded, match="closed the connection"):
        read(server.stream, 1)


def test_a_silent_server_ends_the_stream_when_the_deadline_is_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        stream = MessageStream(endpoint, "/a.B/C", b"", connect_s=1, idle_s=0.05)
        with pytest.raises(StreamEnded, match=r"no byte for 0\.05 s"):
            stream.read()
        stream.close()


def test_shut_ends_a_read_in_another_thread(server: Server) -> None:
    ended: list[str] = []

    def reader() -> None:
        try:
            read(server.stream, 1)
        except StreamEnded as end:
            ended.append(str(end))

    thread = Thread(target=reader)
    thread.start()
    server.stream.shut()
    thread.join(1)
    assert ended == ["the server closed the connection"]
