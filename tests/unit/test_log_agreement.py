"""The LOG: contradictions between members and with acknowledgements, and holes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.figures import truth
from chaoskit.history import History, LogEvent, LogGap, Outcome
from chaoskit.results import LogFigures
from tests.unit.histories import MEMBERS, PUTS, Scenario, at, healthy, put

pytestmark = pytest.mark.unit

SCENARIO = Scenario(put_rate=20, watches=1)


def _log(history: History) -> LogFigures:
    return truth.build(history).figures


def _broken(history: History) -> dict[str, int]:
    return {promise: count for promise, count in _log(history).broken.items() if count}


def _an_ack(history: History) -> int:
    return next(i for i, op in enumerate(history.operations) if op.kind == "put" and op.due_ns > at(8))


def test_a_healthy_log_is_whole_and_agrees() -> None:
    log = _log(healthy(SCENARIO))
    assert set(log.broken.values()) == {0}
    assert (log.first_revision, log.missing_revisions) == (2, 0)
    assert set(log.reached.values()) == {log.last_revision}


def test_members_with_different_values_disagree() -> None:
    history = healthy(SCENARIO)
    index = next(i for i, e in enumerate(history.log) if e.member == "n2" and e.revision == 50)
    history.log[index] = replace(history.log[index], value="0.666")
    assert _broken(history) == {"Members agree": 1}


def test_a_member_that_passed_a_revision_without_its_event_disagrees() -> None:
    history = healthy(SCENARIO)
    history.log = [event for event in history.log if (event.member, event.revision) != ("n3", 50)]
    assert _broken(history) == {"Members agree": 1}


def test_a_member_that_lags_at_the_end_does_not_disagree() -> None:
    history = healthy(SCENARIO)
    history.log = [event for event in history.log if event.member != "n3" or event.revision < 50]
    assert _broken(history) == {}


def test_an_acknowledged_write_that_all_members_passed_without_is_lost() -> None:
    history = healthy(SCENARIO)
    op = history.operations[_an_ack(history)]
    history.log = [event for event in history.log if event.revision != op.revision]
    assert _broken(history) == {"Acknowledged writes are kept": 1}


def test_an_acknowledged_write_that_nobody_could_see_is_not_called_lost() -> None:
    history = healthy(SCENARIO)
    revision = history.operations[_an_ack(history)].revision
    history.log = [event for event in history.log if event.revision != revision]
    history.log_gaps = [LogGap(member, revision, revision, "compacted") for member in MEMBERS]
    assert _broken(history) == {}
    assert _log(history).missing_revisions == 0


def test_an_acknowledged_write_with_another_value_in_the_log_is_lost() -> None:
    history = healthy(SCENARIO)
    index = _an_ack(history)
    history.operations[index] = replace(history.operations[index], value="0.424242")
    assert _broken(history) == {"Acknowledged writes are kept": 1}


def test_two_acknowledged_writes_with_one_revision_contradict() -> None:
    history = healthy(SCENARIO)
    op = history.operations[_an_ack(history)]
    history.operations.append(replace(op, number=99_999, key=f"{PUTS}other", value="0.99999"))
    assert _broken(history)["One revision per write"] == 1


def test_a_failed_write_that_is_in_the_log_was_a_broken_promise() -> None:
    history = healthy(SCENARIO)
    index = _an_ack(history)
    history.operations[index] = replace(
        history.operations[index], outcome=Outcome.FAILED, revision=0, error="REFUSED: no"
    )
    assert _broken(history) == {"Failed writes did not happen": 1}


def test_an_unknown_write_may_have_happened_or_not() -> None:
    history = healthy(SCENARIO)
    index = _an_ack(history)
    history.operations[index] = replace(history.operations[index], outcome=Outcome.UNKNOWN, revision=0)
    history.operations.append(put(99_999, 9, outcome=Outcome.UNKNOWN))
    assert _broken(history) == {}
    assert _log(history).unknown_applied == 1


def test_one_write_at_two_revisions_happened_twice() -> None:
    history = healthy(SCENARIO)
    op = history.operations[_an_ack(history)]
    twice = next(event for event in history.log if event.revision == op.revision + 1)
    history.operations = [one for one in history.operations if one.revision != twice.revision]
    history.log = [
        replace(event, key=op.key, value=op.value) if event.revision == twice.revision else event
        for event in history.log
    ]
    assert _broken(history) == {"Writes happen once": 1}


def test_a_revision_that_nobody_saw_is_a_hole() -> None:
    history = healthy(SCENARIO)
    revision = history.operations[_an_ack(history)].revision
    history.log = [event for event in history.log if event.revision != revision]
    history.operations = [op for op in history.operations if op.revision != revision]
    log = truth.build(history)
    assert log.holes == [(revision, revision)]
    assert log.blind_between(revision, revision + 5)
    assert log.blind_between(revision - 5, revision)
    assert not log.blind_between(revision + 1, revision + 5)
    assert not log.blind_between(revision - 5, revision - 1)


def test_a_look_into_the_middle_of_a_hole_is_blind() -> None:
    history = healthy(SCENARIO)
    history.log = [event for event in history.log if not 100 <= event.revision <= 110]
    history.operations = [op for op in history.operations if not 100 <= op.revision <= 110]
    log = truth.build(history)
    assert log.holes == [(100, 110)]
    assert log.blind_between(104, 105)
    assert log.blind_between(110, 120)
    assert not log.blind_between(111, 120)
    assert not log.blind_between(90, 99)


def test_what_somebody_was_told_of_beyond_the_log_is_a_hole() -> None:
    history = healthy(SCENARIO)
    last = _log(history).last_revision
    assert last is not None
    history.log = [event for event in history.log if event.revision < last - 3]
    history.operations = [op for op in history.operations if op.revision < last - 3]
    assert _log(history).missing_revisions == 4


keys = st.text("abc", min_size=1, max_size=3)


@given(st.lists(keys, min_size=1, max_size=30), keys, keys, st.integers(0, 40), st.integers(0, 40))
def test_a_range_of_the_log_is_what_filtering_it_gives(
    names: list[str], key: str, range_end: str, first: int, last: int
) -> None:
    history = History(log=[LogEvent("n1", 2 + i, "put", name, str(i), 0, at(i)) for i, name in enumerate(names)])
    log = truth.build(history)
    for end in (range_end, "", "\0"):
        found = log.within(key, end).between(first, last)
        assert found == [e for e in log.entries if truth.in_range(e.key, key, end) and first <= e.revision <= last]
