"""What a member that is a container may use. CPU and memory are the daemon's to limit, whatever its cgroups are.

Writes to disk the daemon cannot limit once a container runs, so that is done in its cgroup, by root of the daemon's own
machine. A data disk that can be filled is a volume in memory; Toxiproxy's container has it mounted too, because it is
gone when nobody has.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from chaoskit.clusters import cgroups
from chaoskit.clusters.cgroups import BelowUse, IoGroup
from chaoskit.clusters.docker_daemon import Daemon
from chaoskit.clusters.local_bounds import timed_write
from chaoskit.clusters.squeeze import squeeze
from chaoskit.contracts import DATA_DISK_BYTES, Capability, Limit, MemberLimits
from chaoskit.errors import BedLost, FaultNotProven, InfrastructureError

_PERIOD_US = 100_000
_BALLAST, _SPARE, _TRIAL = "chaoskit-ballast", "chaoskit-spare", "chaoskit-trial"
_CHUNK = 1 << 20
_NEITHER_MORE = ("current usage", "resource busy")  # how cgroup v1 refuses a memory limit, by way of runc
_NO_SPACE = "no space left"


def obstacles(daemon: Daemon) -> dict[Capability, str]:
    """What this daemon's containers cannot be done, each with the reason."""
    with daemon.asked("describe itself"):
        info: dict[str, Any] = daemon.client.info()
    found: dict[Capability, str] = {}
    if not info.get("CpuCfsQuota", info.get("CPUCfsQuota", True)):
        found["cpu"] = "the Docker daemon cannot limit CPU (rootless: systemd has to delegate the cpu controller to it)"
    if not info.get("MemoryLimit", True):
        found["memory"] = "the Docker daemon cannot limit memory (rootless: systemd has to delegate that controller)"
    if why := _no_io(info):
        found["disk_io"] = why
    return found


def _no_io(info: Mapping[str, Any]) -> str:
    if os.geteuid() != 0:
        return "slowing a container's disk takes root: run as root, or use --backend process there"
    if info.get("KernelVersion") != os.uname().release or "Desktop" in str(info.get("OperatingSystem")):
        return "the Docker daemon is on another machine (Docker Desktop), whose cgroups cannot be reached from here"
    try:
        cgroups.places({"io"})
        cgroups.disk_of(Path(info["DockerRootDir"]))
    except (InfrastructureError, OSError) as error:
        return str(error)
    return ""


