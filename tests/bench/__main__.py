"""chaoskit's load worker against its peers: etcd's own Go benchmark, grpcio under gevent, Locust + etcd3.

All of them on one fresh three-member cluster through Toxiproxy, in rounds of alternating order. Times mean nothing from
one machine to the next; ratios of one run do. See docs/performance.md.

    make bench
    make bench BENCH='--only put --clients 256 --rounds 5 --seconds 5'
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from chaoskit.clusters.programs import Unusable
from tests.bench import bed, chaoskit_side, go_side, plot, python_side
from tests.bench import report as reports
from tests.bench.bed import Bed
from tests.bench.chaoskit_side import Chaoskit
from tests.bench.child import ContenderBroke
from tests.bench.contest import FIGURES, Cell, Contest, Sample, turns
from tests.bench.report import GO, GRPCIO, OURS, PLAIN, Report, Soak

_CLIENTS = (1, 16, 64, 256)
_EVERYBODY_AT = 64  # clients at which the two slow peers are measured, too, unless `--everybody`
_RATE_CLIENTS = 64
_SOAK_PER_S = 5000
_SHORT = {"chaoskit": OURS, "go": GO, "grpcio": GRPCIO, "etcd3": PLAIN}  # on the command line


class Contender(Protocol):
    name: str

    def cannot(self, cell: Cell) -> str:
        """Why it has no such figure; "" when it has."""

    def run(self, cell: Cell, bed: Bed) -> Sample:
        """One measurement. Raises ContenderBroke."""


def main() -> int:
    options = options_of(sys.argv[1:])
    folder = Path(options.out) / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    contenders = _contenders([_SHORT[short] for short in options.without])
    report = Report(_command(), _machine(), options.rounds, options.seconds, [])
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as scratch,
        bed.made(Path(scratch), options.seconds, not options.ordinary, _say) as made,
    ):
        for cell in _cells(options):
            report.contests.append(measure(cell, contenders, made, options.rounds, everybody=options.everybody))
            _write(report, folder)  # after each cell: a bench that is stopped leaves what it has
        if options.rate and (saturation := _saturation(report.contests)):
            cell = Cell("put", _RATE_CLIENTS, round(saturation * options.rate / 100))
            report.contests.append(measure(cell, contenders, made, options.rounds, everybody=False))
            _write(report, folder)
        if options.soak:
            report.soak = Soak(_SOAK_PER_S, options.soak, chaoskit_side.soak(made, _SOAK_PER_S, options.soak))
            _write(report, folder)
    print(reports.markdown(report))
    _say(f"written to {folder} after {time.monotonic() - began:.0f} s")
    return 0


def measure(cell: Cell, contenders: Sequence[Contender], bed: Bed, rounds: int, *, everybody: bool) -> Contest:
    """All rounds of one cell. A contender that breaks is left out from then on, and said so."""
    left_out = {one.name: why for one in contenders if (why := one.cannot(cell))}
    if not everybody and cell.clients != _EVERYBODY_AT:
        left_out |= {one.name: "not asked for" for one in contenders if one.name in (GRPCIO, PLAIN)}
    contest = Contest(cell, {one.name: [] for one in contenders if one.name not in left_out}, left_out)
    by_name = {one.name: one for one in contenders}
    for number in range(rounds):
        for name in turns(list(contest.samples), number):
            try:
                sample = by_name[name].run(cell, bed)
            except ContenderBroke as broke:
                contest.left_out[name] = str(broke)
                del contest.samples[name]
                _say(f"{cell}: {name} is left out: {broke}")
                continue
            contest.samples[name].append(sample)
            _say(f"{cell}, round {number + 1}: {name}: {sample.per_s:,.0f}/s, {sample.cpu_us:.1f} µs each")
    return contest


def options_of(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", type=_figure, metavar="FIGURE[:CLIENTS]",
        help=f"one of {', '.join(FIGURES)}, such as put or put:256; may be given again; default all",
    )  # fmt: skip
    parser.add_argument(
        "--clients", type=_whole, action="append", help="at once; may be given again; default 1 16 64 256"
    )
    parser.add_argument("--rounds", type=_whole, default=5, help="each measures everybody once; default 5")
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement; default 1.5")
    parser.add_argument(
        "--everybody", action="store_true", help=f"grpcio and etcd3 not just at {_EVERYBODY_AT} clients"
    )
    parser.add_argument(
        "--rate", type=float, default=70.0, metavar="PERCENT",
        help=f"of the puts/s that both reach with {_RATE_CLIENTS} clients, for P99 at one offered rate; 0 for none",
    )  # fmt: skip
    parser.add_argument(
        "--soak",
        type=float,
        default=0,
        metavar="SECONDS",
        help=f"memory of a worker at {_SOAK_PER_S:,} puts/s; default 0",
    )
    parser.add_argument(
        "--ordinary", action="store_true",
        help="no real-time priority for anybody; by default every contender has the one that chaoskit's worker has",
    )  # fmt: skip
    parser.add_argument("--without", action="append", default=[], choices=_SHORT, help="leave this one out")
    parser.add_argument("--out", default="reports/bench", help="the report goes into a folder of its own in there")
    return parser.parse_args(words)


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _figure(text: str) -> tuple[str, int]:
    """Name and clients; 0 clients are as many as `--clients` says."""
    name, colon, clients = text.partition(":")
    if name not in FIGURES:
        raise argparse.ArgumentTypeError(f"{name!r} is no figure; there are {', '.join(FIGURES)}")
    return name, _whole(clients) if colon else 0


def _contenders(without: Sequence[str]) -> list[Contender]:
    contenders: list[Contender] = [Chaoskit()]
    if GO not in without:
        try:
            contenders.append(go_side.GoBenchmark(go_side.program(_say)))
        except Unusable as reason:
            _say(f"without etcd's Go benchmark: {reason}")
    contenders += [python_side.grpcio(), python_side.plain()]
    return [one for one in contenders if one.name not in without]


def _cells(options: argparse.Namespace) -> Iterator[Cell]:
    for figure, own in options.only or [(figure, 0) for figure in FIGURES]:
        for clients in [own] if own else options.clients or _CLIENTS:
            yield Cell(figure, clients)


def _saturation(contests: Sequence[Contest]) -> float | None:
    """Puts per second that both reach, by medians; None when it was not measured for both."""
    for contest in contests:
        if contest.cell == Cell("put", _RATE_CLIENTS):
            reached = [contest.spread(name, "per_s") for name in (OURS, GO)]
            return min((spread.median for spread in reached if spread), default=None) if all(reached) else None
    return None


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(reports.markdown(report) + "\n")
    (folder / "bench.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    (folder / "bench.svg").write_text(plot.svg(report.contests))
    latest = folder.with_name("latest")
    with suppress(OSError):
        latest.unlink(missing_ok=True)
        latest.symlink_to(folder.name)


def _command() -> str:
    own = shlex.join(sys.argv[1:])
    return f"make bench BENCH={shlex.quote(own)}" if own else "make bench"


def _machine() -> str:
    return f"{os.cpu_count()} cores, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
