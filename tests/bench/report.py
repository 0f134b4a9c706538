"""What a bench says: a table against the goals, a line for each cell, everything as JSON, a plot. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from tests.bench import chaoskit_side, go_side, python_side
from tests.bench.contest import FIGURES, Contest, Spread

OURS, GO, PLAIN, GRPCIO = chaoskit_side.NAME, go_side.NAME, python_side.PLAIN, python_side.GRPCIO
CONTENDERS = (OURS, GO, GRPCIO, PLAIN)


_MEMORY_LIMIT = 300_000_000
_SOAK_S = 600


class Soak(msgspec.Struct, frozen=True):
    """Resident memory of one worker at a steady rate, at even distances in time."""

    rate_per_s: int
    seconds: float
    rss_bytes: list[int]

    def line(self) -> str:
        first, *_, last = shown = [f"{each / (1 << 20):.0f}" for each in self.rss_bytes]
        return (
            f"Memory of a worker at {self.rate_per_s:,} puts/s for {self.seconds:g} s: {first} MiB after a tenth, "
            f"{last} MiB at the end, {max(shown, key=int)} MiB at most."
        )

    def goal(self) -> str:
        """What stands beside the goal; flat is less than a tenth more at the end than after a tenth of the time."""
        first, *_, last = self.rss_bytes
        most = max(self.rss_bytes)
        met = most <= _MEMORY_LIMIT and last < 1.1 * first
        return f"**{most / (1 << 20):.0f} MiB** at most, {first / (1 << 20):.0f} after a tenth | {_yes(met)}"


class Report(msgspec.Struct):
    """A whole bench; its JSON is `bench.json`."""

    command: str
    machine: str
    rounds: int
    seconds: float
    contests: list[Contest]
    soak: Soak | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """One line of the table that the load engine is to reach."""

    what: str
    bound: Literal["≥", "≤"]
    limit: float
    found: Callable[[Contest], Spread | None]  # None for every cell but its own
    digits: int = 2

    def line(self, contests: Sequence[Contest]) -> str:
        spreads = [spread for contest in contests if (spread := self.found(contest))]
        if not spreads:
            return f"| {self.what} | {self.bound} {self._show(self.limit)} | not measured | |"
        median = spreads[0].median
        met = median >= self.limit if self.bound == "≥" else median <= self.limit
        return f"| {self.what} | {self.bound} {self._show(self.limit)} | {self._all(spreads[0])} | {_yes(met)} |"

    def _all(self, spread: Spread) -> str:
        return f"**{self._show(spread.median)}** ({self._show(spread.lowest)} to {self._show(spread.highest)})"

    def _show(self, value: float) -> str:
        return f"{value:,.{self.digits}f}"


def _ratio(figure: str, clients: int, peer: str, measure: str) -> Callable[[Contest], Spread | None]:
    def found(contest: Contest) -> Spread | None:
        cell = contest.cell
        fits = (cell.figure, cell.clients, cell.rate_per_s) == (figure, clients, 0)
        return contest.ratio(OURS, peer, measure) if fits else None

    return found


def _at_a_rate(contest: Contest) -> Spread | None:
    return contest.ratio(OURS, GO, "p99_ms") if contest.cell.rate_per_s else None


def _events(contest: Contest) -> Spread | None:
    return contest.spread(OURS, "per_s") if contest.cell.figure == "watch" and contest.cell.clients == 64 else None


GOALS = (
    Goal("puts/s, 256 clients ÷ Go benchmark", "≥", 1.0, _ratio("put", 256, GO, "per_s")),
    Goal("serializable reads/s, 64 clients ÷ Go benchmark", "≥", 1.0, _ratio("range-s", 64, GO, "per_s")),
    Goal("client CPU per put, 64 clients ÷ Locust + etcd3", "≤", 1 / 6, _ratio("put", 64, PLAIN, "cpu_us")),
    Goal("P99 of puts at 70 % of saturation ÷ Go benchmark", "≤", 1.1, _at_a_rate),
    Goal("watch events/s received by one worker, 63 watches", "≥", 100_000, _events, digits=0),
)


def markdown(report: Report) -> str:
    """The page that a bench leaves."""
    left_out = {
        f"{contender}, {contest.cell}: {why}"
        for contest in report.contests
        for contender, why in contest.left_out.items()
    }
    return "\n".join(
        [
            f"`{report.command}`",
            "",
            f"Medians of {report.rounds} rounds of {report.seconds:g} s in turn on one cluster through Toxiproxy,",
            f"lowest and highest in parentheses; {report.machine}.",
            "",
            goals(report.contests, report.soak),
            "",
            *([report.soak.line(), ""] if report.soak else []),
            summary(report.contests),
            "",
            details(report.contests),
            "",
            *(f"- Left out: {line}." for line in sorted(left_out)),
        ]
    )


def goals(contests: Sequence[Contest], soak: Soak | None = None) -> str:
    lines = ["| goal | limit | measured | met |", "|---|---|---|---|"]
    of_memory = soak.goal() if soak and soak.seconds >= _SOAK_S else "not measured |"
    memory = f"| memory of a worker, ten minutes at 5,000 puts/s | ≤ 300 MB, flat | {of_memory} |"
    return "\n".join([*lines, *(goal.line(contests) for goal in GOALS), memory])


def summary(contests: Sequence[Contest]) -> str:
    """One line for each cell: chaoskit, and what it is of its peers."""
    lines = [
        "| | clients | chaoskit/s | ÷ Go | ÷ grpcio | ÷ etcd3 | P99 ÷ Go | CPU µs | ÷ Go | ÷ grpcio | ÷ etcd3 | MiB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for contest in contests:
        cell = contest.cell
        name = cell.figure + f" at {cell.rate_per_s:,}/s" * bool(cell.rate_per_s)
        cells = [
            _short(contest.spread(OURS, "per_s"), 0),
            *(_short(contest.ratio(OURS, peer, "per_s")) for peer in (GO, GRPCIO, PLAIN)),
            _short(contest.ratio(OURS, GO, "p99_ms")),
            _short(contest.spread(OURS, "cpu_us"), 1),
            *(_short(contest.ratio(OURS, peer, "cpu_us")) for peer in (GO, GRPCIO, PLAIN)),
            _short(contest.spread(OURS, "rss_mib"), 0),
        ]
        lines.append(f"| {name} | {cell.clients} | {' | '.join(cells)} |")
    return "\n".join(lines)


def details(contests: Sequence[Contest]) -> str:
    """Every contender's own figures."""
    lines = [
        "| | clients | | per second | P99 ms | P99 from due, ms | CPU µs | memory MiB | errors |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for contest in contests:
        cell = contest.cell
        what = FIGURES[cell.figure] + f" at {cell.rate_per_s:,}/s" * bool(cell.rate_per_s)
        for name, samples in contest.samples.items():
            cells = [
                _long(contest.spread(name, "per_s"), 0),
                _long(contest.spread(name, "p99_ms"), 1),
                _long(contest.spread(name, "due_p99_ms"), 1),
                _long(contest.spread(name, "cpu_us"), 1),
                _short(contest.spread(name, "rss_mib"), 0),
                str(sum(sample.errors for sample in samples)),
            ]
            lines.append(f"| {what} | {cell.clients} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(spread: Spread | None, digits: int = 2) -> str:
    return f"{spread.median:,.{digits}f}" if spread else "–"


def _long(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "–"
    median, lowest, highest = (f"{value:,.{digits}f}" for value in spread)
    return f"{median} ({lowest} to {highest})"


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"
