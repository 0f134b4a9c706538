"""The registry of runs and the journal in the run directory, in folders of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.clusters import journal, leftovers
from chaoskit.clusters.harm import describe
from chaoskit.clusters.journal import Journal, abandoned, entries, register, state_dir
from chaoskit.contracts import Paused
from chaoskit.errors import InfrastructureError

pytestmark = pytest.mark.unit

REGISTER_AND_DIE = """
import os, sys
from pathlib import Path
from chaoskit.clusters.journal import Journal, register
state, run_dir = Path(sys.argv[1]), Path(sys.argv[2])
entry = register(state, "dead", run_dir, sys.argv[3])
if len(sys.argv) > 4:
    Journal(run_dir).begin(sys.argv[4])
os._exit(9)
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "data" / "n1").mkdir(parents=True)
    (folder / "hosts").mkdir()
    (folder / "logs").mkdir()
    return folder


def die(state: Path, run_dir: Path, *, backend: str = "process", journal_of: str = "dead") -> None:
    arguments = [str(state), str(run_dir), backend, *([journal_of] if journal_of else [])]
    ended = subprocess.run([sys.executable, "-c", REGISTER_AND_DIE, *arguments], timeout=20, check=False)
    assert ended.returncode == 9


def sweep(state: Path) -> list[str]:
    return leftovers.sweep(state, "process", lambda line: None)


def kept(run_dir: Path) -> set[str]:
    return {path.name for path in run_dir.iterdir()}


def test_a_live_run_is_registered_and_not_swept(tmp_path: Path, run_dir: Path) -> None:
    with register(tmp_path, "alive", run_dir, "process"):
        Journal(run_dir).begin("alive")
        assert sweep(tmp_path) == []
        assert (run_dir / "data").is_dir()
    assert entries(tmp_path) == []


def test_a_run_that_could_not_clean_up_stays_registered(tmp_path: Path, run_dir: Path) -> None:
    with pytest.raises(OSError, match="full"), register(tmp_path, "broken", run_dir, "process"):
        raise OSError("disk full")
    assert [path.name for path in entries(tmp_path)] == ["broken.json"]


def test_two_runs_of_one_name_are_refused(tmp_path: Path, run_dir: Path) -> None:
    with register(tmp_path, "r", run_dir, "process"):
        with pytest.raises(InfrastructureError, match=r"r\.json"):
            register(tmp_path, "r", run_dir, "process")
        assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["r.json"]


def test_what_a_dead_run_left_is_removed_and_its_results_stay(tmp_path: Path, run_dir: Path) -> None:
    die(tmp_path, run_dir)
    assert sweep(tmp_path) == [f"removed {run_dir}/data", f"removed {run_dir}/hosts", "swept run dead"]
    assert kept(run_dir) == {"logs", "journal.jsonl"}
    assert json.loads((run_dir / "journal.jsonl").read_text().splitlines()[-1])["swept"] == "dead"
    assert sweep(tmp_path) == []


def test_a_folder_without_the_runs_own_journal_is_not_touched(tmp_path: Path, run_dir: Path) -> None:
    die(tmp_path, run_dir, journal_of="")
    assert sweep(tmp_path) == [f"forgot run dead: nothing of it is in {run_dir}"]
    assert kept(run_dir) == {"data", "hosts", "logs"}


def test_a_folder_with_the_journal_of_another_run_is_not_touched(tmp_path: Path, run_dir: Path) -> None:
    die(tmp_path, run_dir, journal_of="somebody-else")
    sweep(tmp_path)
    assert kept(run_dir) == {"data", "hosts", "logs", "journal.jsonl"}


def test_a_link_out_of_the_run_directory_is_not_followed(tmp_path: Path, run_dir: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (run_dir / "data" / "n1" / "link").symlink_to(precious)
    (run_dir / "hosts").rmdir()
    (run_dir / "hosts").symlink_to(precious)
    die(tmp_path, run_dir)
    sweep(tmp_path)
    assert (precious / "file").exists()
    assert kept(run_dir) == {"hosts", "logs", "journal.jsonl"}


def test_another_backends_run_is_left_to_that_backend(tmp_path: Path, run_dir: Path) -> None:
    die(tmp_path, run_dir, backend="docker")
    assert sweep(tmp_path) == []
    assert len(entries(tmp_path)) == 1


def test_of_two_sweeps_at_once_only_one_gets_an_entry(tmp_path: Path, run_dir: Path) -> None:
    die(tmp_path, run_dir)
    [path] = entries(tmp_path)
    with abandoned(path, "process") as first, abandoned(path, "process") as second:
        assert first is not None
        assert second is None
    with abandoned(path, "process") as late:
        assert late is None


def test_an_entry_that_chaoskit_did_not_write_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x.json").write_text('{"not": "ours"}')
    (tmp_path / "runs" / "y.json").write_bytes(b"\x00\xff")
    assert sweep(tmp_path) == []
    assert len(entries(tmp_path)) == 2


def test_the_journal_tells_of_harm_before_and_of_release_after(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.begin("r1")
    book.inflicting("pause-1", Paused(("n1",)))
    book.released("pause-1")
    lines = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert lines[0]["run"] == "r1"
    assert lines[1]["inflict"] == "pause-1"
    assert lines[1]["harm"] == describe(Paused(("n1",)))
    assert lines[2]["released"] == "pause-1"


def test_a_line_cut_short_by_a_crash_does_not_hide_whose_journal_it_is(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.begin("r1")
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"at": "2026-')
    assert book.belongs_to("r1")
    assert not book.belongs_to("r2")


def test_the_state_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CHAOSKIT_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    assert state_dir() == tmp_path / ".local/state/chaoskit"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_dir() == tmp_path / "xdg/chaoskit"
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / "own"))
    assert state_dir() == tmp_path / "own"


def test_a_registration_that_was_killed_half_way_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    ours = tmp_path / "runs" / f"live.{journal.own_identity()}.tmp"
    dead = tmp_path / "runs" / "r.with.dots.1999999:5.tmp"
    for path in (ours, dead):
        path.touch()
    assert entries(tmp_path) == []
    assert (ours.exists(), dead.exists()) == (True, False)
