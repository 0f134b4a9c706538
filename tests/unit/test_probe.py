"""The probe along a link, against sockets that answer, refuse, hang up or say nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from chaoskit.clusters.addresses import Address
from chaoskit.clusters.probe import ask

pytestmark = pytest.mark.unit

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def server(behave: Callable[[socket.socket], None]) -> Iterator[Address]:
    """One connection, handed to `behave`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            behave(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()
    thread.join(5)
    listener.close()
    assert not thread.is_alive()


def test_an_answer_is_told_with_its_status() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(ANSWER[:9])
        connection.sendall(ANSWER[9:])

    with server(answer) as address:
        probed = ask(address, 5, 0)
    assert (probed.answered, probed.how) == (True, "HTTP 200")


def test_padding_is_sent_as_well() -> None:
    received = bytearray()

    def count(connection: socket.socket) -> None:
        while b"\r\n\r\n" not in received:
            received.extend(connection.recv(65_536))
        connection.sendall(ANSWER)

    with server(count) as address:
        assert ask(address, 5, 300_000).answered
    assert 300_000 < len(received) < 301_000


def test_a_refusal_is_an_answer_of_its_own_and_comes_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    probed = ask(address, 5, 0)
    assert (probed.answered, probed.how) == (False, "connection refused")
    assert probed.seconds < 1


def test_silence_lasts_until_the_deadline_and_no_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        probed = ask(mute.getsockname(), 0.05, 0)
    assert (probed.answered, probed.how) == (False, "silence for 0.05 s")
    assert 0.05 <= probed.seconds < 1


def test_a_trickle_does_not_stretch_the_deadline() -> None:
    def trickle(connection: socket.socket) -> None:
        connection.settimeout(0.02)
        for byte in ANSWER[:15] * 20:
            try:
                connection.sendall(bytes([byte]))
                connection.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                return

    with server(trickle) as address:
        probed = ask(address, 0.1, 0)
    assert not probed.answered
    assert probed.seconds < 1


def test_hanging_up_is_no_answer() -> None:
    with server(lambda connection: connection.recv(1000) and None) as address:
        assert ask(address, 5, 0).how == "closed without an answer"


def test_a_reset_is_no_answer() -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    with server(reset) as address:
        assert ask(address, 5, 0).how == "connection broken: Connection reset by peer"
