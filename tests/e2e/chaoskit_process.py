"""Starts `chaoskit` as a user does, in a folder of the test's own, and looks at what a run leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RUN_DEADLINE_S = 180
STARTED: list[int] = []
STEADY = ("--set", "steady-state[0]=put.p99 < 1s")
"""What the slow disk of a shared machine meets, too."""
BACKEND_OF_TEST = "CHAOSKIT_TEST_BACKEND"


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def results(self) -> dict[str, Any]:
        assert self.out, f"no results on stdout; stderr says:\n{self.err}"
        return json.loads(self.out)


def chaoskit(*arguments: str, cwd: Path, deadline_s: float = RUN_DEADLINE_S, state: Path | None = None) -> Finished:
    """Run to the end."""
    process = start(*arguments, cwd=cwd, state=state)
    try:
        out, err = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"chaoskit {' '.join(arguments)} did not end in {deadline_s} s:\n{err}") from None
    return Finished(process.returncode, out, err)


def start(*arguments: str, cwd: Path, state: Path | None = None) -> subprocess.Popen[str]:
    """Start and return at once."""
    environment = {**os.environ, "CHAOSKIT_STATE": str(state or cwd / "state")}
    process = subprocess.Popen(
        [sys.executable, "-m", "chaoskit", *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process.pid)
    return process


def run_json(*arguments: str, cwd: Path) -> Finished:
    """`chaoskit run … --json --quiet`."""
    return conclusive(run_json_on_any_machine(*arguments, cwd=cwd))


def run_json_on_any_machine(*arguments: str, cwd: Path) -> Finished:
    """For tests that expect a run to be inconclusive, too."""
    return chaoskit("run", *arguments, *on_backend(), "--json", "--quiet", "--out", str(cwd / "reports"), cwd=cwd)


def conclusive(run: Finished) -> Finished:
    """The run, unless all that is wrong with it is this machine: when others on the same host hold up the load
    generator, a run says so and proves nothing, whatever chaoskit is worth."""
    findings = run.results["findings"]
    held_up = [one["sentence"] for one in findings if one["checker"] == "generator" and one["verdict"] == "unknown"]
    if held_up and not any(one["verdict"] == "fail" for one in findings):
        pytest.skip(f"inconclusive on this machine: {held_up[0]}")
    return run


def on_backend() -> tuple[str, str]:
    """The backend that the fixture of that name has chosen, else processes."""
    return "--backend", os.environ.get(BACKEND_OF_TEST, "process")


def phase(results: dict[str, Any], name: str) -> dict[str, Any]:
    """A phase by name."""
    found = [phase for phase in results["phases"] if phase["name"] == name]
    assert found, f"no phase {name!r} in {[phase['name'] for phase in results['phases']]}"
    return found[0]


def broken(results: dict[str, Any]) -> list[str]:
    """Sentences of the findings that did not pass."""
    return [finding["sentence"] for finding in results["findings"] if finding["verdict"] != "pass"]


def processes_of_runs() -> dict[int, str]:
    """Processes that a chaoskit of these tests started: pid → command line. Other runs on the host are not ours."""
    found = {}
    owners = [f"CHAOSKIT_OWNER={pid}:".encode() for pid in STARTED]
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                environment = (folder / "environ").read_bytes()
                if any(owner in environment for owner in owners) and (folder / "cmdline").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


def nothing_left(within_s: float = 5.0) -> dict[int, str]:
    """What is still there after a moment; empty when all is well."""
    deadline = time.monotonic() + within_s
    while (left := processes_of_runs()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def scratch_left(reports: Path) -> list[Path]:
    """Members' data and hosts files below a reports folder."""
    return [path for path in reports.glob("*/*/*") if path.name in {"data", "hosts"}]
