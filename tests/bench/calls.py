"""What a call costs a worker: µs of its CPU from the workload through session, recording and native client to the
socket and back.

    python -m tests.bench.calls [put | read] [--profile]

No cluster and no Locust: `fake_call_server` answers at once, so nothing but the worker's own code is measured, and CPU
is this process's own, so a busy machine changes little. The best of several rounds.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402  gevent patches first
import argparse
import cProfile
import gc
import pstats
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic_ns, process_time

import gevent

from chaoskit.contracts import Workload
from chaoskit.history import ShardWriter
from chaoskit.load.worker.clock import Clock
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.crowd import Crowd
from chaoskit.load.worker.recorder import Recorder
from chaoskit.load.worker.session import Bench, ClientSession
from chaoskit.load.worker.watching import Watchers
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.workloads import WORKLOADS

MEMBERS = 3
FLUSH_S = 0.25
SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=("put", "read", []), help="default: both")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rate", default="", help="the open model at this rate, such as 5000/s")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--profile", action="store_true", help="where the time goes, by function")
    options = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-m", "tests.bench.fake_call_server"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        port = int(server.stdout.readline())
        for kind in options.what or ("put", "read"):
            with tempfile.TemporaryDirectory() as folder:
                costs = [
                    _cost(kind, options, f"127.0.0.1:{port}", Path(folder) / f"{number}.shard")
                    for number in range(options.rounds)
                ]
            lowest, middle = min(costs), statistics.median(costs)
            print(f"{kind}, {options.clients} clients: {lowest:.2f} µs of CPU, median {middle:.2f}")
    finally:
        server.kill()
        server.wait()


def _cost(kind: str, options: argparse.Namespace, endpoint: str, shard: Path) -> float:
    recorder = Recorder(0, ShardWriter(shard), lambda op: None)
    connections = Connections(CLIENTS["native"](), {f"n{number + 1}": endpoint for number in range(MEMBERS)})
    clock, watchers = Clock(), Watchers(connections, recorder, 2.0, True)
    bench = Bench("/bench/", 1000, 2.0, True, connections, recorder, clock, watchers)
    settings = {"rate": options.rate or {"think": "0s"}, "clients": options.clients}
    workload = WORKLOADS[kind].model_validate(settings)  # type: ignore[attr-defined]
    assert isinstance(workload, Workload)
    crowd = Crowd(workload, seed="1", arrivals="uniform", first_client=0)
    for number in range(crowd.size):
        gevent.spawn(workload.live, ClientSession(bench, crowd, number, lambda: None))
    crowd.begin(monotonic_ns(), 0)
    gevent.sleep(0.1)  # connected
    gc.collect()
    gc.freeze()
    profile = cProfile.Profile() if options.profile else None
    if profile:
        profile.enable()
    sent, began = _count(recorder), process_time()
    for _ in range(round(SECONDS / FLUSH_S)):
        gevent.sleep(FLUSH_S)
        recorder.flush()
    used, done = process_time() - began, _count(recorder) - sent
    if profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    crowd.end(monotonic_ns(), 0)
    clock.wake_all()
    gevent.sleep(0.1)
    connections.close()
    recorder.close()
    return used / done * 1e6


def _count(recorder: Recorder) -> int:
    return recorder.live.ok.total()  # nobody calls `turn` here


if __name__ == "__main__":
    main()
