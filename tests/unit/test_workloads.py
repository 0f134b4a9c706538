"""Every workload keeps the folder's promise; slices of watches cover the keys."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaoskit.contracts import Reply, Workload
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.spec import Spec
from chaoskit.workloads import WORKLOADS
from chaoskit.workloads.keys import put_key
from chaoskit.workloads.watch import Watch

pytestmark = pytest.mark.unit

S = 1_000_000_000

EXAMPLES: dict[str, dict[str, Any]] = {
    "put": {"rate": "300/s", "value_size": "64B to 1KiB", "clients": 8, "distribution": "zipfian 1.1"},
    "read": {"rate": "90/m", "consistency": "serializable", "distribution": "hot 80% on 3"},
    "delete": {"rate": "20/s", "distribution": "sequential"},
    "txn": {"rate": "20/s", "value_size": "90% 64B, 10% 4KiB", "distribution": "hot 90% on 5"},
    "range": {"rate": "5/s", "span": 300, "page_size": 100, "consistency": "serializable"},
    "watch": {"watchers": 12, "reconnect": "naive", "fanout": 3},
    "slow_watch": {"watchers": 3, "read_rate": "50/s", "stops_for": "2s"},
    "lease": {"leases": 200, "ttl": "5s"},
    "lease_storm": {"leases": 200, "ttl": "2s", "ttl_jitter": "50%"},
}


def example(kind: str) -> Spec:
    workload = WORKLOADS[kind]
    assert issubclass(workload, Spec)
    return workload.model_validate(EXAMPLES[kind])


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_is_a_spec_with_a_manual_and_keeps_the_contract(kind: str) -> None:
    spec = example(kind)
    assert isinstance(spec, Workload)
    assert (spec.kind, spec.clients() >= 1) == (kind, True)
    assert type(spec).__doc__
    assert all(field.description for field in type(spec).model_fields.values())


@pytest.mark.parametrize("kind", WORKLOADS)
def test_an_order_carries_the_settings_through_its_file_unchanged(kind: str, tmp_path: Any) -> None:
    order = LoadOrder(
        run_id="r", seed=7, prefix="r/", keys=10, endpoints={"n1": "127.0.0.1:1"}, shard="s",
        workloads={"some name": WorkloadOrder.of(kind, example(kind))},
    )  # fmt: skip
    order.write(tmp_path / "load.json")
    settings = LoadOrder.read(tmp_path / "load.json").workloads["some name"].settings
    assert type(example(kind)).model_validate_json(bytes(settings)) == example(kind)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("put", {"rate": 300}),
        ("put", {"rate": "0/s"}),
        ("put", {"rate": "300/s", "value_size": "2MB"}),
        ("put", {"rate": "300/s", "clients": 0}),
        ("put", {"rate": "300/s", "value_size": 256}),
        ("put", {"rate": "300/s", "distribution": "zipfian 1.1 2"}),
        ("delete", {"rate": "1/s", "distribution": 5}),
        ("txn", {"rate": "1/s", "value_size": "90% 64B"}),
        ("range", {"rate": "1/s", "page_size": 0}),
        ("read", {"rate": "300/s", "consistency": "eventual"}),
        ("watch", {"watchers": 10, "fanout": 3}),
        ("watch", {"watchers": 10, "streams": 11}),
        ("slow_watch", {"watchers": 1}),
        ("slow_watch", {"watchers": 1, "stops_for": "10s"}),
        ("lease", {"leases": 3, "ttl": "1.5s"}),
        ("lease", {"leases": 3, "ttl": "500ms"}),
        ("lease_storm", {"leases": 3, "ttl_jitter": "101%"}),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: str, wrong: dict[str, Any]) -> None:
    workload = WORKLOADS[kind]
    assert issubclass(workload, Spec)
    with pytest.raises(ValidationError):
        workload.model_validate(wrong)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(40, 400))
def test_watchers_cover_every_put_key_exactly_fanout_times(slices: int, fanout: int, keys: int) -> None:
    watch = Watch(watchers=slices * fanout, fanout=fanout)
    ranges = [watch.slice(number, "run/", keys) for number in range(watch.clients())]
    for number in range(keys):
        key = put_key("run/", number)
        assert sum(first <= key < end for first, end in ranges) == fanout


@given(st.integers(1, 300), st.integers(1, 20))
def test_with_more_watchers_than_keys_each_still_watches_something(watchers: int, keys: int) -> None:
    ranges = [Watch(watchers=watchers).slice(number, "run/", keys) for number in range(watchers)]
    names = [put_key("run/", number) for number in range(keys)]
    assert all(any(first <= name < end for name in names) for first, end in ranges)
    assert all(any(first <= name < end for first, end in ranges) for name in names)


class SlowCluster:
    """A Session whose every call takes 10 ms of its own time, and which knows how long each lease lives."""

    number, prefix, keys = 0, "run/", 10

    def __init__(self, ends_s: float) -> None:
        self.rng = Random(1)
        self.at_ns = 0
        self.ends_ns = round(ends_s * S)
        self.granted = 0
        self.is_ready_at_ns = 0
        self.renewed_ns: dict[int, int] = {}
        self.died: list[int] = []

    @property
    def stopping(self) -> bool:
        return self.at_ns >= self.ends_ns

    def now_ns(self) -> int:
        return self.at_ns

    def sleep_until(self, at_ns: int) -> bool:
        self.at_ns = max(self.at_ns, at_ns)
        return not self.stopping

    def ready(self) -> None:
        self.is_ready_at_ns = self.at_ns

    def lease_grant(self, ttl_s: int, *, due_ns: int, kind: str = "lease_grant") -> Reply:
        self.at_ns += S // 100
        self.granted += 1
        self.renewed_ns[self.granted] = self.at_ns
        return Reply(lease=self.granted, ttl_s=ttl_s)

    def put(self, key: str, **_: Any) -> Reply:
        self.at_ns += S // 100
        return Reply(revision=1)

    def lease_keepalive(self, lease: int, *, due_ns: int, ttl_s: int) -> Reply:
        self.at_ns += S // 1000
        if self.at_ns - self.renewed_ns[lease] > ttl_s * S:
            self.died.append(lease)
            return Reply(lease=lease)
        self.renewed_ns[lease] = self.at_ns
        return Reply(lease=lease, ttl_s=ttl_s)

    def lease_ended(self, lease: int, key: str, reason: str) -> None: ...


def test_the_first_leases_are_kept_alive_while_the_last_ones_are_still_granted() -> None:
    cluster = SlowCluster(ends_s=30)
    WORKLOADS["lease"].model_validate({"leases": 400, "ttl": "5s", "clients": 1}).live(cluster)  # type: ignore[attr-defined]
    assert cluster.is_ready_at_ns > 8 * S  # granting took longer than a lease lives
    assert (cluster.died, cluster.granted) == ([], 400)


def test_many_leases_have_more_clients_so_that_granting_them_ends() -> None:
    assert WORKLOADS["lease"].model_validate({"leases": 50_000}).clients() == 250  # type: ignore[attr-defined]
    assert WORKLOADS["lease"].model_validate({"leases": 20}).clients() == 20  # type: ignore[attr-defined]
