"""Every e2e test ends with the same question: is anything left?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from tests.backends import EACH_BACKEND, containers_left
from tests.e2e.chaoskit_process import BACKEND_OF_TEST, nothing_left, scratch_left


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On every backend with the mark `each_backend`, else on the one that the test's name decides: half on each."""
    if "backend" in metafunc.fixturenames:
        every = bool(metafunc.definition.get_closest_marker("each_backend"))
        usable = [one for one in EACH_BACKEND if not one.marks]
        chosen = (crc32(metafunc.function.__name__.encode()) >> 16) % max(1, len(usable))
        metafunc.parametrize("backend", EACH_BACKEND if every else usable[chosen : chosen + 1], indirect=True)


@pytest.fixture
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
