"""A run's directory is found by whatever a person calls it, and judged or shown again from what is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from chaoskit import cli
from chaoskit.errors import InvalidExperiment
from chaoskit.experiment import find_experiment, make_plan
from chaoskit.history import Mark, Operation, Outcome, Phase, ShardWriter
from chaoskit.reporters import REPORTERS, write_all
from chaoskit.runner.judge import RunIdentity
from chaoskit.runner.rundir import RunDir
from tests.unit.sample_results import FAIL

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 21, 10, 4, 3, tzinfo=timezone(timedelta(hours=1)))
S = 10**9


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "reports"


def chaoskit(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command line."""
    monkeypatch.setattr(sys, "argv", ["chaoskit", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def finished_run(base: Path, name: str = "baseline", now: datetime = NOW) -> RunDir:
    """A run of 10 s with 100 puts, as it is on disk before it is judged."""
    run = RunDir.create(base, name, now)
    plan = make_plan(str(find_experiment("baseline")), seed=7)
    run.plan.write_text(plan.model_dump_json(indent=2, by_alias=True))
    run.write_identity(RunIdentity(experiment=name, title=plan.title, run_id="r1", started_at=now.isoformat(), seed=7))
    with ShardWriter(run.history / "controller.shard") as shard:
        shard.add(Phase("baseline", "baseline", S, 11 * S))
        shard.add(Mark("load_ready", S))
        for number in range(100):
            at_ns = S + number * S // 10
            shard.add(
                Operation(0, number, "put", 0, "n1", at_ns, at_ns, at_ns + S // 500, Outcome.OK, revision=number + 2)
            )
    return run


# ── making ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_directory_is_named_by_its_start_in_utc(base: Path) -> None:
    run = RunDir.create(base, "partition", NOW)
    assert run.path == base / "partition" / "2026-11-21T09-04-03Z"
    assert run.history.is_dir()
    assert run.logs.is_dir()


def test_runs_of_the_same_second_do_not_meet_and_latest_is_the_last(base: Path) -> None:
    names = [RunDir.create(base, "partition", NOW).path.name for _ in range(3)]
    assert names == ["2026-11-21T09-04-03Z", "2026-11-21T09-04-03Z-2", "2026-11-21T09-04-03Z-3"]
    assert (base / "partition" / "latest").readlink() == Path("2026-11-21T09-04-03Z-3")


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "with space"])
def test_no_name_leads_out_of_the_reports(name: str, base: Path) -> None:
    assert RunDir.create(base, name, NOW).path.parent.parent == base


def test_a_place_that_cannot_be_written_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidExperiment, match=r"cannot make a run directory in .*file/partition.*--out"):
        RunDir.create(tmp_path / "file", "partition", NOW)


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["kill", "kill.yaml", "latest", "kill/latest", "reports/kill", "reports/kill/latest"])
def test_a_run_is_found_by_whatever_a_person_calls_it(text: str, base: Path) -> None:
    finished_run(base, "partition", NOW)
    finished_run(base, "kill", NOW)
    newest = finished_run(base, "kill", NOW + timedelta(seconds=5))
    assert RunDir.find(text, base).path.resolve() == newest.path


def test_latest_is_the_newest_of_all_experiments(base: Path) -> None:
    finished_run(base, "zebra", NOW)
    newest = finished_run(base, "ant", NOW + timedelta(hours=1))
    assert RunDir.find("latest", base).path == newest.path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("partion", r"unknown run 'partion'; did you mean 'partition'\? there are: latest, partition"),
        (".", r"\. holds no run, neither plan.json nor results.json is in it; there are: latest, partition"),
        ("x" * 5000, r"unknown run 'x{80}'"),
        ("a\0b", r"unknown run"),
    ],
)
def test_what_is_no_run_is_refused_with_the_choices(text: str, says: str, base: Path) -> None:
    finished_run(base, "partition")
    with pytest.raises(InvalidExperiment, match=says):
        RunDir.find(text, base)


