"""What Linux says of processes. A process is its pid and its start time: pids are used again, the pair is not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chaoskit.contracts import MemberResources
from chaoskit.errors import InfrastructureError

RUN_MARKER = "CHAOSKIT_RUN"
OWNER_MARKER = "CHAOSKIT_OWNER"


def problem() -> str:
    """Why nothing of a run could be told from foreign things here; "" on Linux."""
    if sys.platform == "linux":
        return ""
    return f"runs and load workers need Linux, this is {sys.platform}; WSL 2 on Windows, a virtual machine on macOS"


def need_linux() -> None:
    """Raises InfrastructureError on any other system."""
    if why := problem():
        raise InfrastructureError(why)


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    threads: int
    start_ticks: int

    @property
    def gone(self) -> bool:
        """A zombie holds nothing any more, and in a container nobody may ever reap it. Its threads may outlive it."""
        return self.state in "ZX" and self.threads <= 1


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, never confused with a later one of the same pid."""

    pid: int
    start_ticks: int

    def __str__(self) -> str:
        return f"{self.pid}:{self.start_ticks}"

    @classmethod
    def parse(cls, text: str) -> Identity | None:
        pid, _, start = text.partition(":")
        return cls(int(pid), int(start)) if pid.isdecimal() and start.isdecimal() else None

    @property
    def alive(self) -> bool:
        return self.state() is not None

    def state(self) -> str | None:
        """The state letter of /proc, `T` for stopped; None when it does not run any more."""
        found = _stat(self.pid)
        return None if found is None or found.start_ticks != self.start_ticks or found.gone else found.state


@dataclass(frozen=True, slots=True)
class MarkedProcess:
    """A process that some run started: it carries the run's markers in its environment."""

    identity: Identity
    name: str
    run_id: str
    owner: Identity


def identify(pid: int) -> Identity | None:
    """Who has this pid now; None when nobody."""
    found = _stat(pid)
    return None if found is None else Identity(pid, found.start_ticks)


def own_identity() -> Identity:
    identity = identify(os.getpid())
    assert identity is not None, "/proc knows every running process"
    return identity


def markers(run_id: str) -> dict[str, str]:
    """The environment by which a process of this run is known, and by which its owner is."""
    return {RUN_MARKER: run_id, OWNER_MARKER: str(own_identity())}


def marked_processes() -> Iterator[MarkedProcess]:
    """All that carry markers and that this user may look at, but ourselves."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            marked = _marked(int(folder.name))
            if marked is not None:
                yield marked


def usage(identity: Identity) -> MemberResources | None:
    """What a process has used; None when it does not run any more."""
    folder = Path(f"/proc/{identity.pid}")
    try:
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        resident_pages = int((folder / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    if not identity.alive:
        return None
    read, written = disk_use(identity.pid)
    cpu_ticks = int(fields[11]) + int(fields[12])  # user and system, fields 14 and 15
    return MemberResources(
        cpu_s=cpu_ticks / os.sysconf("SC_CLK_TCK"),
        memory_bytes=resident_pages * os.sysconf("SC_PAGE_SIZE"),
        read_bytes=read,
        written_bytes=written,
    )


def disk_use(pid: int) -> tuple[int | None, int | None]:
    """Bytes read from disks and written to them; for a process in another user namespace Linux does not say."""
    try:
        lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except (OSError, ValueError):
        return None, None
    return int(lines["read_bytes"]), int(lines["write_bytes"])


def in_container(pid: int, container_id: str) -> bool:
    """Whether this pid is of that container here; a pid that a daemon on another machine told is not."""
    try:
        return container_id in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def _marked(pid: int) -> MarkedProcess | None:
    identity = identify(pid)
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        if identity is None or RUN_MARKER.encode() not in environment:
            return None
        # the owner's pid means something in its own pid namespace only: a container's run is not ours to judge
        if Path(f"/proc/{pid}/ns/pid").readlink() != Path("/proc/self/ns/pid").readlink():
            return None
        name = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return None
    variables = dict(
        variable.split("=", 1) for variable in environment.decode(errors="replace").split("\0") if "=" in variable
    )
    owner = Identity.parse(variables.get(OWNER_MARKER, ""))
    run_id = variables.get(RUN_MARKER, "")
    return MarkedProcess(identity, name, run_id, owner) if run_id and owner else None


def _stat(pid: int) -> _Stat | None:
    """Fields 3, 20 and 22 of proc(5); the name before them may hold spaces and brackets."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return _Stat(fields[0], int(fields[17]), int(fields[19]))
