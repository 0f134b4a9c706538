"""Every module of integration tests ends with the same question: is anything left at the container daemon?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends import containers_left


@pytest.fixture(scope="module", autouse=True)
def leaves_no_container_behind() -> Iterator[None]:
    before = set(containers_left())
    yield
    assert set(containers_left()) <= before, "containers, networks or volumes left behind"