def test_without_any_run_the_message_says_how_to_make_one(base: Path) -> None:
    with pytest.raises(InvalidExperiment, match=r"reports holds none; `chaoskit run` makes one"):
        RunDir.find("latest", base)


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_written_is_loaded(base: Path) -> None:
    run = finished_run(base)
    history, promises, identity = run.load()
    assert len(history.operations) == 100
    assert promises == make_plan(str(find_experiment("baseline")), seed=7).promises()
    assert (identity.run_id, identity.seed) == ("r1", 7)


@pytest.mark.parametrize("name", ["plan.json", "identity.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe\x00", b'{"seed": "x"'])
def test_a_half_written_run_is_refused_with_the_file_that_is_wrong(
    name: str, content: bytes | None, base: Path
) -> None:
    run = finished_run(base)
    if content is None:
        (run.path / name).unlink()
    else:
        (run.path / name).write_bytes(content)
    with pytest.raises(InvalidExperiment, match=name):
        run.load()


def test_a_plan_of_another_version_is_refused_with_its_first_mistake(base: Path) -> None:
    run = finished_run(base)
    plan = json.loads(run.plan.read_text())
    run.plan.write_text(json.dumps(plan | {"load": plan["load"] | {"workers": "many"}, "colour": "red"}))
    with pytest.raises(InvalidExperiment, match=r"load\.workers: .*valid integer.* \(and 1 more\)"):
        run.load()


def test_a_run_without_history_is_refused(base: Path) -> None:
    run = finished_run(base)
    (run.history / "controller.shard").unlink()
    with pytest.raises(InvalidExperiment, match=r"history/\*\.shard missing"):
        run.load()


# ── the verbs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_judging_twice_gives_the_same_and_exits_alike(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(base)
    codes = [chaoskit(monkeypatch, "judge", "baseline", "--json", "--quiet") for _ in range(2)]
    out = capsys.readouterr().out
    first, second = out[: len(out) // 2], out[len(out) // 2 :]
    assert first == second
    assert set(codes) == {json.loads(first)["exit_code"]}
    assert json.loads(first)["totals"]["put"]["ok"] == 100
    assert first == run.results.read_text()
    assert all((run.path / reporter.file).is_file() for reporter in REPORTERS.values())


def test_judge_tells_people_on_stderr(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished_run(base)
    chaoskit(monkeypatch, "judge", "latest")
    said = capsys.readouterr()
    assert said.out == ""
    assert "baseline" in said.err
    assert "reports/baseline/2026-11-21T09-04-03Z/" in said.err
    chaoskit(monkeypatch, "judge", "latest", "--quiet")
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("form", ["terminal", *REPORTERS])
def test_report_shows_every_format_on_stdout(
    form: str, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir.create(base, "partition", NOW)
    write_all(FAIL, run.path)
    assert chaoskit(monkeypatch, "report", "partition", "--format", form) == 0
    out = capsys.readouterr().out
    if form == "terminal":
        assert "FAIL  Leader partitioned, then killed" in out
    else:
        assert out == (run.path / REPORTERS[form].file).read_text()


@pytest.mark.parametrize("form", ["terminal", "json"])
def test_a_reader_who_leaves_early_is_no_error(form: str, base: Path) -> None:
    write_all(FAIL, RunDir.create(base, "partition", NOW).path)
    command = [sys.executable, "-m", "chaoskit", "report", "latest", "--format", form]
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = subprocess.run(
            command, stdout=write_end, stderr=subprocess.PIPE, cwd=base.parent, timeout=60, check=False
        )
    finally:
        os.close(write_end)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("judge", "nothing"), "unknown run 'nothing'"),
        (("report", "nothing"), "unknown run 'nothing'"),
        (("report", "baseline"), "was never judged; `chaoskit judge"),
        (("report", "baseline", "--format", "xml"), "unknown format 'xml'"),
        (("judge", "baseline", "--out", "elsewhere"), "elsewhere holds none"),
    ],
)
def test_mistakes_end_with_exit_code_2_and_the_choices(
    arguments: tuple[str, ...],
    says: str,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    finished_run(base)
    assert chaoskit(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
