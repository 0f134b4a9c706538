"""Limits and full disks: a controller that is killed under them leaves nothing, and harms overlap as they should."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import Capability, Cluster, ClusterWish, Down, Filled, Limited, Paused, System
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names
from tests.backends import EACH_BACKEND, HANDS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
VERSION = "3.6.14"
LIMITS: frozenset[Capability] = frozenset({"cpu", "memory", "disk_io"})
DISK: frozenset[Capability] = frozenset({"disk"})


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / "state"))


@pytest.fixture
def system() -> Iterator[System]:
    system = SYSTEMS["etcd"](VERSION)
    yield system
    system.close()


def needed(backend: str, needs: frozenset[Capability]) -> None:
    """Skip where this machine cannot do it."""
    obstacles = BACKENDS[backend]().obstacles
    if why := next((obstacles[need] for need in needs if need in obstacles), ""):
        pytest.skip(why)


def until(look: Callable[[], object], what: str, deadline_s: float = 20) -> None:
    deadline = time.monotonic() + deadline_s
    while not look():
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}"
        time.sleep(0.05)


@pytest.mark.parametrize("backend", EACH_BACKEND)
@pytest.mark.parametrize("needs", [LIMITS, DISK], ids=["limits", "disk"])
def test_a_controller_killed_under_its_harm_leaves_no_cgroup_volume_mount_or_ballast(
    backend: str, needs: frozenset[Capability], tmp_path: Path
) -> None:
    needed(backend, needs)
    run_id, run_dir = f"{tmp_path.name}-{backend}", tmp_path / "run"
    command = [sys.executable, "-m", "tests.integration.controller", backend, run_id, str(run_dir), "3"]
    process = subprocess.Popen(
        [*command, *sorted(needs)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip(), "it never became ready"
    assert (run_dir / "journal.jsonl").read_text().count('"inflict"') == len(needs), "each was written down first"
    process.kill()
    process.communicate(timeout=10)
    print(BACKENDS[backend]().sweep(lambda line: None))
    assert HANDS[backend]().left(run_id) == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/chaoskit-{run_id}-*")) == []
    assert run_id not in Path("/proc/self/mountinfo").read_text()
    assert {path.name for path in run_dir.iterdir()} == {"journal.jsonl", "logs"}
    assert BACKENDS[backend]().sweep(lambda line: None) == []


@pytest.mark.parametrize("backend", EACH_BACKEND)
def test_harms_of_several_holders_on_one_member_end_with_an_unharmed_one(
    backend: str, tmp_path: Path, system: System
) -> None:
    needs: frozenset[Capability] = frozenset({"cpu", "memory"}) | DISK
    needed(backend, needs)
    wish = ClusterWish(f"{tmp_path.name}-{backend}", member_names(1), VERSION, {}, tmp_path / "run", {}, needs=needs)
    cluster = BACKENDS[backend]().start(wish, system, print)
    try:
        overlap(cluster, system)
    finally:
        cluster.close()


def overlap(cluster: Cluster, system: System) -> None:
    endpoint, (n1,) = cluster.direct_endpoints()["n1"], cluster.members
    assert system.put(endpoint, "before", "v", 5)
    cluster.inflict("loose", Limited((n1,), "cpu", 500_000))
    cluster.inflict("strict", Limited((n1,), "cpu", 200_000))
    assert cluster.limits(n1).cpu == 200_000
    cluster.inflict("roomy", Limited((n1,), "memory", 400_000_000))
    assert cluster.limits(n1).memory in range(399_990_000, 400_000_001)
    cluster.inflict("full", Filled((n1,), 0))
    assert "space" in cluster.disk_refusal(n1, 65_536).lower()
    cluster.inflict("down", Down((n1,)))
    cluster.release("strict")
    assert cluster.limits(n1).cpu == 500_000, "also of a member that is down"
    cluster.inflict("paused", Paused((n1,)))
    cluster.release("full")
    assert cluster.disk_refusal(n1, 65_536) == ""
    cluster.release("down")
    assert cluster.process(n1).state == "paused"
    cluster.release("paused")
    cluster.release("loose")
    assert cluster.limits(n1).cpu is None
    assert cluster.process(n1).pid, "the next limit is lifted while it runs"
    cluster.release("roomy")
    assert cluster.limits(n1).memory is None
    until(lambda: system.put(endpoint, "after", "v", 1), "a write by the member that was harmed so often")
    assert cluster.trouble() == []
    assert cluster.process(n1).starts == 2
