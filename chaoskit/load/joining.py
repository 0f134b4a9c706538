"""`chaoskit worker`, the plain process: ask a run's master for a place, then be the parent of the Locust worker for it.

Asking goes over the same encrypted socket as everything later, with one message of Locust's kind each way, before there
is any Locust here: whoever is refused, or has another token, is told so in a sentence.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec

import chaoskit
from chaoskit.contracts import Say
from chaoskit.errors import LoadError
from chaoskit.load import remote
from chaoskit.load.child import LOCUSTFILE, exit_words, locust_argv, locust_environment, prefer
from chaoskit.load.token import VARIABLE, keys

WELCOME_VARIABLE = "CHAOSKIT_LOAD_WELCOME"  # the Welcome, as JSON
_POLL_MS = 200
_ASK_AGAIN_S = 2.0
_LEAVE_S = 5.0
_FAREWELL_MS = 2000  # for the last message to go out
_GONE_EXIT = 4  # of the locustfile, when its master goes away


@dataclass(slots=True)
class _Way:
    """What is known of the way to the master."""

    connected: bool = False
    broken_handshakes: int = 0

    def problem(self, where: str) -> str:
        if self.broken_handshakes:
            return (
                f"something listens at {where}, but it does not know this token: either the token is another one than "
                f"the run's, or that is no chaoskit"
            )
        if self.connected:
            return f"the master at {where} accepts the token but does not answer"
        return f"nothing listens at {where}; is `chaoskit run … --remote-workers` running there, and is the way open?"


def join(
    address: tuple[str, int], token: str, patience_s: float, stopping: Callable[[], bool]
) -> remote.Welcome | None:
    """Ask for a place until there is an answer; None when stopped. Raises LoadError that says what is in the way, also
    when this machine lacks what the members ask for: then the place is given back."""
    import zmq  # noqa: PLC0415  only here and in Locust
    from zmq.utils.monitor import parse_monitor_message  # noqa: PLC0415

    where = f"{address[0]}:{address[1]}"
    asked = remote.Join(chaoskit.__version__, socket.gethostname(), remote.clock_name())
    name = f"{asked.host}_{uuid4().hex}"
    way = _Way()
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.setsockopt(zmq.MAXMSGSIZE, remote.MESSAGE_LIMIT)
        dealer.setsockopt(zmq.IDENTITY, name.encode())
        dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        dealer.curve_serverkey = keys(token).public
        dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
        monitor = dealer.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _handshake_failures(zmq)
        )
        monitor.linger = 0
        dealer.connect(f"tcp://{where}")
        ends_at, ask_at = time.monotonic() + patience_s, 0.0
        try:
            while time.monotonic() < ends_at:
                if stopping():
                    return None
                while monitor.poll(0):
                    _note(way, parse_monitor_message(monitor.recv_multipart())["event"], zmq)
                if way.broken_handshakes > 1:
                    break
                if way.connected and time.monotonic() > ask_at:
                    dealer.send(_message(asked, name))
                    ask_at = time.monotonic() + _ASK_AGAIN_S
                if dealer.poll(_POLL_MS) and (welcome := _answer(dealer.recv())):
                    if why := _lacking(welcome):
                        dealer.linger = _FAREWELL_MS
                        dealer.send(_message(remote.Declined(welcome.ticket, why), name))
                        raise LoadError(why)
                    return welcome
        finally:
            dealer.disable_monitor()
    raise LoadError(way.problem(where))


def work(
    welcome: remote.Welcome,
    address: tuple[str, int],
    token: str,
    environment: Mapping[str, str],
    say: Say,
    stopping: Callable[[], bool],
) -> None:
    """Be the parent of the Locust worker until it ends. Raises LoadError when it did not end in order."""
    host, port = address
    order = welcome.load_order()
    variables = {VARIABLE: token, WELCOME_VARIABLE: msgspec.json.encode(welcome).decode()}
    say(f"worker {welcome.number} of run {order.run_id}: making load on {', '.join(order.endpoints.values())}")
    process = subprocess.Popen(
        locust_argv(LOCUSTFILE, "--worker", "--master-host", host, "--master-port", str(port), "--loglevel", "ERROR"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd="/",  # so that no locust.conf of the user's folder is read
        env=locust_environment(environment, variables),
        start_new_session=True,  # Ctrl-C is for us: the worker is to say goodbye first
    )
    prefer(process.pid)
    try:
        while process.poll() is None:
            if stopping():
                _stop(process)
                return
            time.sleep(_POLL_MS / 1000)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode == _GONE_EXIT:
        raise LoadError(f"the run at {host}:{port} is gone or goes on without this worker; its load was ended at once")
    if process.returncode:
        raise LoadError(f"the load worker {exit_words(process.returncode)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LEAVE_S)


def _handshake_failures(zmq: Any) -> int:
    return int(
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    )


def _note(way: _Way, event: int, zmq: Any) -> None:
    if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
        way.connected = True
        way.broken_handshakes = 0
    elif event & _handshake_failures(zmq) or not way.connected:
        way.broken_handshakes += 1
    else:
        way.connected = False


def _message(said: remote.FromWorker, name: str) -> bytes:
    """As Locust's own worker would say it."""
    return msgspec.msgpack.encode((remote.TYPE, remote.encode(said), name))


def _lacking(welcome: remote.Welcome) -> str:
    missing = welcome.load_order().access.missing()
    return f"the members ask for what this machine lacks: {'; '.join(missing)}" if missing else ""


def _answer(message: bytes) -> remote.Welcome | None:
    """Raises LoadError when we are refused."""
    kind, data, _ = msgspec.msgpack.decode(message, type=tuple[str, bytes | None, str])
    if kind != remote.TYPE or data is None:
        return None
    match remote.decode_from_master(data):
        case remote.Welcome() as welcome:
            return welcome
        case remote.Refused(why):
            raise LoadError(f"refused: {why}")
    return None
