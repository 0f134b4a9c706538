"""What only the process backend has: namespaces, programs of this machine, folders in the run's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.clusters import BACKENDS
from chaoskit.clusters.children import Spawner, Surroundings
from chaoskit.contracts import Cluster, ClusterWish, System
from chaoskit.errors import InfrastructureError
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names

pytestmark = pytest.mark.integration

VERSION = "3.6.14"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / "state"))


@pytest.fixture
def system() -> Iterator[System]:
    system = SYSTEMS["etcd"](VERSION)
    yield system
    system.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def cluster(system: System, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """In an environment that would break members that inherit it."""
    monkeypatch.setenv("ETCD_NAME", "not-your-name")
    cluster = start(system, run_dir)
    yield cluster
    cluster.close()


def start(system: System, run_dir: Path) -> Cluster:
    wish = ClusterWish("only-process", member_names(3), VERSION, {}, run_dir, {})
    return BACKENDS["process"]().start(wish, system, print)


def test_members_have_their_own_mounts_session_and_a_clean_environment(cluster: Cluster, run_dir: Path) -> None:
    for member in cluster.members:
        pid = cluster.process(member).pid
        assert Path(f"/proc/{pid}/root/etc/hosts").read_text() == (run_dir / "hosts" / member).read_text()
        assert os.getsid(pid) == pid
        variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
        names = {variable.split("=")[0] for variable in variables if variable}
        assert names - {"LC_CTYPE"} == {"PATH", "GODEBUG", "CHAOSKIT_RUN", "CHAOSKIT_OWNER"}  # Python adds that one
    assert str(run_dir) not in Path("/proc/self/mountinfo").read_text()


def test_a_program_that_cannot_be_executed_is_named_with_the_reason(tmp_path: Path) -> None:
    spawner = Spawner("test", lambda program, identity: None)
    try:
        with pytest.raises(InfrastructureError, match="/no/such/etcd could not be started: No such file or directory"):
            spawner.start(["/no/such/etcd"], tmp_path / "log", Surroundings(Path("/etc/hosts")))
    finally:
        spawner.close()


def test_a_folder_that_holds_somebodys_data_is_not_taken(system: System, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis").touch()
    with pytest.raises(InfrastructureError, match="is there already"):
        start(system, tmp_path)
    assert (tmp_path / "data" / "thesis").exists()
