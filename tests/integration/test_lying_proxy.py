"""A server that lies about watch events is found out, lie by lie, and an honest one is acquitted.

The worker watches one real member through a proxy that drops, repeats or swaps events on purpose; the audit watchers
look at the member itself. What the judge counts must be what the proxy says it did.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import ClusterWish, Promises
from chaoskit.figures import compute
from chaoskit.history import History, Mark, Phase, ShardWriter
from chaoskit.history import load as load_history
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.process import LoadProcess
from chaoskit.runner.observer import Observer
from chaoskit.systems import SYSTEMS
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.workloads import WORKLOADS
from tests.integration.lying_proxy import Lies, LyingProxy

pytestmark = pytest.mark.integration

VERSION = "3.6.14"
SECONDS = 4


def watch_through(lies: Lies, tmp_path: Path) -> History:
    """Six watchers and 150 puts/s for a few seconds through the proxy; the history of it."""
    system = SYSTEMS["etcd"](VERSION)
    wish = ClusterWish("lying", ("n1",), VERSION, {}, tmp_path, {})
    cluster = BACKENDS["process"]().start(wish, system, print)
    shard = ShardWriter(tmp_path / "history" / "controller.shard")
    observer = Observer(cluster, system, "/lie/", shard)
    try:
        with LyingProxy(cluster.client_endpoints()["n1"], lies) as address:
            load = LoadProcess(order(address, tmp_path), tmp_path, CLIENTS["etcd3"]().environment)
            try:
                load.start()
                load.wait_ready(30)
                begins_ns = time.monotonic_ns()
                load.go()
                time.sleep(SECONDS)
                load.stop_arrivals()
                shard.add(Phase("baseline", "baseline", begins_ns, time.monotonic_ns()))
                revision = system.put(cluster.direct_endpoints()["n1"], "/lie/marker", "final", 2)
                assert revision
                shard.add(Mark("final_marker", time.monotonic_ns(), "acknowledged", revision, "n1"))
                wait_until_reached(load, revision)
                assert observer.wait_audits(revision, 5) == []
                load.finish(10)
            finally:
                load.kill()
    finally:
        observer.close()
        shard.close()
        cluster.close()
        system.close()
    return load_history(tmp_path / "history")


def order(address: str, tmp_path: Path) -> LoadOrder:
    settings = {"put": {"rate": "150/s", "clients": 8}, "watch": {"watchers": 6, "reconnect": "resume", "fanout": 2}}
    workloads = {
        name: WorkloadOrder.of(name, WORKLOADS[name].model_validate(value)) for name, value in settings.items()
    }  # type: ignore[attr-defined]
    return LoadOrder(
        run_id="lying", seed=1, prefix="/lie/", keys=60, endpoints={"n1": address}, workloads=workloads,
        shard=str(tmp_path / "history" / "worker-0.shard"),
    )  # fmt: skip


def wait_until_reached(load: LoadProcess, revision: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        sample = load.latest()
        if sample and sample.watch_reached >= revision:
            return
        time.sleep(0.1)
    raise AssertionError(f"the watches never passed the final marker at revision {revision}")


def test_an_honest_proxy_is_acquitted(tmp_path: Path) -> None:
    watch = compute(watch_through(Lies(), tmp_path), Promises()).watch
    assert (watch.silent_loss, watch.duplicate, watch.out_of_order, watch.tail) == (0, 0, 0, 0)
    assert watch.delivered == watch.expected > 300


def test_dropped_events_are_counted_exactly(tmp_path: Path) -> None:
    lies = Lies(drop_every=20)
    watch = compute(watch_through(lies, tmp_path), Promises()).watch
    assert watch.silent_loss == lies.told["drop"] > 5
    assert (watch.duplicate, watch.out_of_order) == (0, 0)


def test_repeated_events_are_counted_exactly(tmp_path: Path) -> None:
    lies = Lies(repeat_every=15)
    watch = compute(watch_through(lies, tmp_path), Promises()).watch
    assert watch.duplicate == lies.told["repeat"] > 5
    assert (watch.silent_loss, watch.out_of_order) == (0, 0)


def test_swapped_events_are_counted_exactly(tmp_path: Path) -> None:
    lies = Lies(swap_every=25)
    watch = compute(watch_through(lies, tmp_path), Promises()).watch
    assert watch.out_of_order == lies.told["swap"] > 3
    assert (watch.silent_loss, watch.duplicate) == (0, 0)
