"""Locust's own web UI, to look at while a run goes. It starts and stops nothing, and no figure of ours comes from it.

It runs inside the load worker and costs what it costs: an open page asks for statistics every two seconds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import Response, request

if TYPE_CHECKING:
    from locust.env import Environment  # importing it patches sockets, for tests of what is below as well

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_READING = {"GET", "HEAD"}
_ACTING = {"/stop", "/stats/reset", "/exceptions/reset"}  # although they are asked for by GET


def show(environment: Environment, port: int) -> None:
    """Serve it on loopback. A port that was taken meanwhile costs the page and not the run."""
    web_ui = environment.create_web_ui(host=HOST, port=port, delayed_start=True)
    assert web_ui.app is not None
    web_ui.app.before_request(refusal(port))
    web_ui.start()  # type: ignore[no-untyped-call]  # as Locust has it
    assert web_ui.greenlet is not None
    web_ui.greenlet.link_exception(lambda failed: _log.warning("no web UI: %s", failed.exception))


class refusal:  # noqa: N801  reads as a word where it is used
    """What to answer instead of obeying; None lets a request through."""

    def __init__(self, port: int) -> None:
        self._hosts = {f"{HOST}:{port}", f"localhost:{port}"}

    def __call__(self) -> Response | None:
        if request.host not in self._hosts:  # a page elsewhere whose name was pointed at this machine
            return Response("this is a page for 127.0.0.1 alone\n", 403, mimetype="text/plain")
        if request.method not in _READING or request.path.rstrip("/") in _ACTING:
            return Response("chaoskit starts and stops this load; the page is to look at\n", 403, mimetype="text/plain")
        return None
