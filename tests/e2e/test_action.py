"""The GitHub action's script with a real run: summary, JUnit, outputs, exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.chaoskit_process import BACKEND_OF_TEST

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("backend")]

ROOT = Path(__file__).parents[2]


def test_the_action_publishes_the_report_of_a_run_and_keeps_its_exit_code(tmp_path: Path) -> None:
    """A promise that nothing can keep, so that the exit code is neither 0 nor a mistake's."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CHAOSKIT_STATE": str(tmp_path / "state"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "outputs"),
        "CHAOSKIT_EXPERIMENTS": "baseline\n",
        "CHAOSKIT_BACKEND": os.environ[BACKEND_OF_TEST],
        "CHAOSKIT_SET": 'steady-state=[]\nmethod[0].wait=4s\nslo=["put.max < 1us"]\n',
        "CHAOSKIT_REPORTS": "out",
    }
    done = subprocess.run(
        [sys.executable, ROOT / "action" / "run.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (run,) = (tmp_path / "out" / "baseline").glob("2*")
    assert (tmp_path / "summary").read_text() == (run / "report.md").read_text()
    outputs = (tmp_path / "outputs").read_text()
    assert f"\n{run.relative_to(tmp_path)}/junit.xml\n" in outputs and "exit-code<<" in outputs
    assert "<failure" in (run / "junit.xml").read_text()
