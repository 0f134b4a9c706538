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
    members = sorted({member for second in results.timeline for member in second.cpu | second.memory_bytes})
    counted = ["failed", "unknown", "p99_ms", "watch_events", "leader"]
    used = [f"{member}_{what}" for member in members for what in ("cpu", "memory_bytes")]
    table.writerow(["at_s", "phase", *(f"{kind}_ok" for kind in kinds), *counted, *used])
    table.writerows(_row(results, second, kinds, members) for second in results.timeline)
    return text.getvalue()


def _row(results: Results, second: Second, kinds: list[str], members: list[str]) -> list[object]:
    phase = phase_at(results, second.at_s)
    counts = [second.ok.get(kind, 0) for kind in kinds]
    watched = (second.failed, second.unknown, second.p99_ms, second.watch_events, second.leader)
    used = [cell for member in members for cell in (second.cpu.get(member), second.memory_bytes.get(member))]
    return [second.at_s, phase.name if phase else "", *counts, *watched, *used]
