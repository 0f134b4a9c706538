"""A server that knows one thing: to deliver watch events faster than any client can take them.

    python -m tests.bench.fake_watch_server WATCHES EVENTS EVENTS_PER_RESPONSE VALUE_BYTES

Prints its port, serves one connection with one watch stream: creates the watches that are asked for, and when
`go` comes on stdin sends EVENTS to WATCHES of them in turn, within the windows that the client grants.
A stand-in, because etcd shares the machine with the client and would be what limits it.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Iterator

from chaoskit.systems.etcd import rpc_pb2 as pb

DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
ACK, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OK_HEADERS = b"\x88\x0f\x10\x10application/grpc"  # :status 200; content-type, never indexed
FRAME_LIMIT = 16_384
BLOCK_BYTES = 1 << 20
STREAM = 1  # the first of a client


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def message(response: pb.WatchResponse) -> bytes:
    body = response.SerializeToString()
    return b"\0" + len(body).to_bytes(4) + body


def data_frames(body: bytes) -> bytes:
    parts = (body[at : at + FRAME_LIMIT] for at in range(0, len(body), FRAME_LIMIT))
    return b"".join(frame(DATA, 0, STREAM, part) for part in parts)


class Server:
    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._received = bytearray()
        self._skip_preface = True
        self.window = 0
        self._stream_start = 65_535

    def take(self, *, wait: bool) -> None:
        """Read what the client says and answer it."""
        if not wait and not select.select([self._peer], [], [], 0)[0]:
            return
        chunk = self._peer.recv(1 << 16)
        if not chunk:
            sys.exit(0)
        self._received += chunk
        if self._skip_preface:
            del self._received[: len(PREFACE)]
            self._skip_preface = False
            self._peer.sendall(frame(SETTINGS, 0, 0))
        for kind, flags, stream, payload in self._frames():
            self._answer(kind, flags, stream, payload)

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3])
            if len(self._received) < 9 + size:
                return
            kind, flags = self._received[3], self._received[4]
            stream = int.from_bytes(self._received[5:9])
            payload = bytes(self._received[9 : 9 + size])
            del self._received[: 9 + size]
            yield kind, flags, stream, payload

    def _answer(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            for setting, value in struct.iter_unpack(">HI", payload):
                if setting == 4:
                    self._stream_start = value
            self._peer.sendall(frame(SETTINGS, ACK, 0))
        elif kind == HEADERS:
            self.window = self._stream_start
            self._peer.sendall(frame(HEADERS, END_HEADERS, stream, OK_HEADERS))
        elif kind == WINDOW_UPDATE and stream:
            self.window += int.from_bytes(payload)
        elif kind == PING and not flags & ACK:
            self._peer.sendall(frame(PING, ACK, 0, payload))
        elif kind == DATA:
            self._read_requests(payload)

    def _read_requests(self, payload: bytes) -> None:
        """Small ones: each comes whole in a frame."""
        while payload:
            size = int.from_bytes(payload[1:5])
            request = pb.WatchRequest.FromString(payload[5 : 5 + size])
            payload = payload[5 + size :]
            if request.HasField("create_request"):
                created = pb.WatchResponse(
                    header=pb.ResponseHeader(revision=1), watch_id=request.create_request.watch_id, created=True
                )
                self._send(message(created))

    def _send(self, body: bytes) -> None:
        self.window -= len(body)
        self._peer.sendall(frame(DATA, 0, STREAM, body))

    def blast(self, blocks: list[bytes]) -> None:
        for block in blocks:
            while self.window < len(block):
                self.take(wait=True)
            self.window -= len(block)  # of frames with their heads: a little more than it counts
            self._peer.sendall(block)
            self.take(wait=False)


def blocks(watches: int, events: int, per_response: int, value_bytes: int) -> Iterator[bytes]:
    """Frames of many responses each; every watch gets every revision, `per_response` of them at a time."""
    revision, sent, size, gathered = 1, 0, 0, []
    while sent < events:
        made = []
        for _ in range(per_response):
            revision += 1
            kv = pb.KeyValue(
                key=b"/chaoskit/2026-01-01T00-00-00Z/put/%06d" % (revision % 1000),
                create_revision=2, mod_revision=revision, version=revision,
                value=(b"0.%d|" % revision).ljust(value_bytes, b"."),
            )  # fmt: skip
            made.append(pb.Event(kv=kv))
        header = pb.ResponseHeader(cluster_id=1 << 60, member_id=1 << 61, revision=revision, raft_term=2)
        for watch in range(1, watches + 1):
            response = pb.WatchResponse(header=header, watch_id=watch, events=made)
            gathered.append(data_frames(message(response)))
            size += len(gathered[-1])
            sent += per_response
            if size > BLOCK_BYTES or sent >= events:
                yield b"".join(gathered)
                size, gathered = 0, []
            if sent >= events:
                return


def main() -> None:
    ready = list(blocks(*map(int, sys.argv[1:5])))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = Server(peer)
    while not select.select([sys.stdin], [], [], 0)[0]:
        if select.select([peer], [], [], 0.02)[0]:
            server.take(wait=True)
    server.blast(ready)
    while True:
        server.take(wait=True)


if __name__ == "__main__":
    main()
