"""Every e2e test ends with the same question: is anything left?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends import EACH_BACKEND, containers_left
from tests.e2e.chaoskit_process import BACKEND_OF_TEST, nothing_left, scratch_left


@pytest.fixture(params=EACH_BACKEND if os.environ.get("CHAOSKIT_TEST_WHOLE_RUNS_IN_CONTAINERS") else ["process"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every run of the test is on it."""
    monkeypatch.setenv(BACKEND_OF_TEST, request.param)
    return str(request.param)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(tmp_path: Path) -> Iterator[None]:
    things = set(containers_left())
    yield
    assert nothing_left() == {}, "processes left behind"
    assert set(containers_left()) <= things, "containers, networks or volumes left behind"
    assert scratch_left(tmp_path / "reports") == [], "data left behind"
