"""What a run ran on: figures of two machines must not be compared, so each report says which machine it was."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import chaoskit

_FSYNCS = 60
_LIBRARIES = ("locust", "gevent", "etcd3", "grpcio", "hpack", "protobuf")


def describe(data_disk: Path) -> dict[str, str]:
    """CPU, kernel, Python, libraries and the fsync time of the disk that will hold the members' data."""
    return {
        "chaoskit": chaoskit.__version__,
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpus": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "fsync p99": f"{_fsync_p99_ms(data_disk):.2f} ms",
        **{library: version(library) for library in _LIBRARIES},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"


def _fsync_p99_ms(folder: Path) -> float:
    probe = folder / ".fsync-probe"
    times = []
    try:
        with probe.open("wb", buffering=0) as file:
            for _ in range(_FSYNCS):
                file.write(b"\0" * 4096)
                begin = time.perf_counter()
                os.fdatasync(file.fileno())
                times.append(time.perf_counter() - begin)
    finally:
        probe.unlink(missing_ok=True)
    return sorted(times)[int(len(times) * 0.99)] * 1e3
