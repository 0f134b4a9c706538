"""A response as one record gives the same history as each of its events as one."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.contracts import WatchMessage
from chaoskit.history import LogEvent, ShardReader, ShardWriter, WatchDelivery, WatchEvent
from chaoskit.history.gathered import gather
from chaoskit.history.records import value_head, value_id

pytestmark = pytest.mark.unit

Event = tuple[int, Literal["put", "delete"], bytes, bytes]

event: st.SearchStrategy[Event] = st.tuples(
    st.integers(1, 1 << 62), st.sampled_from(["put", "delete"]), st.binary(max_size=80), st.binary(max_size=200)
)
responses = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 1 << 60), st.lists(event, min_size=1, max_size=6)),
    max_size=12,
)


def as_events(watch: int, attempt: int, response: int, received_ns: int, events: list[Event]) -> list[WatchEvent]:
    """What a worker wrote before there were deliveries."""
    return [
        WatchEvent(
            5, watch, attempt, response, revision, kind, key.decode("ascii", "replace"), value_id(value), received_ns
        )
        for revision, kind, key, value in events
    ]


@given(responses)
def test_both_forms_give_equal_histories(told: list[tuple[int, int, int, list[Event]]]) -> None:
    singles: list[Any] = []
    packed: list[Any] = []
    for response, (watch, attempt, received_ns, events) in enumerate(told):
        singles += as_events(watch, attempt, response, received_ns, events)
        heads = [(revision, kind, key, value_head(value)) for revision, kind, key, value in events]
        packed.append(WatchDelivery(5, watch, attempt, response, received_ns, heads))
    assert gather(packed) == gather(singles)


@given(told=responses)
def test_a_shard_brings_deliveries_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, int, int, list[Event]]]
) -> None:
    packed = [
        WatchDelivery(5, watch, attempt, number, received_ns, [(r, t, k, value_head(v)) for r, t, k, v in events])
        for number, (watch, attempt, received_ns, events) in enumerate(told)
    ]
    path = tmp_path_factory.mktemp("shard") / "worker-0.shard"
    with ShardWriter(path) as writer:
        for one in packed:
            writer.add(one)
    read = list(ShardReader(path))
    assert gather(read) == gather(list(packed))


def test_a_value_is_known_by_its_head_whether_it_was_cut_when_recorded_or_when_read() -> None:
    for value in (b"3.17|......", b"foreign " * 20, b"", b"|", b"\xff\x00|x"):
        assert value_id(value_head(value)) == value_id(value)


def test_a_message_without_events_still_is_one() -> None:
    assert WatchMessage("progress", 7) == WatchMessage("progress", 7, ())


def test_what_several_members_and_watches_say_of_one_write_is_held_once() -> None:
    """Judging holds a whole run: with three members and many watches their events are most of it."""
    logs = [
        LogEvent(member, 7, "put", f"/key/{1}", f"0.{number}", 0, 1)
        for number in range(5)
        for member in ("n1", "n2", "n3")
    ]
    packed = [WatchDelivery(0, watch, 0, 1, 1, [(7, "put", b"/key/1", b"%d" % 77)]) for watch in range(3)]
    found = gather([*logs, *packed])
    assert (len({id(event.value) for event in found.log}), len({id(event.key) for event in found.log})) == (5, 1)
    assert len({id(event.value) for event in found.watch_events}) == 1
