"""The load worker as the controller sees it: a Locust child process, commands to it, its seconds, its end.

    start → wait_ready → go → (begin_burst, end_burst)* → stop_arrivals → finish

The schedules begin at `go`; before it watches are opened and leases granted and kept alive. Start it from a thread that
lives as long as the run: the kernel ties the worker's life to the thread that forked it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import chaoskit
from chaoskit.contracts import LiveSample
from chaoskit.errors import LoadError
from chaoskit.load import channel
from chaoskit.load.order import LoadOrder

_SILENCE_LIMIT_S = 15.0  # a worker speaks every second; one that is silent this long is stopped or starved
_EXIT_GRACE_S = 3.0  # what Locust may take to exit once the history is complete
_LOG_TAIL_LINES = 15
_REAL_TIME_PRIORITY = 1  # the lowest: above every ordinary process, below whatever else is real-time


class LoadProcess:
    """One Locust process. Methods are called by one thread; `latest` and `poll` by any."""

    def __init__(self, order: LoadOrder, run_dir: Path, environment: Mapping[str, str]) -> None:
        self._order = order
        self._run_dir = run_dir.absolute()
        self._environment = dict(environment)
        self._log = self._run_dir / "logs" / f"worker-{order.worker}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._latest: LiveSample | None = None
        self._heard_at = 0.0
        self._ready = threading.Event()
        self._finished = threading.Event()
        self._why = ""  # what the worker said, or was said of it, when it broke

    @property
    def pid(self) -> int:
        """Process id of the worker, 0 before `start`."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Write the order and start Locust on it. Returns at once."""
        order_path = self._run_dir / ("load.json" if not self._order.worker else f"load-{self._order.worker}.json")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._order.write(order_path)
        ours, theirs = channel.pair()
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                _argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._run_dir,  # so that no locust.conf of the user's folder is read
                env=self._variables(order_path, theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C in the terminal is for the controller alone
            )
        _prefer(self._process.pid)
        self._channel = ours
        self._heard_at = time.monotonic()
        self._reader = threading.Thread(target=self._listen, args=(ours,), name="load-reports", daemon=True)
        self._reader.start()

    def wait_ready(self, deadline_s: float) -> None:
        """Until every client is set up: connected, watches open, leases granted. Raises LoadError."""
        ends_at = time.monotonic() + deadline_s
        while not self._ready.wait(0.05):
            if why := self.poll():
                raise LoadError(f"the load worker did not become ready: {why}")
            if time.monotonic() > ends_at:
                raise LoadError(
                    f"the load worker was not ready after {deadline_s:g} s: some client could not open its watch "
                    f"or get its lease; see {self._log}\n{self._log_tail()}"
                )

    def go(self) -> None:
        """Now is the schedules' zero: arrivals begin."""
        self._tell(channel.Go())

    def begin_burst(self, name: str) -> None:
        self._tell(channel.BeginBurst(name))

    def end_burst(self, name: str) -> None:
        self._tell(channel.EndBurst(name))

    def stop_arrivals(self) -> None:
        """No further arrivals. Calls in flight end by themselves; watches and keepalives go on until `finish`."""
        self._tell(channel.StopArrivals())

    def latest(self) -> LiveSample | None:
        """The newest second."""
        return self._latest

    def poll(self) -> str | None:
        """None while healthy and after an orderly end; else one sentence and the end of the worker's log."""
        if self._finished.is_set() or self._process is None:
            return None
        if self._why:
            return f"{self._why}; see {self._log}"
        if (code := self._process.poll()) is not None:
            return f"it {_exit_words(code)}; the end of {self._log}:\n{self._log_tail()}"
        silence_s = time.monotonic() - self._heard_at
        if self._ready.is_set() and silence_s > _SILENCE_LIMIT_S:
            return f"it has not reported for {silence_s:.0f} s; see {self._log}"
        return None

    def finish(self, deadline_s: float) -> None:
        """Close watches, let calls in flight end, write everything, exit. What is not done by the deadline is killed;
        then `poll` says so, and the shard ends where it was last written."""
        ends_at = time.monotonic() + deadline_s
        self._tell(channel.Finish(deadline_s))
        while not self._finished.wait(0.05) and self.poll() is None and time.monotonic() < ends_at:
            pass
        if self._finished.is_set() and self._process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_EXIT_GRACE_S)
        elif self.poll() is None:
            self._why = f"it did not finish within {deadline_s:g} s and was killed"
        self.kill()

    def kill(self) -> None:
        """End it at once and close the channel. Idempotent."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._why = self._why or "it was killed"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._channel:
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)
            if self._reader:
                self._reader.join(1)
            self._channel.close()
            self._channel = None

    def _variables(self, order_path: Path, worker_end: int) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        return {
            **inherited,
            **self._environment,
            channel.ORDER_VARIABLE: str(order_path),
            channel.CHANNEL_VARIABLE: str(worker_end),
        }

    def _tell(self, command: channel.Command) -> None:
        """A worker that died is `poll`'s to report, so telling it anything is not an error."""
        if self._channel:
            with contextlib.suppress(OSError):
                self._channel.send(channel.encode(command))

    def _listen(self, ours: socket.socket) -> None:
        while message := _receive(ours):
            self._heard_at = time.monotonic()
            match channel.decode_report(message):
                case channel.Second(sample):
                    self._latest = sample
                case channel.Ready():
                    self._ready.set()
                case channel.Finished():
                    self._finished.set()
                case channel.Broken(why):
                    self._why = why

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").splitlines()
            return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])
        return ""


def _prefer(pid: int) -> None:
    """Let the worker run first: what waits for a processor inside it would count as the cluster's latency.

    Only root may ask for that. It uses a fraction of a core, so the cluster keeps the rest; others run as they are.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(_REAL_TIME_PRIORITY))


def _argv() -> list[str]:
    locustfile = Path(chaoskit.__file__).with_name("locustfile.py")
    return [
        *(sys.executable, "-m", "locust", "--locustfile", str(locustfile)),
        *("--headless", "--only-summary", "--loglevel", "INFO", "--exit-code-on-error", "0"),
    ]


def _receive(ours: socket.socket) -> bytes:
    try:
        return ours.recv(channel.MESSAGE_LIMIT)
    except OSError:
        return b""


def _exit_words(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"exited with code {code}"
