"""What a controller leaves that is killed at any moment, and what `sweep` makes of it; and a run without root."""

from __future__ import annotations

import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chaoskit.clusters import BACKENDS
from chaoskit.clusters.binaries import find
from chaoskit.clusters.procfs import OWNER_MARKER, RUN_MARKER, identify, marked_processes, own_identity
from chaoskit.clusters.toxiproxy import VERSION as TOXIPROXY_VERSION
from chaoskit.systems import SYSTEMS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
CONTROLLER = [sys.executable, "-m", "tests.integration.controller"]
RNG = random.Random(3)
MOMENTS_S = sorted([0.0, *(RNG.uniform(0.2, 1.6) for _ in range(9))])


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def run_id(tmp_path: Path) -> str:
    return f"killed-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def sleeping() -> Iterator[Callable[[dict[str, str]], subprocess.Popen[bytes]]]:
    """Makes processes with these variables, which end with the test however it ends."""
    with ExitStack() as undo:

        def start(variables: dict[str, str]) -> subprocess.Popen[bytes]:
            process = undo.enter_context(subprocess.Popen(["sleep", "300"], env={**os.environ, **variables}))
            undo.callback(process.kill)
            return process

        yield start


@pytest.fixture
def foreign(sleeping: Callable[[dict[str, str]], subprocess.Popen[bytes]]) -> list[subprocess.Popen[bytes]]:
    """Processes that only look like leftovers: of a live owner, of no owner, of a run whose owner is no owner."""
    return [
        sleeping({RUN_MARKER: "live", OWNER_MARKER: str(own_identity())}),
        sleeping({RUN_MARKER: "nobody's"}),
        sleeping({RUN_MARKER: "odd", OWNER_MARKER: "12:x"}),
        sleeping({"NOTES": f"about {RUN_MARKER}=x", OWNER_MARKER: "1999999:1"}),
    ]


def controller(*command: str, log: Path) -> subprocess.Popen[str]:
    with log.open("w") as errors:
        return subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )


def ready(process: subprocess.Popen[str], log: Path) -> str:
    """The endpoint of n1, once it has been printed."""
    assert process.stdout is not None
    endpoint = process.stdout.readline().strip()
    assert endpoint, log.read_text()
    return endpoint


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


def sweep() -> list[str]:
    return BACKENDS["process"]().sweep(lambda line: None)


def running(run_id: str) -> list[str]:
    return [f"{each.name} {each.identity}" for each in marked_processes() if each.run_id == run_id]


def listeners(octet: str) -> list[str]:
    """Who listens in a run's block; /proc/net/tcp has addresses as little-endian hex, and others' servers."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = [row[1].split(":") for row in rows if row[3] == "0A"]
    seen = [f"{socket.inet_ntoa(bytes.fromhex(address)[::-1])}:{int(port, 16)}" for address, port in local]
    return [each for each in seen if re.fullmatch(rf"127\.{octet}\.[\d.]+:[12]?(2379|2380|8474)", each)]


def block_of(run_dir: Path) -> str | None:
    """As a member's hosts file tells it; None when that was not written yet."""
    hosts = run_dir / "hosts" / "n1"
    found = re.search(r"127\.(\d+)\.0\.1 n1", hosts.read_text()) if hosts.exists() else None
    return found[1] if found else None


def until(look: Callable[[], object], what: str, deadline_s: float = 10) -> None:
    deadline = time.monotonic() + deadline_s
    while not look():
        assert time.monotonic() < deadline, f"not within {deadline_s} s: {what}"
        time.sleep(0.01)


def test_members_die_with_a_killed_controller_before_anybody_sweeps(tmp_path: Path, run_id: str) -> None:
    process = controller(*CONTROLLER, "process", run_id, str(tmp_path / "run"), "3", log=tmp_path / "log")
    octet = ready(process, tmp_path / "log").split(".")[1]
    assert len(running(run_id)) >= 3
    assert len(listeners(octet)) >= 10
    end(process)
    until(lambda: not running(run_id), "no process of the run")
    until(lambda: not listeners(octet), "no listener in the run's block")


