"""Other machines, as far as one machine can play them: network namespaces on a bridge, with a clock of their own."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.chaoskit_process import STARTED

HOST = "198.18.77.1"  # of the range for benchmarks (RFC 2544), which nobody has at home


@dataclass
class Network:
    """A bridge with this machine on it as HOST, and other machines."""

    name: str
    made: list[str] = field(default_factory=list)

    def machine(self) -> str:
        """A new one; returns the name of its namespace."""
        number = len(self.made) + 2
        machine, here, there = f"{self.name}-{number}", f"{self.name}h{number}", f"{self.name}t{number}"
        ip("netns", "add", machine)
        self.made.append(machine)
        ip("link", "add", here, "type", "veth", "peer", "name", there)
        ip("link", "set", there, "netns", machine)
        ip("link", "set", here, "master", self.name, "up")
        ip("-n", machine, "addr", "add", f"198.18.77.{number}/24", "dev", there)
        ip("-n", machine, "link", "set", there, "up")
        ip("-n", machine, "link", "set", "lo", "up")
        return machine


@contextmanager
def network() -> Iterator[Network]:
    """Removed whatever happens."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = Network(f"ck{secrets.token_hex(2)}")
    try:
        ip("link", "add", made.name, "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network can be made here: {error.stderr}")
    try:
        ip("addr", "add", f"{HOST}/24", "dev", made.name)
        ip("link", "set", made.name, "up")
        yield made
    finally:
        for machine in made.made:
            ip("netns", "del", machine)
        ip("link", "del", made.name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20)


def start_worker(
    machine: str, *arguments: str, cwd: Path, token: str, ahead_s: int = 0, code: str = ""
) -> subprocess.Popen[str]:
    """`chaoskit worker` on that machine, whose monotonic clock is `ahead_s` seconds ahead of ours."""
    inside = ["ip", "netns", "exec", machine] if machine else []
    clock = ["unshare", "--time", "--monotonic", str(ahead_s), "--kill-child"] if ahead_s else []
    program = [sys.executable, "-c", code] if code else [sys.executable, "-m", "chaoskit"]
    process = subprocess.Popen(
        [*inside, *clock, *program, "worker", *arguments],
        cwd=cwd,
        env={**os.environ, "CHAOSKIT_TOKEN": token, "CHAOSKIT_STATE": str(cwd / "state")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process.pid)
    return process


def pid_of_remote_worker(number: int, token: str) -> int:
    """The Locust process that has this place."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                environment = (folder / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f'CHAOSKIT_LOAD_WELCOME={{"type":"Welcome","number":{number},' in environment and token in environment:
                return int(folder.name)
    raise AssertionError(f"remote worker {number} does not run")
