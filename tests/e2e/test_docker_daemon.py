"""A Docker daemon that dies in the middle of a run: exit 4, and a clean-up that works when it is back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit.clusters.docker_daemon import Daemon
from chaoskit.errors import InfrastructureError
from tests.backends import DOCKER_MISSING
from tests.e2e.chaoskit_process import chaoskit, start

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        bool(DOCKER_MISSING) or os.geteuid() != 0 or not shutil.which("dockerd"),
        reason="needs root and a dockerd that works here",
    ),
]


class OwnDaemon:
    """One that the test may kill; beside the machine's own it leaves the default bridge and the firewall alone."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.url = f"unix://{home}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        home = self._home
        folders = ["--data-root", home / "data", "--exec-root", home / "exec", "--pidfile", home / "pid"]
        with (home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", *folders, "--host", self.url, "--bridge=none", "--iptables=false"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                Daemon(self.url).close()
                return
            except InfrastructureError:
                assert time.monotonic() < deadline, (home / "log").read_text()[-2000:]
                time.sleep(0.1)

    def kill(self) -> None:
        """As a crash does: with its containerd, which would otherwise hold what the next one needs."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        containerd = self._home / "exec" / "containerd" / "containerd.pid"
        if containerd.exists():
            os.kill(int(containerd.read_text()), signal.SIGKILL)
            containerd.unlink()
        (self._home / "pid").unlink(missing_ok=True)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)
        for line in Path("/proc/mounts").read_text().splitlines():  # one that was killed left its own behind
            if (where := line.split()[1]).startswith(f"{self._home}/"):
                subprocess.run(["umount", where], check=True)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnDaemon]:
    daemon = OwnDaemon(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", daemon.url)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


def left(daemon: OwnDaemon) -> list[Any]:
    client = Daemon(daemon.url).client
    filters = {"label": "chaoskit.run"}
    return [
        *client.containers.list(all=True, filters=filters),
        *client.networks.list(filters=filters),
        *client.volumes.list(filters=filters),
    ]


def running(daemon: OwnDaemon) -> int:
    return len(Daemon(daemon.url).client.containers.list(filters={"label": "chaoskit.run"}, ignore_removed=True))


def test_a_daemon_that_dies_in_a_run_ends_it_with_4_and_clean_works_when_it_is_back(
    tmp_path: Path, daemon: OwnDaemon
) -> None:
    arguments = ["--backend", "docker", "--json", "--out", str(tmp_path / "reports"), "--set", "cluster.images=build"]
    process = start("run", "baseline", *arguments, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while running(daemon) < 4:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    time.sleep(4)  # into the load
    daemon.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    cleaned = chaoskit("clean", cwd=tmp_path)
    assert cleaned.code == 7
    assert "does not answer" in cleaned.err and "chaoskit clean" in cleaned.err
    daemon.start()
    assert len(left(daemon)) == 4 + 4 + 3
    cleaned = chaoskit("clean", cwd=tmp_path)
    assert cleaned.code == 0, cleaned.err
    assert left(daemon) == []
    assert list((tmp_path / "state").glob("runs/*.json")) == []
