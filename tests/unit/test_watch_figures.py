"""Watches: defects planted in a healthy history are counted exactly, and blamed on whom they belong to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.contracts import Promises
from chaoskit.figures import compute
from chaoskit.history import History, LogGap, WatchClosed, WatchEvent, WatchOpened
from chaoskit.results import WatchFigures
from tests.unit.histories import MEMBERS, MS, PUTS, S, Scenario, at, healthy

pytestmark = pytest.mark.unit


def _watch(history: History) -> WatchFigures:
    return compute(history, Promises()).watch


def _of_watch(history: History, watch: int) -> list[int]:
    """Indexes of a watch's events, without the first and the last three: there a loss would be a tail."""
    return [index for index, event in enumerate(history.watch_events) if event.watch == watch][3:-3]


def _broken(figures: WatchFigures) -> dict[str, int]:
    return {promise: count for promise, count in figures.broken.items() if count}


scenarios = st.builds(
    Scenario,
    seed=st.integers(0, 10**6),
    put_rate=st.sampled_from([5, 20]),
    keys=st.integers(1, 30),
    watches=st.integers(1, 8),
    leases=st.integers(0, 4),
    resume_at_s=st.one_of(st.none(), st.floats(2, 16)),
    reconnect_s=st.floats(0.01, 3),
)


@settings(max_examples=25, deadline=None)
@given(scenarios)
def test_a_healthy_run_is_acquitted(scenario: Scenario) -> None:
    figures = _watch(healthy(scenario))
    assert _broken(figures) == {}
    assert (figures.silent_loss, figures.client_loss, figures.declared_loss, figures.tail) == (0, 0, 0, 0)
    assert (figures.duplicate, figures.out_of_order, figures.late) == (0, 0, 0)
    assert figures.delivered == figures.expected


@settings(max_examples=25, deadline=None)
@given(scenarios, st.data())
def test_dropped_events_are_silent_losses_counted_exactly(scenario: Scenario, data: st.DataObject) -> None:
    history = healthy(scenario)
    chosen = _of_watch(history, 0)
    dropped = set(data.draw(st.lists(st.sampled_from(chosen), unique=True, max_size=20)))
    # the last event before a reset must stay: behind it a resuming client would ask again
    last = {max(i for i, e in enumerate(history.watch_events) if (e.watch, e.attempt) == (0, a)) for a in {
        event.attempt for event in history.watch_events if event.watch == 0
    }}  # fmt: skip
    dropped -= last
    history.watch_events = [event for index, event in enumerate(history.watch_events) if index not in dropped]
    figures = _watch(history)
    assert figures.silent_loss == figures.broken["Reliable"] == len(dropped)
    assert _broken(figures) == ({"Reliable": len(dropped)} if dropped else {})
    assert figures.delivered + len(dropped) == figures.expected


@settings(max_examples=20, deadline=None)
@given(scenarios, st.data())
def test_repeated_events_are_duplicates_counted_exactly(scenario: Scenario, data: st.DataObject) -> None:
    history = healthy(scenario)
    repeated = set(data.draw(st.lists(st.sampled_from(_of_watch(history, 0)), unique=True, max_size=20)))
    history.watch_events = [
        event for index, event in enumerate(history.watch_events) for _ in range(1 + (index in repeated))
    ]
    figures = _watch(history)
    assert figures.duplicate == figures.broken["Unique"] == len(repeated)
    assert (figures.silent_loss, figures.out_of_order) == (0, 0)


def test_an_event_that_comes_again_after_a_reconnect_is_a_duplicate() -> None:
    history = healthy(Scenario(watches=1, resume_at_s=8))
    last = [event for event in history.watch_events if event.attempt == 0][-1]
    first = next(i for i, event in enumerate(history.watch_events) if event.attempt == 1)
    history.watch_opened[1] = replace(history.watch_opened[1], start_revision=last.revision)
    again = replace(last, attempt=1, response=0, received_ns=history.watch_events[first].received_ns)
    history.watch_events.insert(first, again)
    assert _broken(_watch(history)) == {"Unique": 1}


def test_swapped_events_are_out_of_order_and_not_lost() -> None:
    history = healthy()
    for index in _of_watch(history, 0)[::50]:
        one, other = history.watch_events[index : index + 2]
        history.watch_events[index] = replace(other, received_ns=one.received_ns, response=one.response)
        history.watch_events[index + 1] = replace(one, received_ns=other.received_ns, response=other.response)
    figures = _watch(history)
    assert figures.out_of_order == figures.broken["Ordered"] == len(_of_watch(history, 0)[::50])
    assert (figures.silent_loss, figures.duplicate) == (0, 0)


