"""Every workload keeps the folder's promise; slices of watches cover the keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaoskit.contracts import Workload
from chaoskit.load.order import LoadOrder, WorkloadOrder
from chaoskit.spec import Spec
from chaoskit.workloads import WORKLOADS
from chaoskit.workloads.keys import put_key
from chaoskit.workloads.watch import Watch

pytestmark = pytest.mark.unit

EXAMPLES: dict[str, dict[str, Any]] = {
    "put": {"rate": "300/s", "value_size": "1KiB", "clients": 8},
    "read": {"rate": "90/m", "consistency": "serializable"},
    "watch": {"watchers": 12, "reconnect": "naive", "fanout": 3},
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
        ("read", {"rate": "300/s", "consistency": "eventual"}),
        ("watch", {"watchers": 10, "fanout": 3}),
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
