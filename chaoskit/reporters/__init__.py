"""What is said about a run: one format = one file here and one entry in `REPORTERS`.

A reporter is a module with `name`, `file` and `render(results) -> str` (contracts.Reporter). Masking of secrets and
writing are done here, once for all of them. The terminal summary is no file, so it is not in the table.
"""

from __future__ import annotations

from pathlib import Path

from chaoskit.contracts import Reporter
from chaoskit.reporters import environment, events, junit, markdown, results_json, timeline
from chaoskit.reporters.files import write_atomically
from chaoskit.reporters.safety import safe
from chaoskit.results import Results

REPORTERS: dict[str, Reporter] = {
    reporter.name: reporter for reporter in (results_json, markdown, junit, events, timeline, environment)
}
"""By name. results.json comes first: should a later one crash, it is there."""


def render(name: str, results: Results) -> str:
    """One format as text."""
    return REPORTERS[name].render(safe(results))


def write_all(results: Results, run_dir: Path) -> list[Path]:
    """Write every format; a reader never sees half a file."""
    shown = safe(results)
    return [write_atomically(run_dir / reporter.file, reporter.render(shown)) for reporter in REPORTERS.values()]
