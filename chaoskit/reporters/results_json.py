"""results.json: every figure and finding, for machines first and for `less` second: what matters most stands on top."""

from __future__ import annotations

from pathlib import Path

import msgspec

from chaoskit.errors import InvalidExperiment, Problem
from chaoskit.results import SCHEMA_VERSION, Results

name = "json"
file = "results.json"

_ON_TOP = (
    "verdict",
    "exit_code",
    "summary",
    "schema_version",
    "experiment",
    "title",
    "run_id",
    "started_at",
    "seed",
    "chaoskit_version",
    "findings",
    "notes",
)
_AT_THE_END = ("environment", "events", "timeline")


def render(results: Results) -> str:
    """JSON, indented."""
    plain = msgspec.to_builtins(results)
    middle = [field for field in plain if field not in _ON_TOP + _AT_THE_END]
    ordered = {field: plain[field] for field in (*_ON_TOP, *middle, *_AT_THE_END)}
    return msgspec.json.format(msgspec.json.encode(ordered), indent=2).decode() + "\n"


def read_results(path: Path) -> Results:
    """What `render` wrote. Raises InvalidExperiment when there is no such file, or it is of another schema version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    try:
        version = msgspec.json.decode(content, type=_Versioned).schema_version
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(path, f"is not a results.json: {error}") from error
    if version != SCHEMA_VERSION:
        raise _refused(
            path,
            f"has schema version {version}, this chaoskit reads {SCHEMA_VERSION}; "
            f"`chaoskit judge {path.parent}` writes it anew from the history",
        )
    try:
        return msgspec.json.decode(content, type=Results)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(path, f"is damaged: {error}; `chaoskit judge {path.parent}` writes it anew") from error


class _Versioned(msgspec.Struct):
    schema_version: int


def _refused(path: Path, what: str) -> InvalidExperiment:
    return InvalidExperiment([Problem(where="", what=f"{path} {what}")])
