"""A server that lies about watch events or answers is found out, lie by lie, and an honest one is acquitted.

The worker loads one real member through a proxy that drops, repeats or swaps events and falsifies answers on purpose.
The audit watchers look at the member itself. What the judge counts must be what the proxy says it did.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import ClusterWish, Promises
from chaoskit.figures import compute
from chaoskit.history import History, Mark, Outcome, Phase, ShardWriter
from chaoskit.history import load as load_history
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.load.process import LoadProcess
from chaoskit.runner.observer import Observer
from chaoskit.systems import SYSTEMS
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.workloads import WORKLOADS
from tests.integration.etcd_members import wait_until
from tests.integration.lying_proxy import Lies, LyingProxy

pytestmark = pytest.mark.integration

VERSION = "3.6.14"
SECONDS = 4

Settings = dict[str, dict[str, object]]


WATCHED: Settings = {
    "put": {"rate": "150/s", "clients": 8}, "watch": {"watchers": 6, "reconnect": "resume", "fanout": 2}
}  # fmt: skip
MIXED: Settings = {
    "put": {"rate": "100/s", "clients": 8, "value_size": "90% 64B, 10% 2KiB"},
    "read": {"rate": "50/s", "clients": 4},
    "delete": {"rate": "40/s", "clients": 8, "distribution": "zipfian 0.9"},
    "txn": {"rate": "80/s", "clients": 16, "distribution": "hot 90% on 2"},
    "range": {"rate": "20/s", "clients": 4, "span": 30, "page_size": 8},
    "watch": {"watchers": 2},
}


def load_through(lies: Lies, tmp_path: Path, settings: Settings = WATCHED, *wanted: str) -> History:
    """A few seconds of load through the proxy, longer until it told each of the lies that are wanted; its history."""
    system = SYSTEMS["etcd"](VERSION)
    wish = ClusterWish("lying", ("n1",), VERSION, {}, tmp_path, {})
    cluster = BACKENDS["process"]().start(wish, system, print)
    shard = ShardWriter(tmp_path / "history" / "controller.shard")
    observer = Observer(cluster, system, "/lie/", shard)
    try:
        with LyingProxy(cluster.client_endpoints()["n1"], lies) as address:
            load = LoadProcess(order(address, tmp_path, settings), tmp_path, CLIENTS["etcd3"]().environment)
            try:
                load.start()
                load.wait_ready(30)
                begins_ns = time.monotonic_ns()
                load.go()
                time.sleep(SECONDS)
                wait_until(lambda: all(lies.told[lie] > 3 for lie in wanted), 30, "enough lies")
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


def order(address: str, tmp_path: Path, settings: Settings) -> LoadOrder:
    workloads = {
        name: WorkloadOrder.of(name, WORKLOADS[name].model_validate(value)) for name, value in settings.items()
    }  # type: ignore[attr-defined]
    return LoadOrder(
        run_id="lying", seed=1, prefix="/lie/", keys=60, endpoints={"n1": address}, workloads=workloads,
        shard=str(tmp_path / "history" / "worker-0.shard"),
        timeout_s=15.0,  # a lie that nobody waited for could not be counted
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
    watch = compute(load_through(Lies(), tmp_path), Promises()).watch
    assert (watch.silent_loss, watch.duplicate, watch.out_of_order, watch.tail) == (0, 0, 0, 0)
    assert watch.delivered == watch.expected > 300


def test_dropped_events_are_counted_exactly(tmp_path: Path) -> None:
    lies = Lies(drop_every=20)
    watch = compute(load_through(lies, tmp_path), Promises()).watch
    assert watch.silent_loss == lies.told["drop"] > 5
    assert (watch.duplicate, watch.out_of_order) == (0, 0)


def test_repeated_events_are_counted_exactly(tmp_path: Path) -> None:
    lies = Lies(repeat_every=15)
    watch = compute(load_through(lies, tmp_path), Promises()).watch
    assert watch.duplicate == lies.told["repeat"] > 5
    assert (watch.silent_loss, watch.out_of_order) == (0, 0)


def test_swapped_events_are_counted_exactly(tmp_path: Path) -> None:
    lies = Lies(swap_every=25)
    watch = compute(load_through(lies, tmp_path), Promises()).watch
    assert watch.out_of_order == lies.told["swap"] > 3
    assert (watch.silent_loss, watch.duplicate) == (0, 0)


def test_an_honest_proxy_is_believed_in_all_its_answers_to_a_mixed_load(tmp_path: Path) -> None:
    history = load_through(Lies(), tmp_path, MIXED)
    figures = compute(history, Promises())
    assert not any((figures.answers.broken | figures.log.broken | figures.watch.broken).values())
    assert figures.answers.not_known == 0
    answered = [op for op in history.operations if op.outcome is Outcome.OK]
    kinds = {kind: [op for op in answered if op.kind == kind] for kind in figures.totals}
    assert 0 < len(kinds["txn"]) <= len(kinds["txn_read"])
    assert {op.succeeded for op in kinds["txn"]} == {True, False}
    assert figures.totals["txn"].conflicts == sum(not op.succeeded for op in kinds["txn"])
    assert {op.count for op in kinds["delete"]} == {0, 1}
    pages = kinds["range"] + kinds["range_page"]
    assert all((op.count > 8) == op.more for op in pages)
    assert all(0 < op.at_revision <= op.revision for op in kinds["range_page"])
    assert figures.answers.checked == sum(len(kinds[kind]) for kind in kinds if kind != "put")


def test_pages_that_miss_a_key_or_are_old_are_counted_exactly(tmp_path: Path) -> None:
    lies = Lies(miss_every=9, stale_every=7)
    figures = compute(load_through(lies, tmp_path, MIXED, "miss", "stale"), Promises())
    told = lies.told["miss"] + lies.told["stale"]
    assert {promise: count for promise, count in figures.answers.broken.items() if count} == {
        "Reads tell the log": told
    }
    assert not any(figures.log.broken.values())


def test_deletes_that_never_happened_and_forced_transactions_are_found(tmp_path: Path) -> None:
    lies = Lies(undone_every=10, forced_every=2)
    figures = compute(load_through(lies, tmp_path, MIXED, "undone", "forced"), Promises())
    assert figures.log.broken["Acknowledged writes are kept"] == lies.told["undone"] + lies.told["forced"]
    assert any("delete of /lie/put/" in line for line in figures.log.evidence["Acknowledged writes are kept"])
    assert figures.answers.broken["Guards hold"] > 0
