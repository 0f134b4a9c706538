"""The command line as people and programs meet it: text, JSON, exit codes, no traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit import __version__
from chaoskit.cli import VERBS, main
from chaoskit.cli.list import What, entries_of
from chaoskit.clusters import BACKENDS
from chaoskit.experiment import Plan, packaged_experiments
from chaoskit.faults import FAULTS
from chaoskit.workloads import WORKLOADS

pytestmark = pytest.mark.unit

Chaoskit = Callable[..., tuple[int, str, str]]
BROKEN = "titel: x\nmethod:\n  - fault: kil\n"


@pytest.fixture
def chaoskit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Chaoskit:
    """Run a command line; exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["chaoskit", *arguments])
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("NO_COLOR", "1")
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def broken(tmp_path: Path) -> str:
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN)
    return str(path)


# ── the door itself ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments", [["run", "partition"], ["worker", "--master", "127.0.0.1:5557"], ["clean"], ["doctor"]]
)
def test_what_needs_linux_says_so_elsewhere_and_makes_nothing(
    chaoskit: Chaoskit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")
    code, _, err = chaoskit(*arguments)
    assert code == 4
    assert "need Linux, this is darwin" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(chaoskit: Chaoskit, verb: str) -> None:
    code, out, _ = chaoskit(verb, "--help")
    assert code == 0 and f"chaoskit {verb}" in out


def test_help_names_every_verb(chaoskit: Chaoskit) -> None:
    code, out, err = chaoskit("--help")
    assert (code, err) == (0, "")
    assert all(verb in out for verb in VERBS)


def test_version_is_the_package_s(chaoskit: Chaoskit) -> None:
    assert chaoskit("--version") == (0, f"chaoskit {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu"],
        ["--nope"],
        ["plan"],
        ["plan", "partition", "--seed", "x"],
        ["plan", "partition", "--seed", "-1"],
        ["plan", "partition", "--set", "cluster.members"],
        ["plan", "partition", "--set", "cluster.members=4"],
        ["plan", "partition", "--var", "=3"],
        ["plan", "partition", "--var", "VERSOIN=3.5.33"],
        ["plan", "partition", "--backend", "moon"],
        ["plan", "nope.yaml"],
        ["list", "fautls"],
        ["validate"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_a_message_without_a_traceback(
    chaoskit: Chaoskit, arguments: list[str]
) -> None:
    code, out, err = chaoskit(*arguments)
    assert code == 2
    assert not out
    assert err and "Traceback" not in err


def test_a_defect_of_our_own_ends_with_4_and_says_so(chaoskit: Chaoskit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "schema", "chaoskit.cli.nowhere:schema")
    code, _, err = chaoskit("schema")
    assert code == 4 and "a defect of chaoskit" in err


def test_looking_at_experiments_loads_neither_gevent_nor_locust_nor_the_client() -> None:
    check = (
        "import sys; sys.argv = ['chaoskit', 'plan', 'partition', '--backend', 'process']\n"
        "from chaoskit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(sorted({'gevent', 'locust', 'etcd3'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# ── validate ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_validate_says_ok_for_each_valid_experiment(chaoskit: Chaoskit) -> None:
    names = list(packaged_experiments())
    assert chaoskit("validate", *names) == (0, "".join(f"{name}: OK\n" for name in names), "")


def test_validate_tells_every_mistake_of_every_file(chaoskit: Chaoskit, broken: str) -> None:
    code, out, err = chaoskit("validate", "baseline", broken)
    assert code == 2 and out == "baseline: OK\n"
    assert "titel: unknown key 'titel'; did you mean 'title'?" in err
    assert "method[0].fault: unknown fault 'kil'; did you mean 'kill'?" in err and f"({broken}:3:5)" in err


def test_validate_tells_programs_the_same(chaoskit: Chaoskit, broken: str) -> None:
    code, out, err = chaoskit("validate", "baseline", broken, "--json")
    good, bad = json.loads(out)
    assert code == 2 and not err
    assert good == {"experiment": "baseline", "valid": True, "problems": []}
    assert bad["valid"] is False
    fault = next(problem for problem in bad["problems"] if problem["where"] == "method[0].fault")
    assert (fault["source"], fault["line"], fault["column"]) == (broken, 3, 5)


# ── plan ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_plan_shows_the_schedule_with_times_targets_and_seed(chaoskit: Chaoskit) -> None:
    code, out, _ = chaoskit("plan", "partition", "--seed", "42")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "seed 42" in lines[1] and "3 members" in lines[1]
    assert "3s 8s baseline steady state is judged at the end" in lines
    assert any(line.startswith("11s 10s fault:partition partition: isolate leader (chosen at") for line in lines)
    assert "21s 8s recovery:partition" in lines
    assert "slo: write.gap < 5s" in lines


def test_plan_tells_programs_the_whole_plan(chaoskit: Chaoskit) -> None:
    code, out, _ = chaoskit("plan", "partition", "--json", "--set", "cluster.members=5", "--var", "VERSION=3.7.1")
    plan = Plan.model_validate_json(out)
    assert code == 0
    assert (plan.cluster.members, plan.cluster.version, plan.seed) == (5, "3.7.1", 7)


def test_without_a_daemon_auto_means_processes_and_says_why(
    chaoskit: Chaoskit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nothing, where processes cannot be isolated either; the plan is shown all the same."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    code, out, err = chaoskit("plan", "partition", "--json")
    usable = not BACKENDS["process"]().missing()
    assert code == 0
    assert Plan.model_validate_json(out).cluster.backend == ("process" if usable else "auto")
    assert "not docker: the Docker daemon at unix:///nowhere/docker.sock does not answer" in err
    assert err.startswith("backend process: " if usable else "no backend works on this machine")


def test_a_backend_that_was_named_is_not_weighed_against_others(chaoskit: Chaoskit) -> None:
    code, out, err = chaoskit("plan", "partition", "--json", "--backend", "docker")
    assert (code, err, Plan.model_validate_json(out).cluster.backend) == (0, "", "docker")


@pytest.mark.parametrize("name", packaged_experiments())
def test_every_packaged_experiment_can_be_shown(chaoskit: Chaoskit, name: str) -> None:
    code, out, _ = chaoskit("plan", name)
    assert code == 0 and "baseline" in out


# ── list and schema ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("what", What)
def test_every_table_is_listed_with_a_manual_for_each_entry(chaoskit: Chaoskit, what: What) -> None:
    entries = entries_of(what)
    code, out, _ = chaoskit("list", what)
    assert code == 0 and entries
    for entry in entries:
        assert entry.name in out
        assert entry.manual, f"{what} {entry.name} needs a docstring"
    code, out, _ = chaoskit("list", what, "--json")
    assert [each["name"] for each in json.loads(out)] == [entry.name for entry in entries]


def test_a_setting_is_listed_with_its_choices_and_its_default(chaoskit: Chaoskit) -> None:
    _, out, _ = chaoskit("list", "faults", "--json")
    partition = next(entry for entry in json.loads(out) if entry["name"] == "partition")
    mode = next(key for key in partition["keys"] if key["name"] == "mode")
    assert (mode["form"], mode["default"]) == ("blackhole | reject", "blackhole unless given")
    assert next(key for key in partition["keys"] if key["name"] == "for")["default"] is None


def test_the_schema_has_a_step_for_each_fault_and_each_workload(chaoskit: Chaoskit) -> None:
    code, out, _ = chaoskit("schema")
    schema = json.loads(out)
    assert code == 0 and schema["$schema"].startswith("https://json-schema.org/")
    steps = [schema["$defs"][one["$ref"].rsplit("/")[-1]] for one in schema["properties"]["method"]["items"]["oneOf"]]
    named = {
        step["properties"][key]["const"] for step in steps for key in ("fault", "burst") if key in step["properties"]
    }
    assert named == {*FAULTS, *WORKLOADS}
    assert all(step["additionalProperties"] is False for step in steps)


def test_the_schema_spells_defaults_with_units_and_allows_variables(chaoskit: Chaoskit) -> None:
    schema = json.loads(chaoskit("schema")[1])
    assert schema["properties"]["warmup"]["default"] == "3s"
    members = schema["$defs"]["ClusterSpec"]["properties"]["members"]
    assert {"type": "string", "pattern": r"\$\{.+\}"} in members["anyOf"]


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">/dev/full"])
def test_a_stream_that_is_closed_or_full_is_no_defect_of_ours(redirect: str, tmp_path: Path) -> None:
    """Through a shell, because only that can start a program without a stream."""
    script = tmp_path / "redirected.sh"
    script.write_text(f"{sys.executable} -m chaoskit list faults {redirect}\n")
    ended = subprocess.run(["/bin/sh", script], capture_output=True, text=True, check=False, timeout=30)
    assert "Traceback" not in ended.stderr + ended.stdout
    assert ended.returncode == (4 if "full" in redirect else 0)


def test_an_encoding_without_our_characters_gets_escapes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "chaoskit", "list", "experiments"]
    ended = subprocess.run(
        command, capture_output=True, env={"PYTHONIOENCODING": "ascii"}, cwd=tmp_path, check=False, timeout=30
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.isascii()


def test_a_folder_is_no_experiment_and_its_experiments_are_named(chaoskit: Chaoskit, broken: str) -> None:
    code, _, err = chaoskit("validate", str(Path(broken).parent))
    assert code == 2 and "is a folder, not an experiment; in it are: broken.yaml" in err


def test_an_unknown_backend_is_blamed_on_its_option(chaoskit: Chaoskit) -> None:
    code, _, err = chaoskit("validate", "baseline", "--backend", "proces")
    assert code == 2 and err.startswith("--backend: unknown backend 'proces'; did you mean 'process'?")


@pytest.mark.parametrize("verb", ["schema", "list"])
def test_a_reader_who_leaves_early_does_not_look_like_a_deviation(verb: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        arguments = [
            sys.executable,
            "-c",
            "from chaoskit.cli import main; main()",
            verb,
            *["faults"] * (verb == "list"),
        ]
        assert subprocess.run(arguments, stdout=gone, check=False, timeout=60).returncode == 141
