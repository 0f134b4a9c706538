"""The native client's way back to a member that is gone: not too soon, not too late, not all at once."""

from __future__ import annotations

from itertools import pairwise

import pytest

from chaoskit.systems.etcd.clients.native import channel as channel_module
from chaoskit.systems.etcd.clients.native.channel import Channel
from chaoskit.systems.etcd.clients.native.headers import End

pytestmark = pytest.mark.unit

STEP_S = 0.01


def dials(endpoint: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a channel dials a member that refuses, while calls come every 10 ms of a clock that the test turns."""
    now, tried = 100.0, list[float]()

    def refuse(_address: tuple[str, int]) -> None:
        tried.append(now)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(channel_module, "monotonic", lambda: now)
    monkeypatch.setattr(channel_module.socket, "create_connection", refuse)
    monkeypatch.setattr(channel_module, "_REFUSAL_S", 0)
    channel = Channel(endpoint, None)
    while now < 100 + seconds:
        found = channel.connection(1)
        assert isinstance(found, End)
        assert (found.status, found.untouched) == ("UNAVAILABLE", True)
        assert "Connection refused" in found.message
        now += STEP_S
    channel.close()
    return tried


def test_pauses_between_dials_grow_to_half_a_second_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = [after - before for before, after in pairwise(dials("n1:2379", 10, monkeypatch))]
    assert pauses[0] == pytest.approx(0.05, abs=0.01 + STEP_S)
    assert all(0.4 <= pause <= 0.6 + 2 * STEP_S for pause in pauses[5:])
    assert len(pauses) > 15


def test_two_channels_do_not_come_back_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = dials("n1:2379", 10, monkeypatch), dials("n2:2379", 10, monkeypatch)
    assert len({round(at, 3) for at in one[5:]} & {round(at, 3) for at in other[5:]}) < len(one) / 2