class ContainerBounds:
    """contracts of `member.Bounds`."""

    def __init__(self, daemon: Daemon, container: Container, volume: str, disk: VolumeDisk | None) -> None:
        self._daemon = daemon
        self._container = container
        self._volume = volume
        self._disk = disk
        self._limited: dict[Limit, int] = {}
        self._hits_before = 0
        self._unlimited = 0  # what stands for no memory limit

    def limit(self, limits: Mapping[Limit, int]) -> None:
        """Of a container that does not run, its next start. What was never limited is not touched."""
        if "cpu" in limits or "cpu" in self._limited:
            quota = limits["cpu"] * _PERIOD_US // 1_000_000 if "cpu" in limits else -1
            self._update(cpu_period=_PERIOD_US, cpu_quota=quota)
        if "disk_write" in limits or "disk_write" in self._limited:
            self._limit_io(limits.get("disk_write"))
        if limits.get("memory") != self._limited.get("memory"):
            self._limited = {**self._limited, **limits}  # also when it is refused half-way
            self._limit_memory(limits.get("memory"))
        self._limited = dict(limits)

    def _limit_memory(self, size: int | None) -> None:
        """The daemon knows no way back to none, so it is all that the machine has."""
        if size is None:
            with self._daemon.asked("describe itself"):
                whole = int(self._daemon.client.info()["MemTotal"])
            self._update(mem_limit=whole, memswap_limit=2 * whole)  # -1 would not reach a running container
            self._unlimited = whole
            return
        self._hits_before = self._memory().get("failcnt", 0)
        squeeze(self._lower_memory, lambda: int(self._memory().get("usage", 0)), size)

    def _lower_memory(self, size: int) -> None:
        try:
            self._update(mem_limit=size, memswap_limit=size)
        except BedLost:
            raise
        except InfrastructureError as error:
            if any(word in str(error) for word in _NEITHER_MORE):
                raise BelowUse(str(error)) from error
            raise

    def _limit_io(self, bytes_per_s: int | None) -> None:
        pid = int(self._inspect()["State"]["Pid"])
        if pid:  # else it has no cgroup; it is limited when it starts
            self._io(pid).limit(self._device(), bytes_per_s)

    def limits(self) -> MemberLimits:
        about = self._inspect()
        config, pid = about["HostConfig"], int(about["State"]["Pid"])
        with self._daemon.asked(f"measure {self._container.name}"):
            stats: dict[str, Any] = self._daemon.client.api.stats(self._container.id, stream=False, one_shot=True)
        memory = stats.get("memory_stats") or {}
        throttling = (stats.get("cpu_stats") or {}).get("throttling_data") or {}
        quota, size = config.get("CpuQuota") or 0, config.get("Memory") or 0
        return MemberLimits(
            cpu=quota * 1_000_000 // (config.get("CpuPeriod") or _PERIOD_US) if quota > 0 else None,
            memory=size if size != self._unlimited else None,
            disk_write=self._io(pid).limited(self._device()) if pid and "disk_write" in self._limited else None,
            throttled=int(throttling.get("throttled_periods", 0)),
            memory_used=int(memory.get("usage", 0)),
            memory_hits=max(0, int(memory.get("failcnt", 0)) - self._hits_before),
        )

    def out_of_memory(self) -> bool:
        return bool(self._inspect()["State"].get("OOMKilled"))

    def fill(self, free_bytes: int | None) -> None:
        if self._disk:
            self._disk.fill(free_bytes)

    def disk_refusal(self, size: int) -> str:
        if not self._disk:
            raise FaultNotProven("this member has no data disk of its own")
        return self._disk.refusal(size)

    def write_seconds(self, size: int) -> float:
        """By a process of this machine in the container's cgroup, to the container's volume."""
        pid = int(self._inspect()["State"]["Pid"])
        if not pid:
            raise FaultNotProven(f"{self._container.name} does not run, so nothing can be tried in its cgroup")
        return timed_write(self._io(pid).procs, self._mountpoint() / _TRIAL, size)

    def _io(self, pid: int) -> IoGroup:
        where = cgroups.tree("io")
        return IoGroup(where.version, cgroups.group_of(pid, "io"))

    def _device(self) -> str:
        return cgroups.disk_of(self._mountpoint())

    def _mountpoint(self) -> Path:
        with self._daemon.asked(f"find volume {self._volume}"):
            return Path(self._daemon.client.volumes.get(self._volume).attrs["Mountpoint"])

    def _memory(self) -> dict[str, Any]:
        with self._daemon.asked(f"measure {self._container.name}"):
            stats: dict[str, Any] = self._daemon.client.api.stats(self._container.id, stream=False, one_shot=True)
        return stats.get("memory_stats") or {}

    def _update(self, **limits: int) -> None:
        with self._daemon.asked(f"limit {self._container.name}"):
            self._daemon.client.api.update_container(self._container.id, **limits)

    def _inspect(self) -> dict[str, Any]:
        with self._daemon.asked(f"inspect {self._container.name}"):
            about: dict[str, Any] = self._daemon.client.api.inspect_container(self._container.id)
        return about


class VolumeDisk:
    """A volume of limited size, written to by way of a container that has it mounted. No program is needed in it."""

    OPTIONS: Mapping[str, str] = {"type": "tmpfs", "device": "tmpfs", "o": f"size={DATA_DISK_BYTES},mode=0700"}

    def __init__(self, daemon: Daemon, holder: Container, folder: str) -> None:
        self._daemon = daemon
        self._holder = holder
        self._folder = folder

    def fill(self, free_bytes: int | None) -> None:
        """What is to stay free is set aside first, and given back when the rest is full."""
        if free_bytes is None:
            for name in (_BALLAST, _SPARE):
                self._put(name, 0)
            return
        if why := self._put(_SPARE, free_bytes):
            self._put(_SPARE, 0)
            if _NO_SPACE not in why:
                raise InfrastructureError(f"{self._folder} could not be filled: {why}")
        why = self._put(_BALLAST, DATA_DISK_BYTES)
        self._put(_SPARE, 0)
        if _NO_SPACE not in why:
            raise InfrastructureError(f"{self._folder} could not be filled: {why or 'it is larger than it should be'}")

    def refusal(self, size: int) -> str:
        why = self._put(_TRIAL, size)
        self._put(_TRIAL, 0)
        return f"{why.rpartition(': ')[2]} for {size} bytes" if why else ""

    def _put(self, name: str, size: int) -> str:
        """Why the file could not be written, "" when it was. One that is there is replaced."""
        try:
            with self._daemon.asked(f"write {name} to {self._folder}"):
                self._daemon.client.api.put_archive(self._holder.id, self._folder, _archive(name, size))
        except BedLost:
            raise
        except InfrastructureError as error:
            return str(error)
        return ""


def _archive(name: str, size: int) -> Iterator[bytes]:
    """A tar of one file of zeros, in pieces."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    yield entry.tobuf(tarfile.GNU_FORMAT)
    padded = -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    zeros = bytes(_CHUNK)
    for begin in range(0, padded, _CHUNK):
        yield zeros[: padded - begin]
    yield bytes(2 * tarfile.BLOCKSIZE)
