"""Puts of 100 bytes, 64 clients, through Toxiproxy, as fast as they go: chaoskit's worker with recording on, against
Locust and etcd3 written the plain way. Rounds alternate in order; medians and ratios count, absolute times do not.

    make bench            # or: python -m tests.bench --rounds 7 --seconds 8
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import ClusterWish
from chaoskit.history import Outcome, load
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.process import LoadProcess
from chaoskit.systems import SYSTEMS
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.topology import member_names
from chaoskit.workloads import WORKLOADS

VERSION = "3.6.14"
CLIENTS_AT_ONCE = 64
PLAIN = "locust + etcd3, plain"


@dataclass(frozen=True)
class Figure:
    puts_per_s: float
    cpu_us_per_put: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rounds = measure(Path(folder), options.rounds, options.seconds)
    report(rounds, Path("reports") / "bench" / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}")


def measure(folder: Path, rounds: int, seconds: float) -> dict[str, list[Figure]]:
    system = SYSTEMS["etcd"](VERSION)
    wish = ClusterWish("bench", member_names(3), VERSION, {}, folder / "cluster", {})
    wish.run_dir.mkdir()
    cluster = BACKENDS["process"]().start(wish, system, print)
    endpoints = cluster.client_endpoints()
    contenders: dict[str, Callable[[Path], Figure]] = {PLAIN: lambda out: plain(endpoints, out, seconds)}
    for name in CLIENTS:
        contenders[f"chaoskit, {name}"] = lambda out, name=name: ours(name, endpoints, out, seconds)  # type: ignore[misc]
    figures: dict[str, list[Figure]] = {name: [] for name in contenders}
    try:
        for number in range(rounds):
            order = list(contenders) if number % 2 == 0 else list(reversed(contenders))
            for name in order:
                figures[name].append(contenders[name](folder / f"{number}-{order.index(name)}"))
                print(f"round {number + 1}: {name}: {figures[name][-1].puts_per_s:,.0f} puts/s", file=sys.stderr)
    finally:
        cluster.close()
        system.close()
    return figures


def ours(client: str, endpoints: dict[str, str], folder: Path, seconds: float) -> Figure:
    put = WORKLOADS["put"].model_validate(  # type: ignore[attr-defined]
        {"rate": "100000/s", "value_size": "100B", "clients": CLIENTS_AT_ONCE}
    )
    folder.mkdir()
    order = LoadOrder(
        run_id="bench", seed=1, prefix="/bench/", keys=1000, endpoints=endpoints, client=client,
        workloads={"put": WorkloadOrder.of("put", put)}, shard=str(folder / "worker.shard"),
    )  # fmt: skip
    worker = LoadProcess(order, folder, CLIENTS[client]().environment)
    try:
        worker.start()
        worker.wait_ready(60)
        begin_ns = time.monotonic_ns()
        worker.go()
        time.sleep(seconds)
        end_ns = time.monotonic_ns()
        worker.stop_arrivals()
        worker.finish(20)
    finally:
        worker.kill()
    history = load(folder)
    done = sum(op.outcome is Outcome.OK and begin_ns <= op.done_ns <= end_ns for op in history.operations)
    cpu_s = sum(sample.cpu for sample in history.generator if begin_ns < sample.at_ns <= end_ns)
    return Figure(done / seconds, cpu_s / seconds / (done / seconds) * 1e6)


def plain(endpoints: dict[str, str], folder: Path, seconds: float) -> Figure:
    folder.mkdir()
    out = folder / "plain.json"
    environment = {
        **os.environ,
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
        "BENCH_ENDPOINTS": ",".join(endpoints.values()),
        "BENCH_OUT": str(out),
    }
    locustfile = Path(__file__).with_name("plain_locustfile.py")
    subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary", "-u",
         str(CLIENTS_AT_ONCE), "-r", str(CLIENTS_AT_ONCE), "-t", f"{seconds:g}s", "--exit-code-on-error", "0"],
        env=environment, cwd=folder, check=True, capture_output=True, timeout=120 + seconds,
    )  # fmt: skip
    told = json.loads(out.read_text())
    return Figure(told["ok"] / told["seconds"], told["cpu_s"] / told["ok"] * 1e6)


def report(figures: dict[str, list[Figure]], folder: Path) -> None:
    base = figures[PLAIN]
    lines = [
        "| | puts/s, median (lowest to highest) | ÷ plain | client CPU per put | ÷ plain |",
        "|---|---|---|---|---|",
    ]
    for name, rounds in figures.items():
        rates = [figure.puts_per_s for figure in rounds]
        rate = statistics.median(rates)
        cpu = statistics.median(figure.cpu_us_per_put for figure in rounds)
        faster = statistics.median(a.puts_per_s / b.puts_per_s for a, b in zip(rounds, base, strict=True))
        cheaper = statistics.median(a.cpu_us_per_put / b.cpu_us_per_put for a, b in zip(rounds, base, strict=True))
        spread = f"{rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        lines.append(f"| {name} | {spread} | {faster:.2f} | {cpu:.0f} µs | {cheaper:.2f} |")
    table = "\n".join(lines)
    folder.mkdir(parents=True)
    (folder / "bench.md").write_text(table + "\n")
    (folder / "bench.json").write_text(json.dumps({k: [asdict(f) for f in v] for k, v in figures.items()}, indent=2))
    print(table)
    print(f"\nwritten to {folder}", file=sys.stderr)


if __name__ == "__main__":
    main()
