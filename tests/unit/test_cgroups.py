"""Where cgroups can be made, on trees of the test's own: version 1, version 2, and machines that allow none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chaoskit.clusters import cgroups, squeeze
from chaoskit.clusters.cgroups import BelowUse, CpuGroup, Group, IoGroup, MemoryGroup
from chaoskit.errors import FaultNotProven, InfrastructureError

pytestmark = pytest.mark.unit


def v2(tmp_path: Path, own: str, handed_down: dict[str, str]) -> Path:
    """A /proc/self and a tree whose groups hand these controllers down."""
    mount, proc = tmp_path / "cgroup", tmp_path / "proc"
    (mount / own.strip("/")).mkdir(parents=True)
    proc.mkdir()
    (mount / "cgroup.controllers").write_text("cpu io memory pids")
    for folder in [mount, *(path for path in mount.rglob("*") if path.is_dir())]:
        name = str(folder.relative_to(mount))
        (folder / "cgroup.subtree_control").write_text(handed_down.get(name, ""))
        (folder / "cgroup.procs").touch()
    (proc / "cgroup").write_text(f"0::{own}\n")
    (proc / "mountinfo").write_text(f"30 1 0:26 / {mount} rw - cgroup2 cgroup2 rw\n")
    return proc


def v1(tmp_path: Path, controllers: str = "cpu,memory,blkio", own: str = "/mine") -> Path:
    proc = tmp_path / "proc"
    proc.mkdir()
    lines, groups = [], []
    for number, controller in enumerate(controllers.split(",")):
        mount = tmp_path / controller
        (mount / own.strip("/")).mkdir(parents=True)
        lines.append(f"3{number} 1 0:2{number} / {mount} rw shared:1 - cgroup cgroup rw,{controller}\n")
        groups.append(f"{number}:{controller}:{own}\n")
    (proc / "cgroup").write_text("".join(groups))
    (proc / "mountinfo").write_text("".join(lines))
    return proc


def test_version_1_has_a_group_in_each_controllers_own_tree(tmp_path: Path) -> None:
    places = cgroups.places({"cpu", "io"}, v1(tmp_path))
    assert places == {"cpu": Group(1, tmp_path / "cpu/mine"), "io": Group(1, tmp_path / "blkio/mine")}


def test_a_controller_that_is_mounted_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"limit memory.*--backend docker"):
        cgroups.places({"cpu", "memory"}, v1(tmp_path, "cpu"))


def test_version_2_takes_the_nearest_group_that_hands_all_of_them_down(tmp_path: Path) -> None:
    handed = {".": "cpu io memory", "user": "cpu memory", "user/app": "cpu", "user/app/shell": ""}
    proc = v2(tmp_path, "/user/app/shell", handed)
    mount = tmp_path / "cgroup"
    assert cgroups.places({"cpu"}, proc) == {"cpu": Group(2, mount / "user/app")}
    both = Group(2, mount / "user")
    assert cgroups.places({"cpu", "memory"}, proc) == {"cpu": both, "memory": both}
    assert cgroups.places({"io"}, proc) == {"io": Group(2, mount)}


def test_version_2_that_hands_nothing_down_is_refused_with_what_helps(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"may be used to limit cpu; run as root"):
        cgroups.places({"cpu"}, v2(tmp_path, "/user/app", {".": "memory"}))


def test_a_tree_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc = v1(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InfrastructureError, match="no cgroup can be made to limit cpu"):
        cgroups.places({"cpu"}, proc)


@pytest.mark.parametrize("version", [1, 2])
def test_a_cpu_limit_reads_back_and_is_taken_away(tmp_path: Path, version: int) -> None:
    group = CpuGroup(version, tmp_path)  # type: ignore[arg-type]
    group.limit(200_000)
    assert group.limited() == 200_000
    group.limit(None)
    assert group.limited() is None


def test_writes_are_limited_on_one_disk(tmp_path: Path) -> None:
    group = IoGroup(2, tmp_path)
    (tmp_path / "io.max").write_text(
        "8:0 rbps=max wbps=5000 riops=max wiops=max\n259:0 rbps=9 wbps=max riops=1 wiops=2"
    )
    assert (group.limited("8:0"), group.limited("259:0"), group.limited("1:1")) == (5000, None, None)
    group = IoGroup(1, tmp_path)
    group.limit("254:0", 70_000)
    assert group.read("blkio.throttle.write_bps_device") == "254:0 70000"
    assert (group.limited("254:0"), group.limited("8:0")) == (70_000, None)


def test_out_of_memory_is_counted_in_both_versions(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\n")
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (tmp_path / "memory.failcnt").write_text("40\n")
    assert (MemoryGroup(2, tmp_path).killed(), MemoryGroup(2, tmp_path).hits()) == (1, 12)
    assert (MemoryGroup(1, tmp_path).killed(), MemoryGroup(1, tmp_path).hits()) == (3, 40)


def test_only_a_runs_own_groups_are_taken_for_its(tmp_path: Path) -> None:
    for name in ("chaoskit-r1-n1", "chaoskit-r10-n1", "system.slice"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    (tmp_path / "chaoskit-r1-folder").mkdir()
    assert [path.name for path in sorted(tmp_path.iterdir()) if cgroups.is_of(path, "r1")] == ["chaoskit-r1-n1"]


# ── a limit below what is used ──


class Memory:
    """A member that uses `used` bytes and gives `back` of them whenever it is asked for less."""

    def __init__(self, used: int, back: int = 0) -> None:
        self.used_bytes = used
        self.back = back
        self.limit = 1 << 40

    def lower(self, size: int) -> None:
        if size < self.used_bytes:
            self.used_bytes -= self.back
            raise BelowUse
        self.limit = size

    def used(self) -> int:
        return self.used_bytes


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squeeze, "_DEADLINE_S", 0.05)
    monkeypatch.setattr(squeeze, "_EVERY_S", 0)


@pytest.mark.usefixtures("impatient")
def test_a_member_that_gives_memory_back_gets_its_limit() -> None:
    memory = Memory(used=60 << 20, back=1 << 20)
    squeeze.squeeze(memory.lower, memory.used, 40 << 20)
    assert memory.limit == 40 << 20


@pytest.mark.usefixtures("impatient")
def test_a_member_that_keeps_its_memory_may_have_no_more_and_the_limit_is_not_claimed() -> None:
    memory = Memory(used=60 << 20)
    with pytest.raises(FaultNotProven, match=r"40MiB is refused by cgroup v1: 62\.9 MB are used"):
        squeeze.squeeze(memory.lower, memory.used, 40 << 20)
    assert memory.limit == 60 << 20
