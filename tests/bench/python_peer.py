"""What the peers written in Python share: their order, their clock, their report. Knows nothing of chaoskit's parts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

ORDER_VARIABLE = "BENCH_ORDER"


class Order:
    """What a peer is asked to do, from the environment."""

    def __init__(self) -> None:
        told = json.loads(os.environ[ORDER_VARIABLE])
        self.figure: str = told["figure"]
        self.clients: int = told["clients"]
        self.put_clients: int = told["put_clients"]  # that feed the watches
        self.seconds: float = told["seconds"]
        self.endpoints: list[str] = told["endpoints"]
        self.key: str = told["key"]  # of readers and watchers
        self.prefix: str = told["prefix"]
        self.keys: int = told["keys"]
        self.value = b"x" * told["value_bytes"]
        self.out = Path(told["out"])


class Tally:
    """Counts from `begin` to `end`; what comes before or after does not."""

    def __init__(self) -> None:
        self._on = False
        self._service_ms: list[float] = []
        self._events = 0
        self._errors = 0
        self._began = self._cpu = 0.0

    def begin(self) -> None:
        self._on, self._began, self._cpu = True, time.perf_counter(), time.process_time()

    def timed(self, call: Callable[[], object]) -> Exception | None:
        began = time.perf_counter()
        try:
            call()
        except Exception as error:  # every one of them counts the same
            self._errors += self._on
            return error
        if self._on:
            self._service_ms.append((time.perf_counter() - began) * 1e3)
        return None

    def events(self, number: int) -> None:
        if self._on:
            self._events += number

    def end(self, out: Path, *, of_events: bool) -> None:
        """Write the Sample."""
        seconds, cpu_s = time.perf_counter() - self._began, time.process_time() - self._cpu
        self._on = False
        times = sorted(self._service_ms)
        rss = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        sample = {
            "operations": self._events if of_events else len(times),
            "seconds": seconds,
            "cpu_s": cpu_s,
            "rss_bytes": int(rss.split()[1]) * 1024,
            "p50_ms": None if of_events or not times else times[len(times) // 2],
            "p99_ms": None if of_events or not times else times[min(len(times) - 1, len(times) * 99 // 100)],
            "errors": self._errors,
        }
        out.write_text(json.dumps(sample))
