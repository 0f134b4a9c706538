"""Golden files: what a report looked like when somebody last looked at it."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def assert_like_golden(name: str, text: str) -> None:
    """Compare with the file of that name. `GOLDEN=write pytest …` writes it anew: look at the difference in git."""
    path = FOLDER / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
