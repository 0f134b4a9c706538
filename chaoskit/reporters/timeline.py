"""timeline.csv: one line per second, for spreadsheets and plots."""

from __future__ import annotations

import csv
from io import StringIO

from chaoskit.reporters.strip import phase_at
from chaoskit.results import Results, Second

name = "timeline"
file = "timeline.csv"


def render(results: Results) -> str:
    """One column of acknowledged operations per kind; an empty cell is a figure that could not be computed."""
    kinds = sorted({kind for second in results.timeline for kind in second.ok})
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["at_s", "phase", *(f"{kind}_ok" for kind in kinds), "failed", "unknown", "p99_ms", "watch_events", "leader"]
    )
    table.writerows(_row(results, second, kinds) for second in results.timeline)
    return text.getvalue()


def _row(results: Results, second: Second, kinds: list[str]) -> list[object]:
    phase = phase_at(results, second.at_s)
    counts = [second.ok.get(kind, 0) for kind in kinds]
    watched = (second.failed, second.unknown, second.p99_ms, second.watch_events, second.leader)
    return [second.at_s, phase.name if phase else "", *counts, *watched]