@pytest.mark.parametrize("moment_s", MOMENTS_S, ids=lambda moment_s: f"{moment_s:.2f}s")
def test_after_a_kill_at_any_moment_a_sweep_leaves_results_and_foreign_things_only(
    tmp_path: Path, run_id: str, state: Path, foreign: list[subprocess.Popen[bytes]], moment_s: float
) -> None:
    run_dir = tmp_path / "run"
    process = controller(*CONTROLLER, "process", run_id, str(run_dir), "3", log=tmp_path / "log")
    time.sleep(moment_s)
    octet = block_of(run_dir)
    end(process)
    done = sweep()
    print(done)
    assert running(run_id) == []
    assert octet is None or listeners(octet) == []
    assert {path.name for path in run_dir.glob("*")} <= {"journal.jsonl", "logs"}
    assert list(state.rglob("*.*")) == []
    assert str(run_dir) not in Path("/proc/self/mountinfo").read_text()
    assert [sleep.poll() for sleep in foreign] == [None] * len(foreign)
    assert sweep() == []


def test_a_process_that_outlived_its_controller_is_killed_even_when_stopped(
    run_id: str, sleeping: Callable[[dict[str, str]], subprocess.Popen[bytes]]
) -> None:
    owner = sleeping({})
    identity = identify(owner.pid)
    orphan = sleeping({RUN_MARKER: run_id, OWNER_MARKER: str(identity)})
    until(lambda: running(run_id), "the markers showing")
    orphan.send_signal(signal.SIGSTOP)
    assert sweep() == [], "its owner lives"
    owner.kill()  # a zombie from now on: dead, though its pid is still taken
    until(lambda: identity and not identity.alive, "the owner dead")
    assert sweep() == [f"killed sleep (pid {orphan.pid}) of run {run_id}"]
    assert orphan.wait(5) == -signal.SIGKILL


def test_a_run_after_a_killed_one_sweeps_first_and_works(tmp_path: Path, run_id: str) -> None:
    process = controller(*CONTROLLER, "process", run_id, str(tmp_path / "one"), "3", log=tmp_path / "log")
    ready(process, tmp_path / "log")
    end(process)
    assert (tmp_path / "one" / "data").is_dir()
    process = controller(*CONTROLLER, "process", run_id, str(tmp_path / "two"), "1", log=tmp_path / "log")
    ready(process, tmp_path / "log")
    assert not (tmp_path / "one" / "data").exists()
    process.communicate("\n", timeout=20)
    assert process.returncode == 0, (tmp_path / "log").read_text()
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"journal.jsonl", "logs"}


@pytest.mark.skipif(os.geteuid() != 0, reason="not root, so all other tests have shown it already")
def test_an_ordinary_user_needs_no_root(tmp_path: Path, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if forbidden := nobody_cannot():
        pytest.skip(forbidden)
    etcd, proxy = find("etcd", "3.6.14").path, find("toxiproxy-server", TOXIPROXY_VERSION).path
    home = Path(tempfile.mkdtemp(prefix="nobody-"))  # pytest's own folders are closed to others
    try:
        shutil.chown(home, "nobody")
        for variable in ("CHAOSKIT_STATE", "HOME"):
            monkeypatch.setenv(variable, str(home))
        monkeypatch.setenv("CHAOSKIT_ETCD", str(etcd))
        monkeypatch.setenv("CHAOSKIT_TOXIPROXY", str(proxy))
        folders = ":".join(map(str, {ROOT, Path(sys.base_prefix), etcd.parent, proxy.parent}))
        command = [sys.executable, "-m", "tests.integration.as_nobody", str(tmp_path / "view"), folders]
        process = controller(
            *command, "tests.integration.controller", "process", run_id, str(home / "run"), "3", log=tmp_path / "log"
        )
        endpoint = ready(process, tmp_path / "log")
        owners = {each.name: Path(f"/proc/{each.identity.pid}").stat().st_uid for each in marked_processes()}
        assert owners["etcd"] == owners["toxiproxy-serve"] == pwd.getpwnam("nobody").pw_uid
        until(lambda: SYSTEMS["etcd"]("3.6.14").put(endpoint, "key", "value", 1), "a write")
        process.communicate("\n", timeout=20)
        assert process.returncode == 0, (tmp_path / "log").read_text()
        assert {path.name for path in (home / "run").iterdir()} == {"journal.jsonl", "logs"}
    finally:
        shutil.rmtree(home)


def nobody_cannot() -> str:
    """Why this machine lets no ordinary user make namespaces; "" when it does."""
    tried = subprocess.run(
        ["unshare", "-Um", "true"],
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return f"users may not make namespaces here: {tried.stderr.strip()}" if tried.returncode else ""
