"""Exports say what the history says, whole or not at all, and the page on them names every field."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from msgspec.structs import asdict, fields, replace

from chaoskit.errors import InvalidExperiment
from chaoskit.history import History, Operation, Outcome, ShardWriter, Unsent, WatchDelivery, load
from chaoskit.history import export as export_module
from chaoskit.history.export import EXPORTED, FORMATS, name_of, write_jsonl, write_parquet
from tests.unit.histories import healthy

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[2] / "docs" / "history.md").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's history with all that makes exporting hard: packed events, operations in flight at a flush."""
    history = healthy()
    ops = history.operations
    flights = [replace(ops[5], done_ns=0, outcome=Outcome.UNKNOWN), replace(ops[6], done_ns=0, outcome=Outcome.UNKNOWN)]
    with ShardWriter(tmp_path / "history" / "worker-0.shard") as shard:
        shard.add(flights[0])
        shard.add(flights[1])
        shard.flush()
        for op in ops[:6] + ops[7:]:  # the sixth never came back
            shard.add(op)
        for event in history.watch_events:
            packed = [(event.revision, event.type, event.key.encode(), event.value.encode())]
            shard.add(
                WatchDelivery(event.worker, event.watch, event.attempt, event.response, event.received_ns, packed)
            )
        for record in (*history.watch_opened, *history.watch_closed, *history.lease_ended, Unsent(0, "put", (1, 2), 3)):
            shard.add(record)
    with ShardWriter(tmp_path / "history" / "controller.shard") as shard:
        for record in (*history.phases, *history.faults, *history.members, *history.marks, *history.log):
            shard.add(record)
    return tmp_path / "history"


def expected(history: History) -> dict[str, list[dict[str, Any]]]:
    lists = {name_of(type(records[0])): records for records in _lists(history) if records}
    return {name: sorted((_plain(record) for record in records), key=str) for name, records in lists.items()}


def _lists(history: History) -> list[list[Any]]:
    return [value for name in dir(history) if isinstance(value := getattr(history, name), list)]


def _plain(record: Any) -> dict[str, Any]:
    row = json.loads(json.dumps(asdict(record)))
    if isinstance(record, Operation):
        row["outcome"] = record.outcome.name.lower()
    return dict(row)


def test_json_lines_hold_exactly_what_figures_see(folder: Path, tmp_path: Path) -> None:
    written = write_jsonl(folder, tmp_path / "out.jsonl")
    first, *rest = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rest:
        found.setdefault(row.pop("record"), []).append(row)
    assert first == {"record": "format", "version": 1}
    assert {name: sorted(rows, key=str) for name, rows in found.items()} == expected(load(folder))
    assert written.records == {name: len(rows) for name, rows in found.items()}


def test_parquet_holds_the_same_in_a_file_for_each_kind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "_BATCH", 100)
    write_parquet(folder, tmp_path / "out")
    tables = {path.stem: pyarrow.parquet.read_table(path) for path in (tmp_path / "out").iterdir()}
    assert {name: sorted(table.to_pylist(), key=str) for name, table in tables.items()} == expected(load(folder))
    groups = pyarrow.parquet.ParquetFile(tmp_path / "out" / "operation.parquet").num_row_groups
    assert groups == -(-tables["operation"].num_rows // 100), "no more than a batch is held at a time"


@pytest.mark.parametrize("format_", FORMATS)
def test_what_exists_is_replaced_only_when_that_is_asked_for(format_: str, folder: Path, tmp_path: Path) -> None:
    _, write = FORMATS[format_]
    target = tmp_path / "out"
    write(folder, target)
    with pytest.raises(InvalidExperiment, match="--force"):
        write(folder, target)
    write(folder, target, force=True)
    assert not list(tmp_path.glob(".*.part"))


def test_force_removes_nothing_that_is_no_export(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for write in (write_jsonl, write_parquet):
        with pytest.raises(InvalidExperiment, match="exists"):
            write(folder, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_that_breaks_off_leaves_nothing_behind(
    format_: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        yield from ()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_module, "settled", broken)
    with pytest.raises(OSError, match="No space"):
        FORMATS[format_][1](folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["history"]


def test_a_shard_that_breaks_off_is_exported_up_to_there_and_named(folder: Path, tmp_path: Path) -> None:
    shard = folder / "worker-0.shard"
    shard.write_bytes(shard.read_bytes()[:-7])
    assert write_jsonl(folder, tmp_path / "out.jsonl").torn_shards == ("worker-0.shard",)


def test_without_pyarrow_the_error_says_how_to_get_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidExperiment, match=re.escape("pip install 'chaoskit[parquet]'")):
        write_parquet(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_into_the_run_directory_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    called = [sys.executable, "-m", "chaoskit", "history", "export"]
    for arguments, code in (([], 0), ([], 2), (["--force"], 0), (["--format", "xml"], 2)):
        done = subprocess.run(
            [*called, str(tmp_path), *arguments], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert (tmp_path / "history.jsonl").is_file()


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_the_page_has_a_section_for_each_kind_of_record() -> None:
    assert sorted(SECTIONS) == sorted(EXPORTED), "docs/history.md needs a section for each kind of record"


@pytest.mark.parametrize("name", EXPORTED)
def test_the_page_explains_every_field_with_its_unit(name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]*) \| (.*) \|$", SECTIONS[name], re.MULTILINE)
    names = [field.name for field in fields(EXPORTED[name])]
    assert [field for field, *_ in rows] == names, "docs/history.md needs a row for each field, in their order"
    units = {"ns": "ns", "ms": "ms", "s": "s", "bytes": "bytes"}
    for field, _, unit, meaning in rows:
        assert meaning.strip(), field
        suffix = field.rpartition("_")[2] if "_" in field else ""
        wanted = "1/s" if field.endswith("_per_s") else units.get(suffix, unit.strip())
        assert unit.strip() == wanted, field
