"""A run drawn as text: one character per second, its height the goodput and its colour the phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaoskit.results import Figures, PhaseFigures

_BARS = "▁▂▃▄▅▆▇█"
NOTHING = "×"
"""A second of load in which nothing was acknowledged."""

_LETTERS = {"warmup": "w", "baseline": "b", "fault": "F", "burst": "B", "recovery": "r", "drain": "d", "step": "s"}
COLOURS = {
    "warmup": "bright_black",
    "baseline": "green",
    "fault": "red",
    "burst": "magenta",
    "step": "blue",
    "recovery": "cyan",
    "drain": "bright_black",
}
_LOUDEST_FIRST = ("fault", "burst", "step", "recovery", "baseline", "warmup", "drain")


@dataclass(frozen=True, slots=True)
class Strip:
    """Cells of equal length; the three texts and lists are parallel."""

    label: str  # what the bars count
    bars: str
    kinds: tuple[str, ...]  # kind of phase of each cell
    seconds_per_cell: int
    peak: float

    @property
    def letters(self) -> str:
        return "".join(map(letter, self.kinds))

    @property
    def scale(self) -> str:
        """How to read it."""
        cell = f"one character is {self.seconds_per_cell} s"
        return f"{self.label}, peak {self.peak:,.0f} · {cell} · {NOTHING} nothing acknowledged"


def letter(kind: str) -> str:
    """Of a kind of phase; harm is in capitals."""
    return _LETTERS.get(kind, " ")


def strip(label: str, values: Sequence[float], kinds: Sequence[str], width: int) -> Strip:
    """At most `width` cells. A cell of several seconds shows the worst of them, so that no gap is smoothed away."""
    per_cell = max(1, -(-len(values) // max(1, width)))
    peak = max(values, default=0.0)
    starts = range(0, len(values), per_cell)
    cell_kinds = tuple(_loudest(kinds[start : start + per_cell]) for start in starts)
    lowest = [min(values[start : start + per_cell]) for start in starts]
    bars = "".join(_bar(value, peak, kind) for value, kind in zip(lowest, cell_kinds, strict=True))
    return Strip(label, bars, cell_kinds, per_cell, peak)


def strip_of(figures: Figures, width: int) -> Strip:
    """Of a whole run: writes where there are any, for reads may go on while no write does. Empty without phases."""
    if not figures.phases:
        return Strip("", "", (), 1, 0.0)
    phases = [phase_at(figures, second.at_s) for second in figures.timeline]
    kinds = [phase.kind if phase else "" for phase in phases]
    counted = [second.ok for second in figures.timeline]
    label, values = goodput(counted)
    return strip(label, values, kinds, width)


def goodput(counts: Sequence[Mapping[str, int]]) -> tuple[str, list[float]]:
    """Per second, with its name: puts, or all operations when nothing was put."""
    if any(ok.get("put") for ok in counts):
        return "puts/s", [float(ok.get("put", 0)) for ok in counts]
    return "operations/s", [float(sum(ok.values())) for ok in counts]


def phase_at(figures: Figures, second: int) -> PhaseFigures | None:
    """The phase in the middle of a second; where two overlap, the one that began later.

    None between phases: from the injection of a fault to its proof, which is long when a member takes its time to go.
    """
    middle_s = second + 0.5
    begun = [phase for phase in figures.phases if phase.begins_s <= middle_s]
    latest = max(begun, key=lambda phase: phase.begins_s, default=None)
    return latest if latest and middle_s <= latest.begins_s + latest.seconds + 0.5 else None


def _loudest(kinds: Sequence[str]) -> str:
    return next((kind for kind in _LOUDEST_FIRST if kind in kinds), kinds[0])


def _bar(value: float, peak: float, kind: str) -> str:
    if value > 0:
        return _BARS[min(len(_BARS) - 1, int(value / peak * len(_BARS)))]
    return " " if kind in {"warmup", "drain"} else NOTHING  # no arrivals there, so nothing is missing
