"""What a dead run's history tells of its leases."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from chaoskit.clusters.external_debt import granted
from chaoskit.history import Operation, Outcome, ShardWriter

pytestmark = pytest.mark.unit

GRANT = Operation(0, 1, "lease_grant", 0, "n1", 1, 2, 3, Outcome.OK, lease=11, ttl_s=5)


def test_leases_are_those_of_answered_grants_and_the_rest_is_counted(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    writer = ShardWriter(tmp_path / "history" / "worker-0.shard")
    in_flight = replace(GRANT, number=2, done_ns=0, outcome=Outcome.UNKNOWN, lease=0)
    for record in (
        GRANT,
        in_flight,
        replace(in_flight, done_ns=9, outcome=Outcome.OK, lease=12),
        replace(in_flight, number=3),
        replace(GRANT, number=4, outcome=Outcome.FAILED, lease=0),
        replace(GRANT, number=5, kind="storm_grant", lease=13),
        replace(GRANT, number=6, kind="lease_keepalive", lease=99),
        replace(GRANT, number=7, kind="lease_put", lease=99),
    ):
        writer.add(record)
    writer.close()
    found = granted(tmp_path)
    assert found.leases == {11, 12, 13}
    assert found.unheard == 1
    assert "1 grants were never answered" in str(found)


def test_a_run_without_history_has_no_leases_to_tell_of(tmp_path: Path) -> None:
    assert granted(tmp_path).leases == frozenset()
    assert str(granted(tmp_path)) == ""
