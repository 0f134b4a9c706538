"""The built wheel runs by itself, outside the checkout, on every supported Python that this machine has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.chaoskit_process import STEADY, Finished, conclusive

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
SHORTER = ("--set", "method[0].wait=4s", "--set", "method[1].for=5s", "--set", "method[3].for=2s")
PYTHONS = ("3.11", "3.12", "3.13")


def find_python(version: str) -> str | None:
    """An interpreter of this version: this one, on PATH, or under pyenv."""
    if sys.version.startswith(f"{version}."):
        return sys.executable
    candidates = [
        shutil.which(f"python{version}"),
        *map(str, Path.home().glob(f".pyenv/versions/{version}*/bin/python")),
    ]
    return next((path for path in candidates if path and runs(path, version)), None)


def runs(python: str, version: str) -> bool:
    code = f"import sys, venv, ssl; sys.exit(not sys.version.startswith('{version}.'))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.mark.parametrize("version", PYTHONS)
def test_the_wheel_runs_a_packaged_experiment_from_an_empty_environment(
    wheel: Path, tmp_path: Path, version: str
) -> None:
    python = find_python(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    pip = [tmp_path / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    locked = ["--constraint", str(constraints(tmp_path))] if version == PYTHONS[0] else []
    subprocess.run([*pip, *locked, wheel], check=True, cwd=tmp_path)
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    run = subprocess.run(
        [tmp_path / "venv/bin/chaoskit", "run", "partition.yaml", *STEADY, *SHORTER, "--json", "--quiet"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    results = conclusive(Finished(run.returncode, run.stdout, run.stderr)).results
    assert run.returncode == 0, run.stderr
    assert results["watch"]["silent_loss"] == 0
    assert (tmp_path / "reports/partition/latest/report.md").exists()


def constraints(tmp_path: Path) -> Path:
    """The lock file without its hashes: the versions that are tested."""
    lines = [
        line.split(" ")[0]
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line and line[0] not in " #"
    ]
    path = tmp_path / "constraints.txt"
    path.write_text("\n".join(lines))
    return path
