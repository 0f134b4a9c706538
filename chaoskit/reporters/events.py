"""events.jsonl: what happened when, one JSON object a line, for people with grep and tools with jq."""

from __future__ import annotations

import msgspec

from chaoskit.results import Results

name = "events"
file = "events.jsonl"


def render(results: Results) -> str:
    """In the order of time."""
    return "".join(msgspec.json.encode(event).decode() + "\n" for event in results.events)
