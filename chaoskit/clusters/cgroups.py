"""Limits that Linux keeps: cgroups, version 1 or 2, of single processes of this machine.

Version 1 has a tree for each controller, version 2 one tree in which a controller works below the groups that hand it
down. Members get groups of their own, next to chaoskit's; whoever may not make any is told why before a run begins.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chaoskit.contracts import Capability
from chaoskit.errors import HealFailed, InfrastructureError

Controller = Literal["cpu", "memory", "io"]

CONTROLLERS: Mapping[Capability, Controller] = {"cpu": "cpu", "memory": "memory", "disk_io": "io"}
"""Which controller a capability needs."""

_V1_NAMES: Mapping[Controller, str] = {"cpu": "cpu", "memory": "memory", "io": "blkio"}
_HELP = "run as root, let systemd delegate the controller to your session, or use containers (--backend docker)"
_PERIOD_US = 100_000
_REMOVE_DEADLINE_S = 5.0


class BelowUse(Exception):
    """Version 1 does not lower a memory limit below what is used and cannot be given back."""


@dataclass(frozen=True, slots=True)
class Tree:
    """Where one controller's groups are, and which of them this process is in."""

    version: Literal[1, 2]
    mount: Path
    own: Path  # below the mount, or the mount itself where that cannot be seen


@dataclass(frozen=True, slots=True)
class Group:
    """One group of one controller, which is there or is going to be."""

    version: Literal[1, 2]
    path: Path

    @property
    def procs(self) -> Path:
        """Who writes `0` here is in it from then on."""
        return self.path / "cgroup.procs"

    def read(self, name: str) -> str:
        return (self.path / name).read_text().strip()

    def write(self, name: str, value: str) -> None:
        (self.path / name).write_text(value)

    def count(self, name: str, key: str) -> int:
        """Of a file of `key number` lines; 0 where there is no such line."""
        pairs = (line.split() for line in self.read(name).splitlines())
        return next((int(pair[1]) for pair in pairs if pair[0] == key), 0)


class CpuGroup(Group):
    """`cpu` in µs of CPU time per second."""

    def limit(self, us_per_s: int | None) -> None:
        quota = None if us_per_s is None else us_per_s * _PERIOD_US // 1_000_000
        if self.version == 2:
            self.write("cpu.max", f"{'max' if quota is None else quota} {_PERIOD_US}")
        else:
            self.write("cpu.cfs_period_us", str(_PERIOD_US))
            self.write("cpu.cfs_quota_us", str(-1 if quota is None else quota))

    def limited(self) -> int | None:
        if self.version == 2:
            quota, period = self.read("cpu.max").split()
        else:
            quota, period = self.read("cpu.cfs_quota_us"), self.read("cpu.cfs_period_us")
        return None if quota in ("max", "-1") else int(quota) * 1_000_000 // int(period)

    def throttled(self) -> int:
        return self.count("cpu.stat", "nr_throttled")


class MemoryGroup(Group):
    """Bytes, the page cache included. Swap is no way out."""

    def limit(self, size: int | None) -> None:
        """Raises BelowUse."""
        try:
            if self.version == 2:
                self.write("memory.max", "max" if size is None else str(size))
                self._swap("memory.swap.max", "max" if size is None else "0")
            else:
                self._limit_v1(-1 if size is None else size)
        except OSError as error:
            if isinstance(error, FileNotFoundError | PermissionError):
                raise
            raise BelowUse(error.strerror) from error

    def _limit_v1(self, size: int) -> None:
        """Memory never has a higher limit than memory and swap together, at no moment."""
        names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        raised = size < 0 or size > int(self.read(names[0]))
        for name in reversed(names) if raised else names:
            if name == names[0]:
                self.write(name, str(size))
            else:
                self._swap(name, str(size))

    def _swap(self, name: str, value: str) -> None:
        if (self.path / name).exists():  # not where the kernel does not count swap
            self.write(name, value)

    def limited(self) -> int | None:
        text = self.read("memory.max" if self.version == 2 else "memory.limit_in_bytes")
        return None if text == "max" or int(text) >= 1 << 60 else int(text)

    def used(self) -> int:
        return int(self.read("memory.current" if self.version == 2 else "memory.usage_in_bytes"))

    def hits(self) -> int:
        return self.count("memory.events", "max") if self.version == 2 else int(self.read("memory.failcnt"))

    def killed(self) -> int:
        return self.count("memory.events" if self.version == 2 else "memory.oom_control", "oom_kill")


class IoGroup(Group):
    """Bytes per second written to one disk. Version 1 counts what is synced or written directly, as a log is."""

    def limit(self, device: str, bytes_per_s: int | None) -> None:
        if self.version == 2:
            self.write("io.max", f"{device} wbps={'max' if bytes_per_s is None else bytes_per_s}")
        else:
            self.write("blkio.throttle.write_bps_device", f"{device} {bytes_per_s or 0}")

    def limited(self, device: str) -> int | None:
        for line in self.read("io.max" if self.version == 2 else "blkio.throttle.write_bps_device").splitlines():
            disk, *rates = line.split()
            if disk == device:
                rate = next((rate.removeprefix("wbps=") for rate in rates if "=" not in rate or "wbps=" in rate), "max")
                return None if rate == "max" else int(rate)
        return None


# ── where groups can be ──


