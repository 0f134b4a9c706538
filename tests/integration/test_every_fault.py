"""Every entry of FAULTS on every backend: it bites, it is proven, and its heal leaves no trace."""

from __future__ import annotations

import time
from collections.abc import Iterator

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


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    system = SYSTEMS["etcd"](VERSION)
    yield system
    system.close()


@pytest.fixture(scope="module", params=EACH_BACKEND)
def cluster(
    request: pytest.FixtureRequest, system: System, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    wish = ClusterWish("every-fault", member_names(3), VERSION, {}, tmp_path_factory.mktemp("run"), {})
    cluster = BACKENDS[request.param]().start(wish, system, print)
    yield cluster
    cluster.close()


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_bites_and_is_gone_on_a_real_cluster(kind: str, cluster: Cluster, system: System) -> None:
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
    assert every_member_writes(cluster, system)


def every_member_writes(cluster: Cluster, system: System, within_s: float = 15) -> bool:
    deadline = time.monotonic() + within_s
    left = set(cluster.members)
    while left and time.monotonic() < deadline:
        left -= {m for m in left if system.put(cluster.direct_endpoints()[m], f"/every/{m}", "v", 0.5)}
    return not left
