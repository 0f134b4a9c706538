"""How late the generator is by itself, without any server: `python -m tests.bench.lag [5000/s]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

from chaoskit.contracts import Promises
from chaoskit.figures import compute
from chaoskit.history import History, Phase, load
from chaoskit.load import LoadOrder, LoadProcess, WorkloadOrder
from chaoskit.load.order import Arrivals
from chaoskit.workloads.read import Read

_SECONDS = 10
_SETTLED_NS = 1_000_000_000  # the first second has the beginnings of everything


class Worker(LoadProcess):
    locustfile = Path(__file__).with_name("lag_locustfile.py")


def measure(rate: str, arrivals: Arrivals) -> None:
    """One worker for some seconds, and a line about it."""
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder) / "history" / "worker-0.shard"
        read = WorkloadOrder.of("read", Read.model_validate({"rate": rate, "clients": 64}))
        order = LoadOrder(
            run_id="lag", seed=7, prefix="lag/", keys=1000, endpoints={"n1": "127.0.0.1:1"}, workloads={"read": read},
            shard=str(shard), arrivals=arrivals,
        )  # fmt: skip
        worker = Worker(order, Path(folder), {"PYTHONPATH": str(Path(__file__).parents[2])})
        worker.start()
        try:
            worker.wait_ready(30)
            worker.go()
            time.sleep(_SECONDS)
            worker.stop_arrivals()
            worker.finish(10)
        finally:
            worker.kill()
        show(rate, arrivals, load(shard.parent))


def show(rate: str, arrivals: Arrivals, history: History) -> None:
    begins_ns = history.operations[0].due_ns + _SETTLED_NS
    history.phases = [Phase("settled", "baseline", begins_ns, begins_ns + (_SECONDS - 2) * _SETTLED_NS)]
    found = compute(history, Promises()).generator
    lag = found.lag_ms
    print(
        f"{rate} {arrivals:8} lag ms p50 {lag.p50:.3f}  p99 {lag.p99:.3f}  p99.9 {lag.p99_9:.3f}  max {lag.max:.2f}"
        f"  CPU {found.cpu_mean:.0%}  longest stall {found.loop_stall_ms:.2f} ms  GC {found.gc_pause_ms:.2f} ms"
    )


if __name__ == "__main__":
    for one in get_args(Arrivals):
        measure(sys.argv[1] if len(sys.argv) > 1 else "5000/s", one)
