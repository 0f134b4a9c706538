"""chaoskit as `chaoskit run` uses it: a LoadProcess, so Locust with every operation recorded; figures from its history.

As fast as it goes is the closed model without thinking, as in etcd's benchmark; a rate is the open model, as everywhere
in chaoskit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from chaoskit.history import Operation, Outcome, ShardReader, WatchDelivery
from chaoskit.history.shards import SUFFIX
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.process import LoadProcess
from chaoskit.spec import Spec
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.workloads import WORKLOADS
from tests.bench import child
from tests.bench.bed import KEYS, PREFIX, PUT_CLIENTS, Bed, watchers_of
from tests.bench.contest import Cell, Sample, percentile
from tests.bench.workloads import BENCH_WORKLOADS, VALUE_BYTES

NAME = "chaoskit"
_READY_S = 60.0
_FINISH_S = 20.0
_LOOKS = 10


class BenchProcess(LoadProcess):
    """With the bench's own workloads in the tables."""

    locustfile: ClassVar[Path] = Path(__file__).with_name("locustfile.py")


class Chaoskit:
    """One worker, client `native`."""

    name = NAME

    def cannot(self, cell: Cell) -> str:
        return ""

    def run(self, cell: Cell, bed: Bed) -> Sample:
        with _working(cell, bed) as (worker, shard):
            begin_ns, begin_cpu_s = time.monotonic_ns(), child.cpu_s(worker.pid)
            worker.go()
            time.sleep(bed.seconds)
            end_ns, end_cpu_s = time.monotonic_ns(), child.cpu_s(worker.pid)
            rss_bytes = child.peak_rss_bytes(worker.pid)
        return sample_of(shard, cell, begin_ns, end_ns, end_cpu_s - begin_cpu_s, rss_bytes)


def soak(bed: Bed, rate_per_s: int, seconds: float) -> list[int]:
    """Resident bytes of a worker at this rate of puts, at ten moments."""
    with _working(Cell("put", 64, rate_per_s), bed) as (worker, _):
        worker.go()
        seen = []
        for _ in range(_LOOKS):
            time.sleep(seconds / _LOOKS)
            seen.append(child.rss_bytes(worker.pid))
    return seen


@contextmanager
def _working(cell: Cell, bed: Bed) -> Iterator[tuple[LoadProcess, Path]]:
    """A worker that waits for its beginning, and its shard; complete when the context is left."""
    folder = bed.turn()
    shard = folder / f"0{SUFFIX}"
    order = LoadOrder(
        run_id="bench", seed=1, prefix=PREFIX, keys=KEYS if cell.figure == "put" else 1,
        endpoints=bed.endpoints, workloads=_workloads(cell, len(bed.endpoints)), shard=str(shard),
    )  # fmt: skip
    environment = {**CLIENTS[order.client]().environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    worker = BenchProcess(order, folder, environment)
    try:
        worker.start()
        if not bed.real_time:
            child.take_priority(worker.pid)
        worker.wait_ready(_READY_S)
        yield worker, shard
        worker.stop_arrivals()
        worker.finish(_FINISH_S)
        if why := worker.poll():
            raise child.ContenderBroke(why)
    finally:
        worker.kill()


def _workloads(cell: Cell, members: int) -> dict[str, WorkloadOrder]:
    pace: object = f"{cell.rate_per_s}/s" if cell.rate_per_s else {"think": "0s"}
    paced = {"rate": pace, "clients": cell.clients}
    put = {**paced, "value_size": f"{VALUE_BYTES}B"}
    match cell.figure:
        case "put":
            wanted = {"put": put}
        case "range-l" | "range-s":
            wanted = {"read": {**paced, "consistency": "linearizable" if cell.figure[-1] == "l" else "serializable"}}
        case "watch":
            watchers = watchers_of(cell.clients, members)
            wanted = {"put": {**put, "clients": PUT_CLIENTS}, "watch": {"watchers": watchers, "fanout": watchers}}
        case "txn":
            wanted = {"bench_swap": {"clients": cell.clients}}
        case _:
            wanted = {"bench_keepalive": {"clients": cell.clients}}
    return {kind: _order(kind, settings) for kind, settings in wanted.items()}


def _order(kind: str, settings: dict[str, object]) -> WorkloadOrder:
    workload = {**WORKLOADS, **BENCH_WORKLOADS}[kind]
    assert issubclass(workload, Spec)
    return WorkloadOrder.of(kind, workload.model_validate(settings))


def sample_of(shard: Path, cell: Cell, begin_ns: int, end_ns: int, cpu_s: float, rss_bytes: int) -> Sample:
    """What was done between two moments, as the history has it."""
    events = errors = 0
    service_ms, response_ms = [], []
    for record in ShardReader(shard):
        if isinstance(record, WatchDelivery):
            events += len(record.events) * (begin_ns <= record.received_ns <= end_ns)
        elif isinstance(record, Operation) and begin_ns <= record.done_ns <= end_ns:
            if record.outcome is Outcome.OK:
                service_ms.append((record.done_ns - record.sent_ns) / 1e6)
                response_ms.append((record.done_ns - record.due_ns) / 1e6)
            else:
                errors += 1
    service_ms.sort()
    response_ms.sort()
    timed = cell.figure != "watch" and service_ms
    return Sample(
        operations=events if cell.figure == "watch" else len(service_ms),
        seconds=(end_ns - begin_ns) / 1e9,
        cpu_s=cpu_s,
        rss_bytes=rss_bytes,
        p50_ms=percentile(service_ms, 0.5) if timed else None,
        p99_ms=percentile(service_ms, 0.99) if timed else None,
        errors=errors,
        due_p99_ms=percentile(response_ms, 0.99) if timed and cell.rate_per_s else None,
    )
