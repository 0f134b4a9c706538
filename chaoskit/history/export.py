"""A run's history for other tools: JSON lines, or one Parquet file for each kind of record. docs/history.md names every
field.

Streaming: however long the run, only a batch of each kind is held at a time. What is written appears under its name
when it is whole, and never over something else unless that is asked for.
"""

from __future__ import annotations

import re
import shutil
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from chaoskit.errors import InvalidExperiment, Problem
from chaoskit.history.gathered import records_in, shard_paths
from chaoskit.history.records import Outcome, Record, WatchDelivery
from chaoskit.history.settled import settled
from chaoskit.history.shards import ShardReader

if TYPE_CHECKING:
    import pyarrow

VERSION = 1
"""Of the format; a change that breaks a reader raises it, a new field or kind of record does not."""

_BATCH = 20_000  # rows of a kind that are held at a time
_WRITE_BYTES = 1 << 20


def name_of(kind: type) -> str:
    """`WatchEvent` → `watch_event`: what a kind of record is called outside."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


EXPORTED: dict[str, type] = {name_of(kind): kind for kind in get_args(Record) if kind is not WatchDelivery}
"""Name → kind of record."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: how many records of each kind, and which shards ended in the middle of something."""

    records: Counter[str]
    torn_shards: tuple[str, ...]


def write_jsonl(folder: Path, target: Path, *, force: bool = False) -> Exported:
    """Write the history in `folder` as one JSON object a line.

    Raises InvalidExperiment when `target` exists and is not to be replaced.
    """
    _refuse_to_overwrite(target, "a file", ours=force and target.is_file())
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    counts: Counter[str] = Counter()
    shards = _shards(folder)
    try:
        with beside.open("wb", buffering=_WRITE_BYTES) as file:
            encode = msgspec.json.encode
            file.write(encode({"record": "format", "version": VERSION}) + b"\n")
            for name, record in _named(shards):
                counts[name] += 1
                file.write(encode({"record": name} | _row(record)) + b"\n")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return Exported(counts, _torn(shards))


def write_parquet(folder: Path, target: Path, *, force: bool = False) -> Exported:
    """Write the history in `folder` into the folder `target`, one file for each kind of record that there is.

    Raises InvalidExperiment when `target` exists and is not to be replaced, or pyarrow is not installed.
    """
    _need_pyarrow()
    _refuse_to_overwrite(target, "a folder of nothing but Parquet files", ours=force and _is_export(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    files: dict[str, _ParquetFile] = {}
    shards = _shards(folder)
    try:
        for name, record in _named(shards):
            if name not in files:
                files[name] = _ParquetFile(beside / f"{name}.parquet", EXPORTED[name])
            files[name].add(record)
        counts = Counter({name: file.close() for name, file in sorted(files.items())})
        if target.is_dir():
            shutil.rmtree(target)
        beside.replace(target)
    finally:
        for file in files.values():
            file.abandon()
        shutil.rmtree(beside, ignore_errors=True)
    return Exported(counts, _torn(shards))


FORMATS: dict[str, tuple[str, Callable[..., Exported]]] = {
    "jsonl": ("history.jsonl", write_jsonl),
    "parquet": ("history-parquet", write_parquet),
}
"""Format → its name in the run directory unless another is given, and what writes it."""


def _shards(folder: Path) -> list[ShardReader]:
    return [ShardReader(path) for path in shard_paths(folder)]


def _torn(shards: Iterable[ShardReader]) -> tuple[str, ...]:
    return tuple(shard.path.name for shard in shards if shard.torn)


def _named(shards: Iterable[ShardReader]) -> Iterator[tuple[str, msgspec.Struct]]:
    names = {kind: name for name, kind in EXPORTED.items()}
    return ((names[type(record)], record) for record in settled(records_in(shards)))


def _row(record: msgspec.Struct) -> dict[str, Any]:
    row = msgspec.structs.asdict(record)
    if "outcome" in row:
        row["outcome"] = row["outcome"].name.lower()
    return row


def _refuse_to_overwrite(target: Path, replaced: str, *, ours: bool) -> None:
    if target.exists() and not ours:
        raise InvalidExperiment(
            [Problem("--to", f"{target} exists; --force replaces {replaced}, --to names another place")]
        )


def _is_export(target: Path) -> bool:
    """A folder that was exported before: nothing else is removed."""
    return target.is_dir() and all(path.suffix == ".parquet" and path.is_file() for path in target.iterdir())


def _need_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401, PLC0415  optional and heavy
    except ImportError as error:
        raise InvalidExperiment(
            [Problem("--format", "parquet needs pyarrow: pip install 'chaoskit[parquet]'; jsonl needs nothing")]
        ) from error


class _ParquetFile:
    """Gathers rows by column and writes a row group whenever a batch is full."""

    def __init__(self, path: Path, kind: type) -> None:
        import pyarrow.parquet  # noqa: PLC0415  optional and heavy

        hints = get_type_hints(kind)
        self._names = [field.name for field in msgspec.structs.fields(kind)]
        self._schema = pyarrow.schema([(name, _column_type(hints[name])) for name in self._names])
        self._schema = self._schema.with_metadata({"chaoskit.history": str(VERSION)})
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._columns: list[list[Any]] = [[] for _ in self._names]
        self._rows = 0
        self._open = True

    def add(self, record: msgspec.Struct) -> None:
        for column, name in zip(self._columns, self._names, strict=True):
            value = getattr(record, name)
            column.append(value.name.lower() if isinstance(value, Outcome) else value)
        self._rows += 1
        if len(self._columns[0]) >= _BATCH:
            self._flush()

    def close(self) -> int:
        """Rows in all."""
        self._flush()
        self._open = False
        self._writer.close()
        return self._rows

    def abandon(self) -> None:
        """Nothing when it is closed."""
        if self._open:
            self._open = False
            self._writer.close()

    def _flush(self) -> None:
        import pyarrow  # noqa: PLC0415  optional and heavy

        if self._columns[0]:
            arrays = [
                pyarrow.array(column, field.type) for column, field in zip(self._columns, self._schema, strict=True)
            ]
            self._writer.write_table(pyarrow.table(arrays, schema=self._schema))
            for column in self._columns:
                column.clear()


def _column_type(hint: Any) -> pyarrow.DataType:
    import pyarrow  # noqa: PLC0415  optional and heavy

    origin = get_origin(hint)
    if origin is tuple:
        return pyarrow.list_(_column_type(get_args(hint)[0]))
    if origin in (types.UnionType,):
        return _column_type(next(one for one in get_args(hint) if one is not types.NoneType))
    if origin is Literal or hint is str or (isinstance(hint, type) and issubclass(hint, IntEnum)):
        return pyarrow.string()
    return {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}[hint]
