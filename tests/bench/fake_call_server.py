"""A server that answers every put and every range at once, on as many connections as there are.

    python -m tests.bench.fake_call_server

Prints its port. A stand-in, because etcd shares the machine with the client and would be what limits it.
"""

from __future__ import annotations

import select
import socket

from chaoskit.systems.etcd import rpc_pb2 as pb
from tests.bench.fake_watch_server import ACK, DATA, END_HEADERS, HEADERS, OK_HEADERS, PING, PREFACE, SETTINGS, frame

END_STREAM = 1
TRAILERS = b"\x00\x0bgrpc-status\x010\x00\x0cgrpc-message\x00"
VALUE = b"0.123456|".ljust(100, b".")
WINDOW_UPDATE = 8
REVISION = 123_456


class Connection:
    """One client's: bytes in, bytes out."""

    def __init__(self) -> None:
        self._rest = b""
        self._skip = len(PREFACE)
        self._ranges: set[int] = set()  # streams
        header = pb.ResponseHeader(cluster_id=1 << 60, member_id=1 << 61, revision=REVISION, raft_term=2)
        kv = pb.KeyValue(key=b"/bench/put/000000", create_revision=2, mod_revision=REVISION, version=9, value=VALUE)
        self._put = _message(pb.PutResponse(header=header).SerializeToString())
        self._range = _message(pb.RangeResponse(header=header, kvs=[kv], count=1).SerializeToString())

    def answer(self, chunk: bytes) -> bytes:
        received, out, used = self._rest + chunk, [], 0
        if self._skip:
            received, self._skip = received[self._skip :], 0
            out = [frame(SETTINGS, 0, 0), frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4))]
        at = 0
        while len(received) >= at + 9 and len(received) >= (end := at + 9 + int.from_bytes(received[at : at + 3])):
            kind, flags = received[at + 3], received[at + 4]
            stream, payload, at = int.from_bytes(received[at + 5 : at + 9]), received[at + 9 : end], end
            if kind == HEADERS and b"Range" in payload:
                self._ranges.add(stream)
            elif kind == DATA and flags & END_STREAM:
                used += len(payload)
                out.append(self._whole(stream))
            elif kind in (SETTINGS, PING) and not flags & ACK:
                out.append(frame(kind, ACK, 0, payload if kind == PING else b""))
        self._rest = received[at:]
        if used:
            out.append(frame(WINDOW_UPDATE, 0, 0, used.to_bytes(4)))
        return b"".join(out)

    def _whole(self, stream: int) -> bytes:
        answer = self._put
        if stream in self._ranges:
            self._ranges.remove(stream)
            answer = self._range
        return (
            frame(HEADERS, END_HEADERS, stream, OK_HEADERS)
            + frame(DATA, 0, stream, answer)
            + frame(HEADERS, END_HEADERS | END_STREAM, stream, TRAILERS)
        )


def _message(body: bytes) -> bytes:
    return b"\0" + len(body).to_bytes(4) + body


def main() -> None:
    connections: dict[socket.socket, Connection] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            for ready in select.select([listener, *connections], [], [])[0]:
                if ready is listener:
                    peer, _ = listener.accept()
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[peer] = Connection()
                elif not _served(ready, connections[ready]):
                    del connections[ready]
                    ready.close()


def _served(peer: socket.socket, connection: Connection) -> bool:
    """False when the client has left."""
    try:
        if chunk := peer.recv(1 << 18):
            peer.sendall(connection.answer(chunk))
            return True
    except ConnectionError:
        pass
    return False


if __name__ == "__main__":
    main()