def obstacle(capability: Capability) -> str:
    """Why no process of ours can have such a limit here, with what helps; "" when it can. Changes nothing."""
    try:
        places({CONTROLLERS[capability]})
    except InfrastructureError as error:
        return str(error)
    return ""


def places(controllers: Collection[Controller], proc: Path = Path("/proc/self")) -> dict[Controller, Group]:
    """The group of each controller below which members' own can be made. Raises InfrastructureError."""
    found = {controller: tree(controller, proc) for controller in controllers}
    in_one = [controller for controller, where in found.items() if where.version == 2]
    chosen = {
        controller: Group(1, _first_writable(where, controller))
        for controller, where in found.items()
        if where.version == 1
    }
    if in_one:  # a process is in one group for all of them
        parent = Group(2, _first_that_hands_down(found[in_one[0]], in_one))
        chosen |= dict.fromkeys(in_one, parent)
    return chosen


def tree(controller: Controller, proc: Path = Path("/proc/self")) -> Tree:
    """Raises InfrastructureError where the kernel has no such controller, or it is mounted nowhere."""
    paths = _own_paths(proc)
    mounts = list(_mounts(proc))
    for version, options, root, mount in mounts:
        if version == 1 and _V1_NAMES[controller] in options:
            return Tree(1, mount, _below(mount, root, paths.get(_V1_NAMES[controller], "/")))
    for version, _, root, mount in mounts:
        if version == 2 and (mount / "cgroup.controllers").exists():
            own = _below(mount, root, paths.get("", "/"))
            if controller in (mount / "cgroup.controllers").read_text().split():
                return Tree(2, mount, own)
    raise InfrastructureError(f"this machine mounts no cgroups that limit {controller}; {_HELP}")


def group_of(pid: int, controller: Controller) -> Path:
    """The group that a process is in. Raises InfrastructureError when it cannot be seen from here."""
    where = tree(controller)
    try:
        inside = _own_paths(Path(f"/proc/{pid}")).get(_V1_NAMES[controller] if where.version == 1 else "")
    except OSError as error:
        raise InfrastructureError(f"process {pid} has no cgroup that can be seen here: {error.strerror}") from error
    path = where.mount / (inside or "").lstrip("/")
    if not inside or not path.is_dir():
        raise InfrastructureError(f"the cgroup of process {pid} is not below {where.mount}")
    return path


def name(run_id: str, member: str) -> str:
    """Of a member's groups."""
    return f"chaoskit-{run_id}-{member}"


def is_of(path: Path, run_id: str) -> bool:
    """Whether this can be a group of that run."""
    return path.name.startswith(name(run_id, "")) and (path / "cgroup.procs").exists()


def make(group: Group) -> None:
    try:
        group.path.mkdir()
    except OSError as error:
        raise InfrastructureError(f"cgroup {group.path} could not be made: {error.strerror}; {_HELP}") from error


def remove(path: Path) -> bool:
    """Whether it was there. Waits for the last process in it to end; raises HealFailed when it does not."""
    deadline = time.monotonic() + _REMOVE_DEADLINE_S
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return False
        except OSError as error:
            if time.monotonic() > deadline:
                raise HealFailed(
                    f"cgroup {path} could not be removed: {error.strerror}; end what is in its cgroup.procs, "
                    f"then run `chaoskit clean` again"
                ) from error
            time.sleep(0.02)
        else:
            return True


def disk_of(path: Path) -> str:
    """`major:minor` of the whole disk that a folder is on. Raises InfrastructureError where there is none."""
    device = path.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    if not block.exists():
        raise InfrastructureError(
            f"{path} is on no disk of its own that could be slowed (device {os.major(device)}:{os.minor(device)}); "
            f"use a folder on an ext4 or xfs disk"
        )
    whole = block.resolve().parent if (block / "partition").exists() else block.resolve()
    return (whole / "dev").read_text().strip()


def _first_writable(where: Tree, controller: Controller) -> Path:
    for folder in (where.own, where.mount):
        if os.access(folder, os.W_OK):
            return folder
    raise InfrastructureError(f"no cgroup can be made to limit {controller} (below {where.own}); {_HELP}")


def _first_that_hands_down(where: Tree, controllers: Collection[Controller]) -> Path:
    """The nearest group above ours that lets those below it have these controllers, and us into them."""
    for folder in (where.own, *where.own.parents):
        handed = folder / "cgroup.subtree_control"
        if not handed.exists():
            break
        ours = os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)
        if ours and set(controllers) <= set(handed.read_text().split()):
            return folder
    raise InfrastructureError(
        f"no cgroup above {where.own} may be used to limit {', '.join(sorted(controllers))}; {_HELP}"
    )


def _below(mount: Path, root: str, own: str) -> Path:
    """Of a group as the kernel names it; the mount where that lies outside of what is mounted."""
    inside = own.removeprefix(root.rstrip("/")) if own.startswith(root.rstrip("/") or "/") else ""
    path = mount / inside.lstrip("/")
    return path if path.is_dir() else mount


def _own_paths(proc: Path) -> dict[str, str]:
    """Controller of version 1, or "" for version 2 → group."""
    paths: dict[str, str] = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def _mounts(proc: Path) -> Iterator[tuple[int, list[str], str, Path]]:
    """Version, options, root and mount point, as proc(5) has them."""
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            _, _, _, root, mount, *_ = before.split(" ")
            yield (2 if kind == "cgroup2" else 1), options.split(","), root, Path(mount)
