"""How a load worker is told what to do and says how it goes: by a socket to its controller, or through Locust's RPC."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any, Protocol

import gevent
import msgspec
from gevent.event import Event
from gevent.queue import Queue
from locust.runners import Runner

from chaoskit.history import ClockOffset
from chaoskit.load import channel, remote
from chaoskit.load.worker.offset import Offset, RoundTrip, measured

_log = logging.getLogger(__name__)

_FIRST_TRIPS = 20
_TRIPS = 5
_TRIP_LIMIT_S = 1.0
_MEASURE_EVERY_S = 5.0
_LOOK_EVERY_S = 0.1  # for new bytes of the shard
_STUCK_S = 20.0  # without one more byte stored the rest of a history is given up
_PART_S = 10.0
_EXPELLED_S = 2.5  # to hand over what was recorded
GONE_EXIT = 4


class Wire(Protocol):
    """What a LoadWorker needs of its controller."""

    shard: Path

    def attach(self, runner: Runner, users: dict[str, int], add: Callable[[ClockOffset], None]) -> None:
        """The runner exists."""

    def commands(self) -> Iterator[channel.Command]:
        """With their times on this worker's clock. Ends when the controller is gone."""

    def send(self, report: channel.Report) -> None:
        """Never blocks."""

    def settle(self) -> None:
        """The shard is complete on this side: wait until it is on the other."""

    def part(self) -> None:
        """All is said: wait until it was heard."""


class LocalWire:
    """A socket to a controller on this machine: one clock, one disk."""

    def __init__(self, ours: socket.socket, shard: Path) -> None:
        self.shard = shard
        self._socket = ours

    def attach(self, runner: Runner, users: dict[str, int], add: Callable[[ClockOffset], None]) -> None: ...

    def commands(self) -> Iterator[channel.Command]:
        while message := self._socket.recv(channel.MESSAGE_LIMIT):
            yield channel.decode_command(message)

    def send(self, report: channel.Report) -> None:
        """A controller that has stopped reading loses seconds, not the history."""
        try:
            self._socket.send(channel.encode(report), socket.MSG_DONTWAIT)
        except OSError as error:
            _log.warning("the controller does not take %s: %s", type(report).__name__, error)

    def settle(self) -> None: ...

    def part(self) -> None: ...


class RemoteWire:
    """Custom messages of Locust's worker runner. The shard is a nameless file here that is copied while it grows."""

    def __init__(self, welcome: remote.Welcome) -> None:
        self._welcome = welcome
        descriptor, name = tempfile.mkstemp(prefix="chaoskit-", suffix=".shard")
        self.shard = Path(name)
        self._spool = descriptor  # for reading; `attach` takes the name away, so that no end leaves a file
        self._commands: Queue[channel.Command] = Queue()
        self._offset: Offset | None = None  # as first measured, by which the history is read
        self._pongs: Queue[RoundTrip] = Queue()
        self._sent = self._stored = 0
        self._more = Event()
        self._settled = False
        self._released = Event()
        self._runner: Runner

    def attach(self, runner: Runner, users: dict[str, int], add: Callable[[ClockOffset], None]) -> None:
        self.shard.unlink()
        self._runner = runner
        self._add = add
        runner.register_message(remote.TYPE, self._heard)
        self._measure(_FIRST_TRIPS)
        self._say(remote.Here(self._welcome.ticket, users))
        gevent.spawn(self._keep_measuring)
        gevent.spawn(self._hand_over)

    def commands(self) -> Iterator[channel.Command]:
        while True:
            yield self._on_our_clock(self._commands.get())

    def send(self, report: channel.Report) -> None:
        self._say(remote.Said(report))

    def settle(self) -> None:
        stored = self._stored
        ends_at = monotonic() + _STUCK_S
        while self._stored < os.fstat(self._spool).st_size and monotonic() < ends_at:
            gevent.sleep(_LOOK_EVERY_S / 2)
            if self._stored > stored:
                stored, ends_at = self._stored, monotonic() + _STUCK_S
        self._settled = True

    def part(self) -> None:
        """A process that ends takes along what ZeroMQ has not sent yet."""
        self._released.wait(_PART_S)

    def leave(self, why: str) -> None:
        """Say that we go, with some time for the message to go first."""
        self._say(remote.Leaving(why))
        gevent.sleep(0.2)

    # ── messages ──

    def _say(self, message: remote.FromWorker) -> None:
        self._runner.send_message(remote.TYPE, remote.encode(message))

    def _heard(self, msg: Any, **_: Any) -> None:
        match remote.decode_from_master(msg.data):
            case remote.Told(command):
                self._commands.put(command)
            case remote.Stored(size):
                self._stored = size
                self._more.set()
            case remote.Pong(sent_ns, master_ns):
                self._pongs.put(RoundTrip(sent_ns, master_ns, monotonic_ns()))
            case remote.Expelled() if self._settled:
                self._released.set()
            case remote.Expelled(why):
                _log.error("the run goes on without this worker: %s", why)
                self._commands.put(channel.Finish(_EXPELLED_S))
            case remote.Welcome() | remote.Refused():
                pass  # to the one who asked for this worker's place

    # ── the clock ──

    def _keep_measuring(self) -> None:
        while True:
            gevent.sleep(_MEASURE_EVERY_S)
            self._measure(_TRIPS)

    def _measure(self, trips: int) -> None:
        offset = Offset()
        if not self._welcome.same_clock:
            done = [trip for _ in range(trips) if (trip := self._one_trip())]
            if not done:
                return
            offset = measured(done)
        self._offset = self._offset or offset
        self._add(ClockOffset(self._welcome.number, monotonic_ns(), *offset, socket.gethostname()))

    def _one_trip(self) -> RoundTrip | None:
        sent_ns = monotonic_ns()
        self._say(remote.Ping(sent_ns))
        with gevent.Timeout(_TRIP_LIMIT_S, False):
            while True:
                trip: RoundTrip = self._pongs.get()
                if trip.sent_ns == sent_ns:
                    return trip
        return None

    def _on_our_clock(self, command: channel.Command) -> channel.Command:
        behind_ns = self._offset.offset_ns if self._offset else 0
        match command:
            case channel.Go(zero_ns) | channel.BeginBurst(_, zero_ns) | channel.BeginSearch(_, zero_ns) if zero_ns:
                return msgspec.structs.replace(command, zero_ns=zero_ns - behind_ns)
            case channel.Adopt(from_ns=from_ns):
                return msgspec.structs.replace(command, from_ns=from_ns - behind_ns)
        return command

    # ── the history ──

    def _hand_over(self) -> None:
        while True:
            piece = b""
            if self._sent - self._stored < remote.WINDOW_BYTES:
                piece = os.pread(self._spool, remote.PIECE_BYTES, self._sent)
            if piece:
                self._say(remote.Piece(self._sent, piece))
                self._sent += len(piece)
            else:
                self._more.clear()
                self._more.wait(_LOOK_EVERY_S)
