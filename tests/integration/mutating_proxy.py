"""A TCP proxy that damages what the server says, for clients in the same gevent process."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import gevent
from gevent import socket
from gevent.server import StreamServer

DAMAGES = ("flip", "drop", "repeat", "insert", "zero", "cut", "stall", "swap")


class MutatingProxy:
    """`with MutatingProxy("127.0.0.1:2379") as address:`. Honest until `damage` is named, for one chunk in `every`."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self.damage = ""
        self.every = 1
        self.rng = Random(0)
        self.done = 0

    def __enter__(self) -> str:
        self._server.start()
        return f"127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.stop(0.1)

    def _serve(self, client: socket.socket, _: object) -> None:
        server = socket.create_connection(self._upstream)
        pumps = [gevent.spawn(self._pump, client, server, False), gevent.spawn(self._pump, server, client, True)]
        gevent.joinall(pumps, count=1)
        gevent.killall(pumps)
        client.close()
        server.close()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(4096):
                if answers and self.damage and self.rng.randrange(self.every) == 0:
                    self.done += 1
                    chunk = self._damaged(bytearray(chunk))
                    if chunk is None:
                        return
                target.sendall(chunk)

    def _damaged(self, chunk: bytearray) -> bytes | None:
        at, rng = self.rng.randrange(len(chunk)), self.rng
        match self.damage:
            case "flip":
                chunk[at] ^= 1 << rng.randrange(8)
            case "drop":
                del chunk[at : at + rng.randint(1, 20)]
            case "repeat":
                chunk[at:at] = chunk[at : at + 50]
            case "insert":
                chunk[at:at] = rng.randbytes(rng.randint(1, 50))
            case "zero":
                chunk[at : at + 30] = bytes(30)
            case "swap":
                chunk.reverse()
            case "stall":
                gevent.sleep(1)
            case "cut":
                return None
        return bytes(chunk)
