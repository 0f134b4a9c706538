"""timeline.csv: one line per second, for spreadsheets and plots."""

from __future__ import annotations

import csv
from io import StringIO

from chaoskit.reporters.strip import phase_at
from chaoskit.results import Results, Second

name = "timeline"
file = "timeline.csv"

GENERATOR = ("generator_lag_p99_ms", "generator_cpu", "loop_stall_ms", "gc_pause_ms")
"""How the load generator itself was, by its name in `Second`."""
USED = (
    "cpu",
    "memory_bytes",
    "read_bytes_per_s",
    "written_bytes_per_s",
    "received_bytes_per_s",
    "sent_bytes_per_s",
    "fsync_ms",
    "commit_ms",
    "proposals_pending",
    "db_bytes",
)
"""What is told of each member, by its name in `Second`."""


def render(results: Results) -> str:
    """One column of acknowledged operations per kind; an empty cell is a figure that could not be computed."""
    kinds = sorted({kind for second in results.timeline for kind in second.ok})
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    members = sorted({member for second in results.timeline for what in USED for member in getattr(second, what)})
    counted = ["failed", "unknown", "p99_ms", "watch_events", "leader", *GENERATOR]
    used = [f"{member}_{what}" for member in members for what in USED]
    table.writerow(["at_s", "phase", *(f"{kind}_ok" for kind in kinds), *counted, *used])
    table.writerows(_row(results, second, kinds, members) for second in results.timeline)
    return text.getvalue()


def _row(results: Results, second: Second, kinds: list[str], members: list[str]) -> list[object]:
    phase = phase_at(results, second.at_s)
    counts = [second.ok.get(kind, 0) for kind in kinds]
    watched = (second.failed, second.unknown, second.p99_ms, second.watch_events, second.leader)
    generator = [_short(getattr(second, what)) for what in GENERATOR]
    used = [_short(getattr(second, what).get(member)) for member in members for what in USED]
    return [second.at_s, phase.name if phase else "", *counts, *watched, *generator, *used]


def _short(figure: float | None) -> float | None:
    """Six digits say more than the measurement does."""
    return float(f"{figure:.6g}") if isinstance(figure, float) else figure