def test_a_delayed_event_is_late_by_its_lag() -> None:
    history = healthy()
    index = _of_watch(history, 1)[4]
    event = history.watch_events[index]
    history.watch_events[index] = replace(event, received_ns=event.received_ns + 6 * S)
    figures = _watch(history)
    assert figures.late == 1
    assert figures.lag_ms.max == pytest.approx(6010, abs=15)


def test_an_event_of_another_key_breaks_filter() -> None:
    history = healthy()
    own = next(event for event in history.watch_events if event.watch == 1)
    foreign = [event for event in history.watch_events if event.watch == 0 and event.key != own.key][-1]
    history.watch_events.append(replace(foreign, watch=1, received_ns=at(18.3), response=99_999))
    assert _watch(history).broken["Filter"] == 1


def test_a_forged_value_is_not_truthful() -> None:
    history = healthy()
    index = _of_watch(history, 0)[10]
    history.watch_events[index] = replace(history.watch_events[index], value="0.666666")
    figures = _watch(history)
    assert _broken(figures) == {"Truthful": 1}


def test_an_event_below_the_start_revision_breaks_resumable() -> None:
    history = healthy()
    opened = history.watch_opened[0]
    early = next(event for event in history.log if event.revision <= opened.created_revision and PUTS in event.key)
    first = next(index for index, event in enumerate(history.watch_events) if event.watch == 0)
    history.watch_events.insert(
        first,
        WatchEvent(
            0, 0, 0, 99_999, early.revision, "put", early.key, early.value, history.watch_events[first].received_ns
        ),
    )
    assert _broken(_watch(history)) == {"Resumable": 1}


@pytest.mark.parametrize("above", [0, 5])
def test_an_event_at_or_below_an_earlier_progress_breaks_bookmarkable(above: int) -> None:
    history = healthy()
    progress = next(one for one in history.watch_progress if one.watch == 1 and one.received_ns > at(8))
    index = max(i for i, e in enumerate(history.watch_events) if e.watch == 1 and e.received_ns < progress.received_ns)
    event = history.watch_events[index]
    history.watch_events[index] = replace(event, received_ns=progress.received_ns + 1)
    history.watch_progress[history.watch_progress.index(progress)] = replace(progress, revision=event.revision + above)
    assert _broken(_watch(history)) == {"Bookmarkable": 1}


def _with_transaction(split: bool) -> History:
    """The revision after the last put writes two keys at once; watch 0 sees both."""
    history = healthy(Scenario(watches=1))
    marker = history.marks[2]
    index = next(i for i, mark in enumerate(history.marks) if mark.kind == "final_marker")
    moved = [replace(e, revision=e.revision + 1) if e.revision == marker.revision else e for e in history.log]
    keys = (f"{PUTS}a", f"{PUTS}b")
    moved += [
        replace(e, revision=marker.revision, key=key, value=key)
        for e in history.log
        if e.revision == marker.revision
        for key in keys
    ]
    history.log = moved
    history.marks[index] = replace(marker, revision=marker.revision + 1)
    history.watch_progress[-1] = replace(history.watch_progress[-1], revision=marker.revision + 1)
    received_ns = history.watch_progress[-1].received_ns - 1
    for number, key in enumerate(keys):
        history.watch_events.append(
            WatchEvent(0, 0, 0, 900_000 + number * split, marker.revision, "put", key, key, received_ns)
        )
    return history


def test_a_revision_split_over_responses_breaks_atomic() -> None:
    assert _broken(_watch(_with_transaction(split=False))) == {}
    assert _broken(_watch(_with_transaction(split=True))) == {"Atomic": 1}


def test_half_a_transaction_is_a_silent_loss() -> None:
    history = _with_transaction(split=False)
    history.watch_events.pop()
    assert _broken(_watch(history)) == {"Reliable": 1}


# ── whose fault it is ────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 3))
def test_a_naive_client_loses_the_reconnect_gap_and_a_resuming_one_does_not(seed: int, reconnect_s: float) -> None:
    scenario = Scenario(seed=seed, put_rate=40, resume_at_s=8, reconnect_s=reconnect_s, mode="naive", watches=3)
    naive = healthy(scenario)
    figures = _watch(naive)
    delivered = {(event.watch, event.revision) for event in naive.watch_events}
    scenario.mode = "resume"
    resuming = healthy(scenario)
    owed = {(event.watch, event.revision) for event in resuming.watch_events}
    assert figures.client_loss == len(owed - delivered) > 0
    assert (figures.silent_loss, _broken(figures)) == (0, {})
    assert _watch(resuming).client_loss == 0
    assert figures.reconnects == {"reset": 3}


def test_silent_loss_and_client_loss_in_one_run_are_told_apart() -> None:
    history = healthy(Scenario(resume_at_s=8, mode="naive", watches=1))
    before = _watch(history)
    index = next(i for i, event in enumerate(history.watch_events) if event.received_ns > at(12))
    del history.watch_events[index]
    after = _watch(history)
    assert (after.silent_loss, after.client_loss) == (1, before.client_loss)


