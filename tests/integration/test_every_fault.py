"""Every entry of FAULTS on every backend: it bites, it is proven, and its heal leaves no trace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import Cluster, ClusterWish, System
from chaoskit.faults import FAULTS
from chaoskit.runner.injection import Injection
from chaoskit.runner.scene import ClusterScene
from chaoskit.runner.stop import Stop
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names
from tests.backends import EACH_BACKEND

pytestmark = pytest.mark.integration

VERSION = "3.6.14"
ClusterOf = Callable[[str], Cluster]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    system = SYSTEMS["etcd"](VERSION)
    yield system
    system.close()


@pytest.fixture(scope="module", params=EACH_BACKEND)
def clusters(
    request: pytest.FixtureRequest, system: System, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterOf]:
    """A cluster whose data disks can be filled, or one whose disks are real: the same one for the same wish."""
    with ExitStack() as undo:

        @cache
        def start(small_disks: bool) -> Cluster:
            backend = BACKENDS[request.param]()
            needs = frozenset({"disk"}) if small_disks else backend.capabilities - {"disk"}
            run_dir = tmp_path_factory.mktemp("run")
            wish = ClusterWish(f"every-{run_dir.name}", member_names(3), VERSION, {}, run_dir, {}, needs=needs)
            cluster = backend.start(wish, system, print)
            undo.callback(cluster.close)
            return cluster

        def cluster_for(kind: str) -> Cluster:
            for need in FAULTS[kind].needs:
                if why := BACKENDS[request.param]().obstacles.get(need):
                    pytest.skip(why)
            return start("disk" in FAULTS[kind].needs)

        yield cluster_for


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_bites_and_is_gone_on_a_real_cluster(kind: str, clusters: ClusterOf, system: System) -> None:
    cluster = clusters(kind)
    keys = {**FAULTS[kind].example, "for": "300ms"}
    scene = ClusterScene(cluster, system, 1, kind)
    injection = Injection(kind, FAULTS[kind].model_validate(keys), scene, cluster, Stop(), print)  # type: ignore[attr-defined]
    injection.run()
    span = injection.span()
    assert span.problem == ""
    assert 0 < span.injected_ns < span.verified_ns < span.heal_began_ns < span.healed_ns
    assert span.evidence
    assert span.heal_evidence
    assert {cluster.process(member).state for member in cluster.members} == {"running"}
    for limits in map(cluster.limits, cluster.members):
        assert (limits.cpu, limits.memory, limits.disk_write) == (None, None, None)
    assert cluster.trouble() == []
    assert every_member_writes(cluster, system)


def every_member_writes(cluster: Cluster, system: System, within_s: float = 15) -> bool:
    deadline = time.monotonic() + within_s
    left = set(cluster.members)
    while left and time.monotonic() < deadline:
        left -= {m for m in left if system.put(cluster.direct_endpoints()[m], f"/every/{m}", "v", 0.5)}
    return not left
