"""Thousands of watches that open and reopen at once: in bounded numbers, none left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from chaoskit.contracts import CallFailed, WatchMessage
from chaoskit.history import Outcome, ShardWriter
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.recorder import Recorder
from chaoskit.load.worker.watching import Watchers

pytestmark = pytest.mark.unit


class Herd:
    """A client that counts how many watches are opened at once, and can end all of them."""

    def __init__(self, member: str) -> None:
        self.member = member
        self.opening = self.most = self.opened = self.refusals = 0
        self.delivers: list[Callable[[WatchMessage], None]] = []
        self.streams: list[int | None] = []
        self.created_revision = 1

    def watch(
        self, key: bytes, range_end: bytes, start: int, deliver: Callable[[WatchMessage], None], **given: Any
    ) -> Herd:
        self.opening += 1
        self.most = max(self.most, self.opening)
        gevent.sleep(0)
        gevent.sleep(0)
        self.opening -= 1
        if self.refusals:
            self.refusals -= 1
            raise CallFailed(Outcome.FAILED, "UNAVAILABLE", "not yet")
        self.opened += 1
        self.delivers.append(deliver)
        self.streams.append(given["stream"])
        return self

    def end_all(self) -> None:
        delivers, self.delivers = self.delivers, []
        for deliver in delivers:
            deliver(WatchMessage("closed", reason="reset"))

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class Factory:
    name = "herd"
    environment: dict[str, str] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.made: dict[str, Herd] = {}

    def connect(self, member: str, endpoint: str, *, reads_late: bool = False) -> Any:
        return self.made.setdefault(member, Herd(member))


@pytest.fixture
def factory() -> Factory:
    return Factory()


def keep(factory: Factory, tmp_path: Path, count: int) -> tuple[Watchers, Event]:
    connections = Connections(factory, {"n1": "", "n2": ""})
    watchers, ended = Watchers(connections, Recorder(0, ShardWriter(tmp_path / "w.shard"), print), 5.0, True), Event()
    for number in range(count):
        watch = watchers.new(key="a", range_end="b", mode="resume", at=0, stream=number % 3)
        gevent.spawn(watchers.keep, watch, ended, lambda: None)
    until(lambda: watchers.open == count)
    return watchers, ended


def until(what: Callable[[], bool]) -> None:
    with gevent.Timeout(20):
        while not what():
            gevent.sleep(0.001)


def test_a_thousand_watches_open_a_hundred_at_a_time_on_the_streams_they_were_given(
    factory: Factory, tmp_path: Path
) -> None:
    _, ended = keep(factory, tmp_path, 1000)
    assert factory.made["n1"].most == 100
    assert factory.made["n1"].opened == 1000
    assert set(factory.made["n1"].streams) == {0, 1, 2}
    ended.set()


def test_when_they_all_end_at_once_they_come_back_a_hundred_at_a_time_at_the_next_member(
    factory: Factory, tmp_path: Path
) -> None:
    watchers, ended = keep(factory, tmp_path, 1000)
    factory.connect("n2", "").refusals = 300
    factory.made["n1"].end_all()
    until(lambda: watchers.open < 1000)
    until(lambda: watchers.open == 1000)
    assert 0 < factory.made["n2"].most <= 100  # those that end late come late on a busy machine
    assert factory.made["n1"].most == 100
    ended.set()


def test_a_load_that_ends_while_they_wait_for_their_turn_leaves_none_behind(factory: Factory, tmp_path: Path) -> None:
    watchers, ended = keep(factory, tmp_path, 500)
    factory.made["n1"].end_all()
    ended.set()
    until(lambda: not watchers._kept)
