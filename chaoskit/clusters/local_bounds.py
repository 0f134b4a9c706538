"""What a member that is a process may use: its cgroups, and a data disk of its own that can be filled."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from chaoskit.clusters.cgroups import Controller, CpuGroup, Group, IoGroup, MemoryGroup, disk_of
from chaoskit.clusters.squeeze import squeeze
from chaoskit.contracts import Limit, MemberLimits
from chaoskit.errors import FaultNotProven, InfrastructureError
from chaoskit.units import show_size

_WRITE_DEADLINE_S = 60.0
_BALLAST, _TRIAL = "chaoskit-ballast", "chaoskit-trial"
_FILL_TRIES = 50
_WRITER = """
import os, sys, time
procs, path, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
if procs:
    open(procs, "w").write("0")
file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
os.unlink(path)
began = time.monotonic()
for _ in range(8):
    os.write(file, bytes(size // 8))
    os.fdatasync(file)
print(time.monotonic() - began)
"""


class LocalBounds:
    """contracts of `member.Bounds`. A member without groups has no limits, one without a disk cannot be filled."""

    def __init__(self, groups: Mapping[Controller, Group], data: Path, disk: LocalDisk | None) -> None:
        """`data` is the folder that it writes to, on the disk that its writes are limited to."""
        self._cpu = CpuGroup(groups["cpu"].version, groups["cpu"].path) if "cpu" in groups else None
        self._memory = MemoryGroup(groups["memory"].version, groups["memory"].path) if "memory" in groups else None
        self._io = IoGroup(groups["io"].version, groups["io"].path) if "io" in groups else None
        self._data = data
        self._device = disk_of(data) if self._io else ""
        self._disk = disk
        self._hits_before = self._kills_before = 0

    def limit(self, limits: Mapping[Limit, int]) -> None:
        if self._cpu:
            self._cpu.limit(limits.get("cpu"))
        if self._io:
            self._io.limit(self._device, limits.get("disk_write"))
        if self._memory:
            self._limit_memory(self._memory, limits.get("memory"))

    def _limit_memory(self, memory: MemoryGroup, size: int | None) -> None:
        if (size and size // mmap.PAGESIZE * mmap.PAGESIZE) == memory.limited():
            return
        if size is None:
            memory.limit(None)
        else:
            self._hits_before, self._kills_before = memory.hits(), memory.killed()
            squeeze(memory.limit, memory.used, size)

    def limits(self) -> MemberLimits:
        return MemberLimits(
            cpu=self._cpu.limited() if self._cpu else None,
            memory=self._memory.limited() if self._memory else None,
            disk_write=self._io.limited(self._device) if self._io else None,
            throttled=self._cpu.throttled() if self._cpu else 0,
            memory_used=self._memory.used() if self._memory else 0,
            memory_hits=self._memory.hits() - self._hits_before if self._memory else 0,
        )

    def out_of_memory(self) -> bool:
        return self._memory is not None and self._memory.killed() > self._kills_before

    def fill(self, free_bytes: int | None) -> None:
        if self._disk:
            self._disk.fill(free_bytes)

    def write_seconds(self, size: int) -> float:
        return timed_write(self._io.procs if self._io else None, self._data / _TRIAL, size)

    def disk_refusal(self, size: int) -> str:
        if not self._disk:
            raise FaultNotProven("this member has no data disk of its own")
        return self._disk.refusal(size)


class LocalDisk:
    """A file system of limited size, wherever this process can reach it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fill(self, free_bytes: int | None) -> None:
        """What the member writes meanwhile does not count: it may have taken the rest before us."""
        ballast = self._folder / _BALLAST
        if free_bytes is None:
            ballast.unlink(missing_ok=True)
            return
        file = os.open(ballast, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            for _ in range(_FILL_TRIES):
                size, surplus = os.fstat(file).st_size, self._free() - free_bytes
                if surplus <= 0:
                    os.ftruncate(file, max(0, size + surplus))
                    return
                try:
                    os.posix_fallocate(file, size, surplus)
                except OSError:  # somebody was quicker
                    continue
        finally:
            os.close(file)
        raise InfrastructureError(f"{self._folder} could not be filled: {self._free()} bytes are free")

    def refusal(self, size: int) -> str:
        trial = self._folder / _TRIAL
        try:
            with trial.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            return f"{error.strerror} for {show_size(size)}"
        finally:
            trial.unlink(missing_ok=True)
        return ""

    def _free(self) -> int:
        state = os.statvfs(self._folder)
        return state.f_bavail * state.f_frsize


def timed_write(procs: Path | None, path: Path, size: int) -> float:
    """Seconds that a process in that cgroup needs to write and sync so much, as a log is written."""
    command = [sys.executable, "-I", "-S", "-c", _WRITER, str(procs or ""), str(path), str(size)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_WRITE_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _WRITE_DEADLINE_S
    if done.returncode:
        raise FaultNotProven(f"the writer failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return float(done.stdout)
