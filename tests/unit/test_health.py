"""What a load worker says of its own health."""

from __future__ import annotations

import gc

import pytest

from chaoskit.load.worker.health import Health

pytestmark = pytest.mark.unit


def test_collections_of_garbage_are_told_once_with_the_longest_and_their_sum() -> None:
    health = Health()
    health.sample(0, 0, 0)
    for _ in range(3):
        gc.collect()
    told = health.sample(0, 0, 0)
    assert 0 < told.gc_pause_ms < told.gc_ms <= 3 * told.gc_pause_ms
    assert health.sample(0, 0, 0).gc_ms <= told.gc_ms / 3, "what was told is not told again"