def _compacted(compact_behind: int) -> tuple[History, int]:
    """A watch that is cancelled as compacted and goes on at the compact revision. Returns what it never got, too."""
    history = healthy(Scenario(watches=1, resume_at_s=8))
    passed = max(event.revision for event in history.watch_events if event.attempt == 0)
    compact = passed + 1 + compact_behind
    history.watch_closed = [
        replace(end, reason="compacted", compact_revision=compact) if end.attempt == 0 else end
        for end in history.watch_closed
    ]
    history.watch_opened = [
        replace(opened, start_revision=max(compact, passed + 1)) if opened.attempt else opened
        for opened in history.watch_opened
    ]
    lost = [event for event in history.watch_events if event.attempt and event.revision < compact]
    history.watch_events = [event for event in history.watch_events if event not in lost]
    return history, len(lost)


def test_what_a_compaction_declared_is_declared_loss() -> None:
    history, lost = _compacted(compact_behind=12)
    figures = _watch(history)
    assert figures.declared_loss == lost > 0
    assert (figures.silent_loss, figures.client_loss, _broken(figures)) == (0, 0, {})


def test_a_compaction_cancel_without_need_breaks_compact_cancel() -> None:
    history, _ = _compacted(compact_behind=0)
    assert _broken(_watch(history)) == {"CompactCancel": 1}


def test_events_after_the_compaction_that_the_client_skipped_are_its_own_loss() -> None:
    history, lost = _compacted(compact_behind=12)
    reopened = next(opened for opened in history.watch_opened if opened.attempt)
    behind = [event for event in history.watch_events if event.attempt][:5]
    history.watch_opened = [
        replace(opened, start_revision=behind[-1].revision + 1) if opened is reopened else opened
        for opened in history.watch_opened
    ]
    history.watch_events = [event for event in history.watch_events if event not in behind]
    figures = _watch(history)
    assert (figures.declared_loss, figures.client_loss) == (lost, 5)


def test_what_had_not_come_at_the_end_is_a_tail_and_no_loss() -> None:
    history = healthy()
    mine = [index for index, event in enumerate(history.watch_events) if event.watch == 0]
    history.watch_events = [event for index, event in enumerate(history.watch_events) if index not in mine[-7:]]
    passed = max(event.revision for event in history.watch_events if event.watch == 0)
    history.watch_progress = [one for one in history.watch_progress if one.watch or one.revision <= passed]
    figures = _watch(history)
    assert (figures.tail, figures.silent_loss) == (7, 0)
    assert figures.delivered + 7 == figures.expected


def test_without_a_final_marker_nobody_knows_the_tail() -> None:
    history = healthy()
    history.marks = [mark for mark in history.marks if mark.kind != "final_marker"]
    assert _watch(history).tail is None


# ── holes in the ground truth ────────────────────────────────────────────────────────────────────────────────────────


def _hole(history: History, revision: int) -> None:
    """Nobody knows what this revision changed: no audit saw it, and its write was not acknowledged."""
    history.log = [event for event in history.log if event.revision != revision]
    history.log_gaps = [LogGap(member, revision, revision, "compacted") for member in MEMBERS]
    history.operations = [op for op in history.operations if op.revision != revision]


def test_a_hole_in_the_ground_truth_makes_a_count_of_zero_unknown() -> None:
    history = healthy()
    _hole(history, 700)
    history.watch_events = [event for event in history.watch_events if event.revision != 700]
    figures = _watch(history)
    assert (figures.silent_loss, figures.client_loss) == (None, None)
    assert _broken(figures) == {}


def test_an_event_of_an_unknown_revision_is_not_called_forged() -> None:
    history = healthy()
    _hole(history, 700)
    assert _broken(_watch(history)) == {}


def test_a_loss_beside_a_hole_is_still_a_loss() -> None:
    history = healthy()
    _hole(history, 700)
    index = _of_watch(history, 0)[100]
    del history.watch_events[index]
    assert _watch(history).silent_loss == 1


def test_a_revision_that_one_audit_watcher_missed_is_no_hole() -> None:
    history = healthy()
    history.log = [event for event in history.log if not (event.member == "n1" and 600 < event.revision < 650)]
    history.log_gaps = [LogGap("n1", 601, 649, "restarted")]
    figures = compute(history, Promises())
    assert figures.watch.silent_loss == 0
    assert figures.log.missing_revisions == 0
    assert figures.log.broken["Members agree"] == 0


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _silent_between(history: History, watch: int, begins_s: float, ends_s: float) -> None:
    """What came meanwhile comes at the end."""
    history.watch_events = [
        replace(event, received_ns=at(ends_s))
        if event.watch == watch and at(begins_s) <= event.received_ns < at(ends_s)
        else event
        for event in history.watch_events
    ]
    history.watch_progress = [
        one for one in history.watch_progress if one.watch != watch or not at(begins_s) <= one.received_ns < at(ends_s)
    ]


