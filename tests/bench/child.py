"""A contender's process: run to its end, with what it used. It dies with us, whatever ends us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chaoskit.clusters import launcher

_LOOK_S = 0.02


class ContenderBroke(Exception):
    """It could not be measured; says why. A contender that fails is no slow contender."""


@dataclass(frozen=True, slots=True)
class Ended:
    output: str
    cpu_s: float
    rss_bytes: int  # largest


def run(
    argv: Sequence[str | Path],
    *,
    deadline_s: float,
    cwd: Path,
    real_time: bool,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Raises ContenderBroke when it fails or does not end in time."""
    with tempfile.TemporaryFile() as output:
        child, began_cpu_s = _start(argv, cwd, {**os.environ, **(environment or {})}, output, real_time)
        try:
            used_s, rss_bytes = _watch(child, time.monotonic() + deadline_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if child.returncode:
        raise ContenderBroke(f"{Path(argv[0]).name} ended with {child.returncode}:\n{text[-2000:]}")
    return Ended(text, used_s - began_cpu_s, rss_bytes)


def give_priority(pid: int) -> None:
    """The lowest real-time one, where we may: as the load worker of a run has it."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


def take_priority(pid: int) -> None:
    os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


def peak_rss_bytes(pid: int) -> int:
    """The most that a process has held; 0 when it has ended."""
    return _status_bytes(pid, "VmHWM:")


def rss_bytes(pid: int) -> int:
    """What a process holds; 0 when it has ended."""
    return _status_bytes(pid, "VmRSS:")


def cpu_s(pid: int) -> float:
    """What the living threads of a process have used, exact to the scheduler's nanoseconds."""
    stats = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e9


def _status_bytes(pid: int, field: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return 0


def _watch(child: subprocess.Popen[bytes], ends_at: float) -> tuple[float, int]:
    """CPU by the kernel's own account at its end; memory while it lives, because the account counts what we held when
    we forked."""
    rss_bytes = 0
    while time.monotonic() < ends_at:
        rss_bytes = max(rss_bytes, peak_rss_bytes(child.pid))
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime, rss_bytes
        time.sleep(_LOOK_S)
    child.kill()
    child.wait()
    raise ContenderBroke("it was not done in time")


def _start(
    argv: Sequence[str | Path], cwd: Path, environment: Mapping[str, str], output: IO[bytes], real_time: bool
) -> tuple[subprocess.Popen[bytes], float]:
    """By the launcher that starts the members, too; returns when the program itself runs, with the CPU that took."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as report:
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), str(write_end), *4 * [""], *argv],
                cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True, pass_fds=(write_end,),
            )  # fmt: skip
        finally:
            os.close(write_end)
        if real_time:  # while it is the launcher: the program and all its threads inherit it
            give_priority(child.pid)
        if why := report.read().decode():
            child.wait()
            raise ContenderBroke(why)
    return child, cpu_s(child.pid)
