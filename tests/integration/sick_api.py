"""Stands between the adapter and a real Toxiproxy's control API, and is ill in the ways that Toxiproxy has been."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chaoskit.clusters.addresses import Address

Illness = Callable[[str, str], bool]
"""Whether this method and path are struck."""


def never(method: str, path: str) -> bool:
    return False


class SickApi:
    """Healthy until an illness is set: `deaf` says yes and does nothing, `mute` never answers, and so on."""

    def __init__(self, real: Address) -> None:
        self.real = real
        self.cure()
        self.calls: list[str] = []
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()

    @property
    def address(self) -> Address:
        return "127.0.0.1", self._server.server_port

    def cure(self) -> None:
        self.deaf: Illness = never
        self.mute: Illness = never
        self.failing: Illness = never
        self.forgetful: Illness = never  # keeps a toxic, but with every attribute 0

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self.calls.append(f"{method} {path}")
        if self.mute(method, path):
            self._released.wait(20)
        if self.failing(method, path):
            return 500, b"out of order"
        if self.deaf(method, path):
            return 200, b"{}"
        if self.forgetful(method, path):
            content = json.loads(body)
            body = json.dumps({**content, "attributes": dict.fromkeys(content["attributes"], 0)}).encode()
        connection = http.client.HTTPConnection(*self.real, timeout=5)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 502, b"nobody there"
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet per answer, or the client waits 40 ms for the second

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, content = api._answer(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if status != 204 else 0))
                self.end_headers()
                if status != 204:
                    self.wfile.write(content)

            do_GET = do_POST = do_DELETE = serve  # noqa: N815  names that the base class looks for

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler
