"""etcd's own benchmark in Go: built from its recipe here, told what to do, its report read."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from chaoskit.clusters import go_builds
from chaoskit.clusters.binaries import cache_dir, locked
from chaoskit.clusters.programs import Program, Server
from chaoskit.contracts import Say
from tests.bench import child
from tests.bench.bed import KEYS, PUT_CLIENTS, Bed, watchers_of
from tests.bench.child import ContenderBroke
from tests.bench.contest import Cell, Sample
from tests.bench.workloads import VALUE_BYTES

NAME = "go benchmark"
RECIPE = Path(__file__).with_name("go_benchmark")
MODULE = "go.etcd.io/etcd/v3"

_BENCHMARK = Server("etcd-benchmark", (Program("benchmark", f"{MODULE}/tools/benchmark", ()),), "", "", "")
_MARGIN_S = 30.0
_FIRST_GUESS = 3000  # operations of the run that finds out how many fill the time


def recipe_version() -> str:
    found = re.search(rf"^\s*{re.escape(MODULE)} v(\S+)", (RECIPE / "go.mod").read_text(), re.MULTILINE)
    assert found
    return found[1]


def program(say: Say) -> Path:
    """From the cache, or built: about a minute, once. Raises Unusable without Go or its modules."""
    home = cache_dir() / "bench" / f"etcd-benchmark-{recipe_version()}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.parent / f".{home.name}.lock", "etcd's benchmark", say):
        if not (home / "benchmark").is_file():
            with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
                work, new = Path(scratch) / "work", Path(scratch) / "new"
                work.mkdir()
                new.mkdir()
                go_builds.build(_BENCHMARK, recipe_version(), recipe=RECIPE, work=work, into=new, say=say)
                shutil.rmtree(home, ignore_errors=True)
                new.rename(home)
    return home / "benchmark"


class GoBenchmark:
    """It is told a number of operations, not of seconds: a short run of its own finds out how many fill the time."""

    name = NAME

    def __init__(self, program: Path) -> None:
        self._program = program
        self._per_s: dict[Cell, float] = {}  # as it went last

    def cannot(self, cell: Cell) -> str:
        return ""

    def run(self, cell: Cell, bed: Bed) -> Sample:
        if cell.rate_per_s:
            return self._once(cell, bed, round(cell.rate_per_s * bed.seconds))
        if cell not in self._per_s:
            guess = _FIRST_GUESS * (cell.clients if cell.figure == "watch" else 1)
            self._per_s[cell] = self._once(cell, bed, guess).per_s
        sample = self._once(cell, bed, round(self._per_s[cell] * bed.seconds))
        self._per_s[cell] = sample.per_s
        return sample

    def _once(self, cell: Cell, bed: Bed, operations: int) -> Sample:
        argv = [self._program, *arguments(cell, bed, operations)]
        deadline_s = 10 * bed.seconds + _MARGIN_S
        return sample_in(child.run(argv, deadline_s=deadline_s, cwd=bed.turn(), real_time=bed.real_time), cell)


def arguments(cell: Cell, bed: Bed, operations: int) -> list[str]:
    """What chaoskit does in the same cell: as many connections, keys and values of the same size."""
    clients = PUT_CLIENTS if cell.figure == "watch" else cell.clients
    connections = len(bed.endpoints) * (2 if cell.figure == "watch" else 1)  # calls and watches have their own
    common = [
        *("--endpoints", ",".join(bed.endpoints.values())),
        *("--conns", str(min(connections, clients)), "--clients", str(clients), "--precise"),
    ]
    rate = ["--rate", str(cell.rate_per_s)] if cell.rate_per_s else []
    total = ["--total", str(operations), *rate]
    sizes = ["--key-size", str(len(bed.key)), "--val-size", str(VALUE_BYTES), "--key-space-size", str(KEYS)]
    match cell.figure:
        case "put":
            return ["put", *common, *total, *sizes]
        case "range-l" | "range-s":
            return ["range", bed.key, *common, *total, "--consistency", cell.figure[-1]]
        case "txn":
            return ["txn-put", *common, *total, *sizes, "--txn-ops", "1"]
        case "watch":
            watchers = watchers_of(cell.clients, len(bed.endpoints))
            streams = min(len(bed.endpoints), watchers)
            return [
                *("watch", *common, "--streams", str(streams), "--watch-per-stream", str(watchers // streams)),
                *("--watched-key-total", "1", "--key-size", str(len(bed.key))),
                *("--put-total", str(max(operations // watchers, 1))),
            ]
        case _:
            return ["lease-keepalive", *common, *total]


def sample_in(ended: child.Ended, cell: Cell) -> Sample:
    """Read its report; of two, the last. Raises ContenderBroke when it is none, or reports errors.

    Its process lives for the measurement alone, so all of the process's CPU counts: start and report are some 20 ms.
    """
    *_, text = ended.output.split("Summary:")
    errors = sum(int(number) for number in re.findall(r"^  \[(\d+)\]\t\D", text, re.MULTILINE))
    per_s, seconds = _number(r"Requests/sec:\s+([\d.e+-]+)", text), _number(r"Total:\s+([\d.e+-]+) secs", text)
    if per_s is None or seconds is None:
        raise ContenderBroke(f"etcd's benchmark did not report:\n{ended.output[-2000:]}")
    timed = cell.figure != "watch"  # there it times its own bookkeeping
    return Sample(
        operations=round(per_s * seconds),
        seconds=seconds,
        cpu_s=ended.cpu_s,
        rss_bytes=ended.rss_bytes,
        p50_ms=_ms(r"50% in ([\d.e+-]+) secs", text) if timed else None,
        p99_ms=_ms(r"99% in ([\d.e+-]+) secs", text) if timed else None,
        errors=errors,
    )


def _number(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return float(found[1]) if found else None


def _ms(pattern: str, text: str) -> float | None:
    seconds = _number(pattern, text)
    return None if seconds is None else seconds * 1e3
