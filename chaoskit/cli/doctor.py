"""`chaoskit doctor`: what this machine lacks, and how to get it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer
from rich.console import Console

from chaoskit.clusters import BACKENDS, external_debt, journal, procfs
from chaoskit.clusters.binaries import KNOWN_VERSIONS, cache_dir, cached
from chaoskit.contracts import key_prefix
from chaoskit.verdict import ExitCode

_FILES_WANTED = 4096
_DISK_WANTED = 2 << 30


@dataclass(frozen=True, slots=True)
class Check:
    what: str
    state: Literal["ok", "note", "missing"]
    detail: str


def doctor(json_: Annotated[bool, typer.Option("--json", help="The checks as JSON on stdout.")] = False) -> None:
    """Say what this machine lacks to run experiments, and how to get it. Starts nothing, downloads nothing."""
    checks = list(_checks())
    if json_:
        json.dump([asdict(check) for check in checks], sys.stdout, indent=2)
        print()
    else:
        _show(checks)
    if any(check.state == "missing" for check in checks):
        raise typer.Exit(ExitCode.INFRASTRUCTURE)


def _checks() -> Iterator[Check]:
    yield Check("python", "ok", sys.version.split()[0])
    if problem := procfs.problem():
        yield Check("system", "missing", problem)
        return
    yield from _backends()
    yield from _debts()
    yield from _servers()
    yield _files()
    yield _disk()


def _backends() -> Iterator[Check]:
    """Nothing is missing as long as one of them works."""
    missing = {name: make().missing() for name, make in BACKENDS.items()}
    usable = [name for name, lacks in missing.items() if not lacks]
    for name, lacks in missing.items():
        state: Literal["ok", "note", "missing"] = "ok" if not lacks else "note" if usable else "missing"
        yield Check(f"backend {name}", state, "; ".join(lacks) or BACKENDS[name]().about())


def _debts() -> Iterator[Check]:
    """Keys that killed runs left in clusters of others; the clusters are not touched."""
    for run_id, endpoints in external_debt.owing(journal.state_dir()):
        what = f"left keys below {key_prefix(run_id)} in the cluster at {', '.join(endpoints)}; `chaoskit clean`"
        yield Check(f"run {run_id}", "note", f"{what} removes them")


def _servers() -> Iterator[Check]:
    go = shutil.which("go")
    yield Check("go", "ok" if go else "note", go or "not on PATH; needed only for servers that no release page offers")
    for server, versions in KNOWN_VERSIONS.items():
        for version in versions:
            path = cached(server, version)
            yield Check(
                f"{server} {version}", "ok" if path else "note", str(path or "not here yet; the first run gets it")
            )


def _files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= _FILES_WANTED
    return Check(
        "open files",
        "ok" if enough else "note",
        f"{soft}" + ("" if enough else f"; `ulimit -n {min(hard, _FILES_WANTED)}` gives more"),
    )


def _disk() -> Check:
    folder = next(path for path in (cache_dir(), *cache_dir().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    state: Literal["ok", "note", "missing"] = "missing" if not writable else "ok" if free > _DISK_WANTED else "note"
    return Check(
        "cache",
        state,
        f"{cache_dir()}, {free / 2**30:.1f} GiB free"
        + ("" if writable else f"; {folder} is not writable: set CHAOSKIT_CACHE"),
    )


def _show(checks: list[Check]) -> None:
    console = Console(stderr=True, highlight=False)
    colours = {"ok": "green", "note": "yellow", "missing": "red"}
    width = max(len(check.what) for check in checks)
    for check in checks:
        console.print(f"[{colours[check.state]}]{check.state:8}[/] {check.what:{width}}  ", end="")
        console.print(check.detail, markup=False)
