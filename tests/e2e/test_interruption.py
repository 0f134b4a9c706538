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

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("backend")]

KILLS = int(os.environ.get("CHAOSKIT_TEST_KILLS", "6"))


def start_run(tmp_path: Path) -> subprocess.Popen[str]:
    return start("run", "partition", *on_backend(), "--json", "--out", str(tmp_path / "reports"), cwd=tmp_path)


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
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    (folder,) = (tmp_path / "reports").glob("partition/2*")
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
            time.sleep(rng.uniform(0.2, 14))
            process.kill()
            process.communicate(timeout=20)
            cleaned = chaoskit("clean", cwd=tmp_path)
            assert cleaned.code == 0, cleaned.err
            left = {pid: line for pid, line in nothing_left().items() if pid != foreign.pid}
            assert left == {}
            assert set(containers_left()) <= others
            assert scratch_left(tmp_path / "reports") == []
            assert list((tmp_path / "state").glob("runs/*.json")) == []
        assert foreign.poll() is None, "a foreign process was ended"
    finally:
        foreign.kill()
        foreign.wait()
    after = run_json("baseline", "--set", "method[0].wait=3s", cwd=tmp_path)
    assert after.code == 0, after.err
