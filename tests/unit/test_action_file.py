"""The GitHub action: a sound `action.yml`, and its scripts run here as a runner would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "action.yml").read_text()
ACTION: dict[str, Any] = YAML(typ="safe").load(TEXT)
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SCRIPT = ROOT / "action" / "run.py"
NASTY = ["$(touch pwned)", "`touch pwned`", "; touch pwned #", "a b\t'\"c", "--help", "${{ secrets.X }}", "*"]


@dataclass(frozen=True)
class Step:
    """What a run of the script left."""

    code: int
    said: str
    summary: str
    outputs: dict[str, str]
    files: set[str]


def run_script(folder: Path, **inputs: str) -> Step:
    summary, outputs = folder / "summary", folder / "outputs"
    files = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **files, **inputs}
    done = subprocess.run(
        [sys.executable, SCRIPT], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    written = re.findall(r"^([\w-]+)<<(\w+)\n(.*?)\n\2$", outputs.read_text(), re.DOTALL | re.MULTILINE)
    told = {name: value for name, _, value in written}
    return Step(done.returncode, done.stderr, summary.read_text(), told, {path.name for path in folder.iterdir()})


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """A script, not a part of any package."""
    spec = spec_from_file_location("action_run", SCRIPT)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Step:
    """Of an experiment that nobody has."""
    return run_script(tmp_path_factory.mktemp("refused"), CHAOSKIT_EXPERIMENTS="no-such-experiment")


# ── action.yml ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_a_composite_action_with_known_keys_only() -> None:
    assert ACTION.keys() == {"name", "description", "branding", "inputs", "outputs", "runs"}
    assert ACTION["runs"].keys() == {"using", "steps"} and ACTION["runs"]["using"] == "composite"
    assert all(each.keys() <= {"description", "required", "default"} for each in ACTION["inputs"].values())
    assert all(each.keys() == {"description", "value"} for each in ACTION["outputs"].values())
    known = {"name", "id", "if", "uses", "with", "shell", "run", "env"}
    assert all(step.keys() <= known and ("uses" in step) != ("run" in step) for step in STEPS)
    assert all(step["shell"] == "bash" for step in STEPS if "run" in step)


def test_every_input_that_is_used_exists_and_every_input_is_used() -> None:
    assert set(re.findall(r"inputs\.([\w-]+)", TEXT)) == set(ACTION["inputs"])


def test_every_output_comes_from_a_step_and_is_written_by_the_script(refused: Step) -> None:
    ids = {step["id"] for step in STEPS if "id" in step}
    for name, output in ACTION["outputs"].items():
        step, source = re.fullmatch(r"\$\{\{ steps\.([\w-]+)\.outputs\.([\w-]+) \}\}", output["value"]).groups()  # type: ignore[union-attr]
        assert step in ids and source == name and name in refused.outputs


def test_other_people_s_actions_are_pinned_by_commit() -> None:
    used = re.findall(r"uses: (\S+)(.*)", TEXT)
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action, _ in used)
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", version) for _, version in used)


def test_no_expression_is_part_of_a_shell_s_text() -> None:
    """There it would be pasted in before the shell reads it, whatever it holds."""
    assert all("${{" not in step["run"] for step in STEPS if "run" in step)


def test_every_script_that_is_named_is_there_and_every_variable_is_read() -> None:
    for name in re.findall(r"GITHUB_ACTION_PATH/([\w./]+)", TEXT):
        assert (ROOT / name).is_file()
    assert os.access(ROOT / "action" / "install.sh", os.X_OK)
    handed = {name for step in STEPS for name in step.get("env", {})}
    assert handed == set(re.findall(r"\"(CHAOSKIT_\w+)\"", SCRIPT.read_text()))


# ── the script ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_exit_code_is_kept_and_told(refused: Step) -> None:
    assert refused.code == 2 and "no-such-experiment" in refused.said
    assert refused.outputs == {"exit-code": "2", "runs": "", "junit": ""}
    assert refused.summary == "chaoskit ended with exit code 2 before anything was started.\n"


@pytest.mark.parametrize(("tolerate", "code"), [("2 5", 0), ("5", 2), ("22", 2), ("", 2)])
def test_a_tolerated_exit_code_does_not_fail_the_job(script: ModuleType, tolerate: str, code: int) -> None:
    assert script.of_the_job(2, {"CHAOSKIT_TOLERATE": tolerate}) == code


def test_no_input_is_read_by_a_shell(tmp_path: Path) -> None:
    nasty = "\n".join(NASTY)
    names = ("EXPERIMENTS", "BACKEND", "SET", "VAR", "SEED")
    step = run_script(tmp_path, **{f"CHAOSKIT_{name}": nasty for name in names})
    assert (step.code, step.outputs["exit-code"]) == (2, "2"), step.said
    assert "Traceback" not in step.said
    assert step.files == {"summary", "outputs"}


@pytest.mark.parametrize("nasty", NASTY)
def test_no_input_is_taken_for_an_option_of_its_own(script: ModuleType, nasty: str) -> None:
    names = ("BACKEND", "SEED", "SET", "VAR", "EXPERIMENTS")
    words = script.arguments({f"CHAOSKIT_{name}": f" {nasty} \n\n" for name in names}, Path("out"))
    options = [f"--{name}={nasty}" for name in ("backend", "seed", "set", "var")]
    assert words == ["run", "--out", "out", *options, "--", nasty]


def test_reports_go_to_the_summary_while_there_is_room(script: ModuleType, tmp_path: Path) -> None:
    sizes = {"one": 500_000, "two": 500_000, "three": 1000}
    for name, size in sizes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.md").write_text("x" * size)
    (tmp_path / "killed").mkdir()
    summary = script.summary_of([tmp_path / name for name in (*sizes, "killed")], 1)
    assert len(summary.encode()) < 1 << 20
    assert "x" * 500_000 in summary and summary.count("x" * 1000) == 501
    assert "two\n\nThe report is too long for this page" in summary and "ended before its report" in summary
