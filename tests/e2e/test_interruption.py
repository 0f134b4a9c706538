"""Ctrl-C, SIGTERM, kill -9: healed, drained and reported, or healed by `chaoskit clean`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from random import Random

import pytest

from tests.backends import containers_left
from tests.e2e.chaoskit_process import chaoskit, nothing_left, on_backend, phase, run_json, scratch_left, start

pytestmark = [pytest.mark.e2e, pytest.mark.each_backend, pytest.mark.usefixtures("backend")]

KILLS = int(os.environ.get("CHAOSKIT_TEST_KILLS", "6"))


CUT = """
# What this shows: a leader that stays cut off until somebody stops the run.
title: Cut until stopped
cluster: {version: "3.6.14"}
load:
  put: {rate: 50/s, clients: 8}
  watch: {watchers: 4, reconnect: resume}
  lease: {leases: 4, ttl: 5s}
warmup: 1s
method:
  - wait: 2s
  - fault: partition
    isolate: leader
    for: 60s
"""


def start_run(tmp_path: Path) -> subprocess.Popen[str]:
    (tmp_path / "cut.yaml").write_text(CUT)
    return start("run", "cut.yaml", *on_backend(), "--json", "--out", str(tmp_path / "reports"), cwd=tmp_path)


def wait_for_line(process: subprocess.Popen[str], text: str, deadline_s: float = 60) -> str:
    assert process.stderr
    seen = []
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        line = process.stderr.readline()
        seen.append(line)
        if text in line:
            return "".join(seen)
        if not line:
            break
    raise AssertionError(f"{text!r} never came:\n{''.join(seen)}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_heals_drains_and_reports(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = start_run(tmp_path)
    wait_for_line(process, "proven after")  # the partition bites
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    (folder,) = (tmp_path / "reports").glob("cut/2*")
    assert (folder / "results.json").exists()
    assert (folder / "report.md").exists()
    judged = chaoskit("judge", str(folder), "--json", cwd=tmp_path)
    assert judged.code == code
    fault = judged.results["faults"][0]
    assert fault["healed_at"], "the partition was not healed"
    assert phase(judged.results, "drain")["seconds"] < 15


def test_the_second_signal_stops_hard_and_names_the_command_that_cleans(tmp_path: Path) -> None:
    process = start_run(tmp_path)
    wait_for_line(process, "proven after")
    process.send_signal(signal.SIGINT)
    wait_for_line(process, "once more")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "chaoskit clean" in err
    assert nothing_left() == {}
    assert chaoskit("clean", cwd=tmp_path).code == 0
    assert scratch_left(tmp_path / "reports") == []


def test_a_run_killed_at_any_moment_is_healed_by_clean(tmp_path: Path) -> None:
    """Foreign processes stay; the next run works. CHAOSKIT_TEST_KILLS=50 for the long form."""
    others = set(containers_left())
    foreign = subprocess.Popen(["sleep", "600"], env={**os.environ, "CHAOSKIT_RUN": "foreign"})
    try:
        rng = Random(7)
        for _ in range(KILLS):
            process = start_run(tmp_path)
            time.sleep(rng.uniform(0.2, 9))
            process.kill()
            process.communicate(timeout=20)
            cleaned = chaoskit("clean", cwd=tmp_path)
            assert cleaned.code == 0, cleaned.err
            assert nothing_left() == {}
            assert set(containers_left()) <= others
            assert scratch_left(tmp_path / "reports") == []
            assert list((tmp_path / "state").glob("runs/*.json")) == []
        assert foreign.poll() is None, "a foreign process was ended"
    finally:
        foreign.kill()
        foreign.wait()
    after = run_json("cut.yaml", "--set", "method[1].for=1s", cwd=tmp_path)
    assert after.results["faults"][0]["healed_at"], after.err


def test_a_signal_before_the_cluster_is_up_ends_at_once(tmp_path: Path) -> None:
    process = start_run(tmp_path)
    deadline = time.monotonic() + 20
    while not list(tmp_path.glob("reports/cut/2*/logs/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 130, err
    assert "Traceback" not in err
