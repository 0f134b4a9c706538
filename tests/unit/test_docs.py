"""The pages agree with the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from chaoskit.cli import VERBS
from chaoskit.experiment import packaged_experiments
from chaoskit.verdict import ExitCode
from tests.bench import __main__ as bench
from tests.bench import report as reports

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "reports" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_the_experiment_in_the_readme_is_the_packaged_one() -> None:
    quoted = re.search(r"<!-- experiments/partition.yaml -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert quoted
    assert quoted[1] == (ROOT / "experiments" / "partition.yaml").read_text()


def test_the_readme_names_every_packaged_experiment() -> None:
    section = README.split("## More experiments")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == set(packaged_experiments())


def test_the_readme_and_the_page_on_verdicts_name_every_exit_code() -> None:
    verdicts = (ROOT / "docs" / "verdicts.md").read_text()
    for code in ExitCode:
        assert re.search(rf"\b{code.value}\b", verdicts), code
    summary = re.search(r"Exit codes: (.*?)\[docs", README, re.DOTALL)
    assert summary
    unused = {ExitCode.REGRESSION}
    assert {int(number) for number in re.findall(r"\b\d+\b", summary[1])} == {code.value for code in ExitCode} - unused


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_is_a_verb(page: Path) -> None:
    for verb in re.findall(r"`chaoskit ([a-z-]+)", page.read_text()):
        assert verb in VERBS, verb


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"setup", "demo", "test", "check", "e2e", "bench", "clean"} <= set(targets)


def test_every_module_says_what_it_is() -> None:
    for path in (ROOT / "chaoskit").rglob("*.py"):
        if path.name != "rpc_pb2.py":
            assert path.read_text().startswith('"""'), path


def test_the_readme_shows_every_goal_of_the_bench_and_the_command_that_measures_it() -> None:
    section = README.split("## How fast the load is")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| ")][1:]
    goals = [line.split("|")[1:3] for line in reports.goals([]).splitlines()[2:]]
    assert rows == goals
    command = re.search(r"`make bench(?: BENCH='(.*?)')?`", section)
    assert command
    bench.options_of(shlex.split(command[1] or ""))  # exits when it is none
