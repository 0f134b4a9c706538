"""Figures of a cluster that others write to as well: their revisions are no holes of ours, and ours still are."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from chaoskit.contracts import Promises
from chaoskit.figures import compute, truth
from chaoskit.figures.truth import Truth
from chaoskit.history import History, LogGap, Mark, Outcome
from tests.unit.histories import MEMBERS, Scenario, at, healthy

pytestmark = pytest.mark.unit

BASE = 1000
EVERY = 3


def theirs_between(revision: int) -> int:
    """Others write two revisions between any two of ours, from BASE on."""
    return BASE + EVERY * revision if revision else 0


def shared(scenario: Scenario | None = None, *, marked: bool = True) -> History:
    """A healthy run, moved into a cluster of others."""
    history = healthy(scenario)
    for name in ("operations", "watch_events", "watch_progress", "log", "marks", "write_probes", "log_gaps"):
        records = getattr(history, name)
        records[:] = [_moved(record) for record in records]
    history.watch_opened[:] = [
        replace(
            opened,
            created_revision=theirs_between(opened.created_revision),
            start_revision=theirs_between(opened.start_revision),
        )
        for opened in history.watch_opened
    ]
    if marked:
        history.marks.insert(0, Mark("shared_cluster", at(0), revision=BASE))
    return history


def _moved(record):  # type: ignore[no-untyped-def]
    return replace(record, revision=theirs_between(record.revision)) if hasattr(record, "revision") else record


def built(history: History) -> Truth:
    return truth.build(history)


def test_revisions_of_others_are_no_holes() -> None:
    found = built(shared())
    assert found.holes == []
    assert found.figures.revisions > 100
    assert not any(found.figures.broken.values())
    figures = compute(shared(), Promises())
    assert figures.watch.silent_loss == 0
    assert figures.lease.early_expiry == 0


def test_without_the_mark_they_would_be() -> None:
    assert built(shared(marked=False)).figures.missing_revisions > 100


def test_headers_that_tell_of_later_writes_of_others_ask_for_nothing() -> None:
    history = shared()
    read = next(op for op in history.operations if op.kind == "read")
    history.operations.append(replace(read, number=10**6, revision=10**6))
    history.watch_progress.append(replace(history.watch_progress[-1], revision=10**6))
    assert built(history).holes == []


def test_what_no_audit_watcher_passed_is_a_hole() -> None:
    history = shared()
    last = max(event.revision for event in history.log)
    cut_off = last - EVERY * 20
    history.log[:] = [event for event in history.log if event.revision <= cut_off]
    found = built(history)
    assert found.holes, "nobody has seen what is between our own last writes"
    assert min(first for first, _ in found.holes) > cut_off
    assert found.blind_between(cut_off, last)


def test_a_gap_of_one_watcher_is_covered_by_another_and_a_gap_of_all_is_not() -> None:
    history = shared()
    first, last = BASE + 30, BASE + 60

    def blind(member: str) -> None:
        history.log_gaps.append(LogGap(member, first, last, "compacted"))
        history.log[:] = [
            event for event in history.log if not (event.member == member and first <= event.revision <= last)
        ]

    blind(MEMBERS[0])
    assert built(history).holes == []
    for member in MEMBERS[1:]:
        blind(member)
    holes = built(history).holes
    assert holes and all(first <= begin <= end <= last for begin, end in holes)


def test_a_lost_acknowledged_write_is_still_found() -> None:
    history = shared()
    op = next(op for op in history.operations if op.kind == "put" and op.outcome is Outcome.OK)
    history.log[:] = [event for event in history.log if event.revision != op.revision]
    assert built(history).figures.broken["Acknowledged writes are kept"] == 1


def test_a_silently_lost_watch_event_is_still_found() -> None:
    history = shared()
    history.watch_events.pop(len(history.watch_events) // 2)
    figures = compute(history, Promises())
    assert figures.watch.silent_loss == 1
