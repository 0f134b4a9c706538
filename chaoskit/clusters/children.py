"""Server processes of this controller: started by the launcher, marked, logged, and dead when the controller is.

The kernel sends the parent-death signal when the *thread* that started a child ends, not the process. So every child is
started by one thread that lives as long as its Spawner does.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from chaoskit.clusters import launcher
from chaoskit.clusters.procfs import Identity, identify, markers
from chaoskit.errors import InfrastructureError

_LAUNCH_DEADLINE_S = 15.0  # 0.05 s when the machine is idle
_KILL_DEADLINE_S = 10.0  # a process that waits for a broken disk cannot even be killed
_TAIL_LINES = 8


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a server has for itself. The launcher makes it so."""

    hosts: Path | None = None  # its /etc/hosts
    disk: Path | None = None  # where it has a file system in memory, which lives as long as somebody is in its mounts
    disk_bytes: int = 0
    inside: int = 0  # pid of a process whose mounts it has instead, hosts and disk included
    groups: tuple[Path, ...] = ()  # cgroup.procs of the cgroups that it is in

    def arguments(self) -> list[str]:
        """As launcher.py reads them."""
        disk = f"{self.disk_bytes}:{self.disk}" if self.disk else ""
        return [str(self.hosts or ""), disk, str(self.inside or ""), ":".join(map(str, self.groups))]


class Child:
    """One running server process."""

    def __init__(self, popen: subprocess.Popen[bytes], identity: Identity, log: Path) -> None:
        self._popen = popen
        self.identity = identity
        self._log = log

    @property
    def pid(self) -> int:
        return self.identity.pid

    def state(self) -> Literal["running", "paused", "down"]:
        if self._popen.poll() is not None:
            return "down"
        return "paused" if self.identity.state() in ("T", "t") else "running"

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)  # sends nothing when it has ended

    def ended(self, within_s: float) -> bool:
        try:
            self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, which a stopped process obeys too. Raises InfrastructureError when it stays."""
        self.signal(signal.SIGKILL)
        if not self.ended(_KILL_DEADLINE_S):
            raise InfrastructureError(f"process {self.pid} is still there {_KILL_DEADLINE_S:g} s after SIGKILL")

    def how_it_ended(self) -> str:
        """Signal or exit code; "" while it runs."""
        code = self._popen.poll()
        return "" if code is None else f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def last_words(self) -> str:
        """How it ended, if it has, and the end of its log."""
        how = f"{ended}; " if (ended := self.how_it_ended()) else ""
        return f"{how}its log {self._log} ends:\n{tail(self._log)}"


class Spawner:
    """Starts children of one run, and tells `started` of each."""

    def __init__(self, run_id: str, started: Callable[[str, Identity], None]) -> None:
        # Nothing of our own environment: *_proxy would send nN.chaoskit to a proxy, ETCD_* are flags to etcd. Go's own
        # resolver reads /etc/hosts; another one might ask a name cache that lives outside of the member's mounts.
        self._environment = {"PATH": os.defpath, "GODEBUG": "netdns=go", **markers(run_id)}
        self._started = started
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chaoskit-spawner")
        self._children: list[Child] = []  # also those whose starter was interrupted and does not know them

    def start(
        self,
        argv: Sequence[str],
        log: Path,
        place: Surroundings | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Returns when the program itself runs. Raises InfrastructureError with the reason when it cannot."""
        whole = {**self._environment, **(environment or {})}
        return self._thread.submit(self._start, argv, log, place or Surroundings(), whole).result()

    def close(self) -> None:
        """Whatever child still runs is killed. Idempotent."""
        self._thread.shutdown()
        for child in self._children:
            child.kill()

    def _start(self, argv: Sequence[str], log: Path, place: Surroundings, environment: Mapping[str, str]) -> Child:
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as report:
            try:
                popen = _popen(argv, log, place, environment, write_end)
            finally:
                os.close(write_end)
            child = self._note(popen, log)
            problem = _problem(report)
        if problem:
            child.kill()
            raise InfrastructureError(f"{argv[0]} could not be started: {problem}")
        return child

    def _note(self, popen: subprocess.Popen[bytes], log: Path) -> Child:
        """Before it can listen or write, so that a sweep knows of it even when it has lost its markers, dying."""
        identity = identify(popen.pid)
        assert identity is not None, "a child has its pid until its parent waits for it"
        child = Child(popen, identity, log)
        self._children = [*(old for old in self._children if old.state() != "down"), child]
        self._started(log.stem, identity)
        return child


def namespace_problem() -> str | None:
    """Why no child here can have an /etc/hosts of its own, with what helps; None when it can. Tries it."""
    harmless = [sys.executable, "-I", "-S", "-c", ""]
    try:
        tried = subprocess.run(
            [*_launcher(report=2, place=Surroundings(hosts=Path("/etc/hosts"))), *harmless],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LAUNCH_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"giving a process its own /etc/hosts took more than {_LAUNCH_DEADLINE_S:g} s; the machine is overloaded"
    if tried.returncode == 0:
        return None
    return (
        f"a member cannot be given its own /etc/hosts: {tried.stderr.decode(errors='replace').strip()}; "
        "run as root, or let users make namespaces (sysctl kernel.unprivileged_userns_clone=1, "
        "kernel.apparmor_restrict_unprivileged_userns=0; in a container --cap-add SYS_ADMIN)"
    )


def tail(log: Path) -> str:
    """The last lines of a log, for people."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"  (no log: {error.strerror})"
    return "\n".join(f"  {line[:500]}" for line in lines[-_TAIL_LINES:]) or "  (it is empty)"


def _problem(report: BinaryIO) -> str:
    """What the launcher says went wrong; "" when the program runs."""
    if not select.select([report], [], [], _LAUNCH_DEADLINE_S)[0]:
        return f"nothing happened for {_LAUNCH_DEADLINE_S:g} s"
    return report.read().decode(errors="replace")


def _popen(
    argv: Sequence[str], log: Path, place: Surroundings, environment: Mapping[str, str], report: int
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [*_launcher(report, place), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            pass_fds=(report,),
            start_new_session=True,  # Ctrl-C in the terminal is for the controller, which heals first
        )


def _launcher(report: int, place: Surroundings) -> list[str]:
    return [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), str(report), *place.arguments()]