def test_a_stall_is_the_time_in_which_events_waited_and_nothing_came() -> None:
    history = healthy(Scenario(watches=2))
    _silent_between(history, 0, 11, 14)
    assert _watch(history).stall_max_s == pytest.approx(3.0, abs=0.05)


def test_silence_before_there_was_anything_to_tell_is_no_stall() -> None:
    history = healthy(Scenario(watches=0, put_rate=20))
    rare = next(event for event in history.log if event.key.startswith(PUTS) and event.seen_ns > at(15))
    history.log = [replace(e, key=f"{PUTS}rare") if e.revision == rare.revision else e for e in history.log]
    history.operations = [
        replace(op, key=f"{PUTS}rare") if op.revision == rare.revision else op for op in history.operations
    ]
    history.watch_opened = [WatchOpened(0, 0, 0, "n1", f"{PUTS}rare", "", 0, 5, at(0.5), "resume")]
    history.watch_events = [
        WatchEvent(0, 0, 0, 0, rare.revision, "put", f"{PUTS}rare", rare.value, rare.seen_ns + 30 * MS)
    ]
    figures = _watch(history)
    assert figures.stall_max_s == pytest.approx(0.03, abs=0.003)
    assert figures.tail == 0


def test_a_quiet_key_is_no_stall() -> None:
    history = healthy(Scenario(watches=2, keys=2))
    quiet = f"{PUTS}0001"
    history.operations = [op for op in history.operations if op.key != quiet]
    history.log = [event for event in history.log if event.key != quiet or event.revision < 200]
    history.watch_events = [event for event in history.watch_events if event.key != quiet or event.revision < 200]
    history.watch_progress = [one for one in history.watch_progress if one.watch == 0]
    stalls = [phase.watch.stall_max_s for phase in compute(history, Promises()).phases]
    assert all(stall is not None and stall < 0.1 for stall in stalls)


def test_a_stall_lasts_while_a_resuming_watch_reconnects() -> None:
    history = healthy(Scenario(watches=1, resume_at_s=8, reconnect_s=2.0))
    assert _watch(history).stall_max_s == pytest.approx(2.0, abs=0.1)


def test_a_stall_lasts_until_a_naive_watch_reopens_behind_what_it_missed() -> None:
    history = healthy(Scenario(watches=1, resume_at_s=8, reconnect_s=2.0, mode="naive"))
    assert _watch(history).stall_max_s == pytest.approx(2.0, abs=0.1)


def test_lag_counts_from_the_opening_for_what_was_written_before_it() -> None:
    history = healthy(Scenario(watches=1))
    history.watch_opened[0] = replace(history.watch_opened[0], start_revision=2, at_ns=at(12))
    history.watch_events = []
    for event in history.log:
        if event.member == "n1" and event.key.startswith(PUTS):
            received_ns = max(event.seen_ns, at(12)) + 10 * MS
            history.watch_events.append(
                WatchEvent(0, 0, 0, event.revision, event.revision, "put", event.key, event.value, received_ns)
            )
    figures = _watch(history)
    assert figures.lag_ms.max == pytest.approx(10, abs=2)
    assert (figures.silent_loss, figures.late) == (0, 0)


def test_an_event_before_its_acknowledgement_has_no_lag_and_is_counted() -> None:
    history = healthy()
    op = next(op for op in history.operations if op.kind == "put" and op.due_ns > at(8))
    history.operations[history.operations.index(op)] = replace(op, done_ns=op.done_ns + 50 * MS)
    figures = _watch(history)
    assert figures.before_ack > 0
    assert figures.silent_loss == 0


def test_losses_belong_to_the_phase_in_which_their_write_was_acknowledged() -> None:
    history = healthy()
    index = next(i for i, event in enumerate(history.watch_events) if event.watch == 0 and event.received_ns > at(7))
    del history.watch_events[index]
    losses = {phase.name: phase.watch.silent_loss for phase in compute(history, Promises()).phases}
    assert losses["fault:pause"] == 1
    assert sum(loss or 0 for loss in losses.values()) == 1


def test_every_close_but_our_own_is_a_reconnect() -> None:
    history = healthy()
    history.watch_closed.append(WatchClosed(0, 3, 0, at(9), "no leader"))
    assert _watch(history).reconnects == {"no leader": 1}


def test_watches_of_two_workers_with_one_number_are_two_watches() -> None:
    history = healthy(Scenario(watches=1))
    history.watch_opened += [
        WatchOpened(1, 0, 0, "n2", f"{PUTS}none", "", 0, 100, at(0.5), "resume"),
    ]
    figures = _watch(history)
    assert (figures.watches, figures.silent_loss, figures.tail) == (2, 0, 0)
