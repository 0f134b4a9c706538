"""The generator proves itself innocent: its CPU, its memory, and how long its event loop stood still, for whatever
reason, and for collecting garbage."""

from __future__ import annotations

import gc
import resource
from pathlib import Path
from time import monotonic_ns, process_time

import gevent

from chaoskit.history import GeneratorSample

_BEAT_S = 0.01
_PAGE_BYTES = resource.getpagesize()


class Health:
    """`beat` runs for ever in a greenlet of its own; `sample` is asked once a second."""

    def __init__(self) -> None:
        self._stall_ns = 0
        self._cpu_s = process_time()
        self._at_ns = monotonic_ns()
        self._collecting_ns = 0  # since when
        self._pauses_ns = [0]  # collections of this second
        gc.callbacks.append(self._on_collection)

    def beat(self) -> None:
        while True:
            planned_ns = monotonic_ns() + int(_BEAT_S * 1e9)
            gevent.sleep(_BEAT_S)
            self._stall_ns = max(self._stall_ns, monotonic_ns() - planned_ns)

    def sample(self, worker: int, sent: int, ok: int) -> GeneratorSample:
        """What was since the last sample. `cpu` counts the client's helper threads too, so it can exceed 1."""
        at_ns, cpu_s, stall_ns = monotonic_ns(), process_time(), self._stall_ns
        cpu = (cpu_s - self._cpu_s) / max((at_ns - self._at_ns) / 1e9, 1e-3)
        pauses_ns, self._pauses_ns = self._pauses_ns, [0]
        self._at_ns, self._cpu_s, self._stall_ns = at_ns, cpu_s, 0
        return GeneratorSample(
            worker,
            at_ns,
            round(cpu, 4),
            _ms(stall_ns),
            _rss_bytes(),
            sent,
            ok,
            _ms(max(pauses_ns)),
            _ms(sum(pauses_ns)),
        )

    def _on_collection(self, phase: str, _: object) -> None:
        """Called by the collector before and after each collection."""
        if phase == "start":
            self._collecting_ns = monotonic_ns()
        elif self._collecting_ns:
            self._pauses_ns.append(monotonic_ns() - self._collecting_ns)


def _ms(duration_ns: int) -> float:
    return round(duration_ns / 1e6, 3)


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
