"""Every e2e test ends with the same question: is anything left?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.chaoskit_process import nothing_left, scratch_left


@pytest.fixture(autouse=True)
def leaves_nothing_behind(tmp_path: Path) -> Iterator[None]:
    yield
    assert nothing_left() == {}, "processes left behind"
    assert scratch_left(tmp_path / "reports") == [], "data left behind"
