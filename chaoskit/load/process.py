"""One local load worker as the controller sees it: a Locust child process, commands to it, its seconds, its end.

    start → wait_ready → go → (begin_burst, end_burst | begin_search, end_search)* → stop_arrivals → finish

The schedules begin at `go`; before it watches are opened and leases granted and kept alive. Start it from a thread that
lives as long as the run: the kernel ties the worker's life to the thread that forked it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from chaoskit.contracts import LiveSample
from chaoskit.errors import LoadError
from chaoskit.load import channel
from chaoskit.load.child import (
    LOCUSTFILE,
    exit_words,
    locust_argv,
    locust_environment,
    log_tail,
    prefer,
    start_locust,
)
from chaoskit.load.order import LoadOrder
from chaoskit.load.share import Division

_SILENCE_LIMIT_S = 15.0  # a worker speaks every second; one that is silent this long is stopped or starved
_EXIT_GRACE_S = 3.0  # what Locust may take to exit once the history is complete
_LOG_TAIL_LINES = 15


class LoadProcess:
    """One Locust process. Methods are called by one thread; `latest` and `poll` by any."""

    locustfile: ClassVar[Path] = LOCUSTFILE
    where = "here"

    def __init__(
        self, order: LoadOrder, run_dir: Path, environment: Mapping[str, str], silence_limit_s: float = _SILENCE_LIMIT_S
    ) -> None:
        self.number = order.worker
        self._order = order
        self._silence_limit_s = silence_limit_s
        self._run_dir = run_dir.absolute()
        self._environment = dict(environment)
        self._log = self._run_dir / "logs" / f"worker-{order.worker}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._latest: channel.Second | None = None
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
        with theirs:
            variables = self._variables(order_path, theirs.fileno())
            self._process = start_locust(
                locust_argv(self.locustfile), variables, self._run_dir, self._log, theirs.fileno()
            )
        prefer(self._process.pid)
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
                    f"or get its lease; see {self._log}\n{log_tail(self._log, _LOG_TAIL_LINES)}"
                )

    def go(self, zero_ns: int = 0) -> None:
        """Arrivals begin; `zero_ns` is the schedules' zero, 0 is now."""
        self._tell(channel.Go(zero_ns))

    def begin_burst(self, name: str, zero_ns: int = 0) -> None:
        self._tell(channel.BeginBurst(name, zero_ns))

    def end_burst(self, name: str) -> None:
        self._tell(channel.EndBurst(name))

    def begin_search(self, name: str, zero_ns: int = 0) -> None:
        """The search's workload goes through its steps from then on; 0 is now."""
        self._tell(channel.BeginSearch(name, zero_ns))

    def end_search(self, name: str) -> None:
        self._tell(channel.EndSearch(name))

    def adopt(self, division: Division, from_ns: int) -> None:
        """Do this share of another's as well, from then on."""
        self._tell(channel.Adopt(division, from_ns))

    def stop_arrivals(self) -> None:
        """No further arrivals. Calls in flight end by themselves; watches and keepalives go on until `finish`."""
        self._tell(channel.StopArrivals())

    def latest(self) -> LiveSample | None:
        """The newest second."""
        return self._latest.sample if self._latest else None

    def second(self) -> channel.Second | None:
        """The newest second with its histograms."""
        return self._latest

    def poll(self) -> str | None:
        """None while healthy and after an orderly end; else one sentence and the end of the worker's log."""
        if self._finished.is_set() or self._process is None:
            return None
        if self._why:
            return f"{self._why}; see {self._log}"
        if (code := self._process.poll()) is not None:
            return f"it {exit_words(code)}; the end of {self._log}:\n{log_tail(self._log, _LOG_TAIL_LINES)}"
        silence_s = time.monotonic() - self._heard_at
        if self._ready.is_set() and silence_s > self._silence_limit_s:
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
        ours = {channel.ORDER_VARIABLE: str(order_path), channel.CHANNEL_VARIABLE: str(worker_end)}
        return locust_environment(self._environment, ours)

    def _tell(self, command: channel.Command) -> None:
        """A worker that died is `poll`'s to report, so telling it anything is not an error."""
        if self._channel:
            with contextlib.suppress(OSError):
                self._channel.send(channel.encode(command))

    def _listen(self, ours: socket.socket) -> None:
        while message := channel.receive(ours):
            self._heard_at = time.monotonic()
            match channel.decode_report(message):
                case channel.Second() as second:
                    self._latest = second
                case channel.Ready():
                    self._ready.set()
                case channel.Finished():
                    self._finished.set()
                case channel.Broken(why):
                    self._why = why
