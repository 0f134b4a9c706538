"""Workers on other machines as the controller sees them: a Locust master as a child process, and who joins it.

The master listens on one address, admits whoever has the token and the same version, and lives as long as the run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import chaoskit
from chaoskit.contracts import Say
from chaoskit.errors import LoadError
from chaoskit.load import channel, remote
from chaoskit.load.child import LOCUSTFILE, exit_words, locust_argv, locust_environment, log_tail, start_locust
from chaoskit.load.order import LoadOrder
from chaoskit.load.share import Division
from chaoskit.load.token import VARIABLE

MASTER_VARIABLE = "CHAOSKIT_LOAD_MASTER"  # path of the MasterOrder
_JOIN_S = 600.0  # a person may have to log in to another machine first
_HAND_OVER_S = 600.0  # for the rest of a large history, as long as it keeps coming
_START_S = 30.0
_LOG_TAIL_LINES = 8


class LocustMaster:
    """One Locust process in master mode. `start` waits until all workers have joined."""

    def __init__(
        self, orders: Sequence[LoadOrder], address: tuple[str, int], token: str, run_dir: Path,
        environment: Mapping[str, str], say: Say,
    ) -> None:  # fmt: skip
        self.workers = {order.worker: RemoteWorker(order.worker, self) for order in orders}
        self.address = address
        self._order = remote.MasterOrder(
            version=chaoskit.__version__, orders={str(order.worker): order for order in orders}
        )
        self._environment = {**environment, VARIABLE: token}
        self._run_dir = run_dir.absolute()
        self._log = self._run_dir / "logs" / "master.log"
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._listening = threading.Event()
        self._released: set[int] = set()

    def start(self) -> None:
        """Idempotent. Raises LoadError when the address cannot be listened on."""
        if self._process:
            return
        path = self._run_dir / "master.json"
        self._order.write(path)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = channel.pair()
        host, port = self.address
        bind = ("--master", "--master-bind-host", host, "--master-bind-port", str(port))
        variables = {MASTER_VARIABLE: str(path), channel.CHANNEL_VARIABLE: str(theirs.fileno())}
        argv = locust_argv(LOCUSTFILE, *bind, "--expect-workers", str(len(self.workers)))
        with theirs:
            self._process = start_locust(
                argv, locust_environment(self._environment, variables), self._run_dir, self._log, theirs.fileno()
            )
        self._socket = ours
        threading.Thread(target=self._listen, args=(ours,), name="remote-reports", daemon=True).start()
        ends_at = time.monotonic() + _START_S
        while not self._listening.wait(0.05):
            if (why := self.trouble()) or time.monotonic() > ends_at:
                raise LoadError(
                    f"no worker could join at {host}:{port}: {why or 'the Locust master did not start'}; "
                    f"the end of {self._log}:\n{log_tail(self._log, _LOG_TAIL_LINES)}"
                )

    def tell(self, worker: int, command: channel.Command) -> None:
        self._send(remote.Tell(worker, command))

    def release(self, worker: int, why: str) -> None:
        """This worker is not needed any more; with the last one the master goes."""
        self._send(remote.Expel(worker, why))
        self._released.add(worker)
        if len(self._released) == len(self.workers):
            self._kill()

    def trouble(self) -> str:
        """Why nothing can be heard of any worker; "" when all is well."""
        if self._process and (code := self._process.poll()) is not None:
            return f"its Locust master {exit_words(code)}; see {self._log}"
        return ""

    def _kill(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _send(self, message: remote.ToMaster) -> None:
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.send(channel.encode(message))

    def _listen(self, ours: socket.socket) -> None:
        while message := channel.receive(ours):
            match remote.decode_to_controller(message):
                case remote.Listening():
                    self._listening.set()
                case remote.Joined(worker, host, same_clock):
                    self._say(f"load worker {worker} joined from {host}{' (this machine)' * same_clock}")
                    self.workers[worker].joined_from(host)
                case remote.TurnedAway(host, why):
                    self._say(f"a load worker on {host} was turned away: {why}")
                case remote.Heard(worker, report):
                    self.workers[worker].heard(report)
                case remote.Left(worker, why):
                    self.workers[worker].left(why)


class RemoteWorker:
    """One worker elsewhere; keeps the promise of `workers.Worker`."""

    def __init__(self, number: int, master: LocustMaster) -> None:
        self.number = number
        self.where = "not yet joined"
        self._master = master
        self._second: channel.Second | None = None
        self._heard_at = 0.0
        self._joined = threading.Event()
        self._ready = threading.Event()
        self._finished = threading.Event()
        self._why = ""

    def start(self) -> None:
        """Wait until it has joined. Raises LoadError when nobody comes."""
        self._master.start()
        ends_at = time.monotonic() + _JOIN_S
        while not self._joined.wait(0.05):
            if why := self._master.trouble():
                raise LoadError(f"load worker {self.number} could not join: {why}")
            if time.monotonic() > ends_at:
                host, port = self._master.address
                raise LoadError(f"load worker {self.number} did not join at {host}:{port} within {_JOIN_S:.0f} s")

    def wait_ready(self, deadline_s: float) -> None:
        ends_at = time.monotonic() + deadline_s
        while not self._ready.wait(0.05):
            if why := self.poll():
                raise LoadError(f"load worker {self.number} on {self.where} did not become ready: {why}")
            if time.monotonic() > ends_at:
                raise LoadError(
                    f"load worker {self.number} on {self.where} was not ready after {deadline_s:g} s: some client "
                    f"there could not reach its member; can that machine connect to the members' addresses?"
                )

    def go(self, zero_ns: int = 0) -> None:
        self._tell(channel.Go(zero_ns or time.monotonic_ns()))

    def begin_burst(self, name: str, zero_ns: int = 0) -> None:
        self._tell(channel.BeginBurst(name, zero_ns or time.monotonic_ns()))

    def end_burst(self, name: str) -> None:
        self._tell(channel.EndBurst(name))

    def begin_search(self, name: str, zero_ns: int = 0) -> None:
        self._tell(channel.BeginSearch(name, zero_ns or time.monotonic_ns()))

    def end_search(self, name: str) -> None:
        self._tell(channel.EndSearch(name))

    def adopt(self, division: Division, from_ns: int) -> None:
        self._tell(channel.Adopt(division, from_ns))

    def stop_arrivals(self) -> None:
        self._tell(channel.StopArrivals())

    def second(self) -> channel.Second | None:
        return self._second

    def poll(self) -> str | None:
        if self._finished.is_set() or not self._joined.is_set():
            return None
        if self._why:
            return self._why
        if why := self._master.trouble():
            return why
        silence_s = time.monotonic() - self._heard_at
        if silence_s > SILENCE_LIMIT_S:
            return f"nothing was heard of it for {silence_s:.0f} s"
        return None

    def finish(self, deadline_s: float) -> None:
        """A large history is waited for as long as more of it comes."""
        ends_at = time.monotonic() + deadline_s + _HAND_OVER_S
        self._tell(channel.Finish(deadline_s))
        while not self._finished.wait(0.05) and self.poll() is None and time.monotonic() < ends_at:
            pass
        if not self._finished.is_set() and self.poll() is None:
            self._why = f"it did not hand over its history within {deadline_s + _HAND_OVER_S:g} s"
        self.kill()

    def kill(self) -> None:
        """It is told to stop, and nothing is heard of it any more. Idempotent."""
        if not self._finished.is_set():
            self._why = self._why or self.poll() or "it was told to leave"
        self._master.release(self.number, self._why or "the run is over")

    def joined_from(self, host: str) -> None:
        self.where = host
        self._heard_at = time.monotonic()
        self._joined.set()

    def heard(self, report: channel.Report | None) -> None:
        self._heard_at = time.monotonic()
        match report:
            case channel.Second() as second:
                self._second = second
            case channel.Ready():
                self._ready.set()
            case channel.Finished():
                self._finished.set()
            case channel.Broken(why):
                self._why = why

    def left(self, why: str) -> None:
        self._why = self._why or why

    def _tell(self, command: channel.Command) -> None:
        self._master.tell(self.number, command)


SILENCE_LIMIT_S = 6.0
"""A worker among several that does not speak for this long is lost, so that the others can take over."""
