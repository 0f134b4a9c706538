"""environment.json: what the run ran on. Figures of two machines must not be compared."""

from __future__ import annotations

import msgspec

from chaoskit.results import Results

name = "environment"
file = "environment.json"


def render(results: Results) -> str:
    """One flat JSON object."""
    return msgspec.json.format(msgspec.json.encode(results.environment), indent=2).decode() + "\n"
