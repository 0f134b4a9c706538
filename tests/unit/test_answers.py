"""What clients were told, against the LOG: honest histories are acquitted, each planted lie is caught as what it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chaoskit.checkers.answers import AnswersChecker
from chaoskit.contracts import Promises
from chaoskit.figures import answers, compute, truth
from chaoskit.history import ClockOffset, History, LogEvent, Operation, Outcome
from chaoskit.results import AnswerFigures
from chaoskit.verdict import Verdict
from tests.unit.histories import MEMBERS, PUTS, Scenario, healthy
from tests.unit.store import mixed

pytestmark = pytest.mark.unit


def figures(history: History) -> AnswerFigures:
    return answers.check(history, truth.build(history))


def broken(history: History) -> dict[str, int]:
    """Every guarantee that was broken, of the LOG and of answers."""
    log = truth.build(history)
    counts = log.figures.broken | answers.check(history, log).broken
    return {promise: count for promise, count in counts.items() if count}


def index_of(history: History, kind: str, *, after: int = 0, **facts: object) -> int:
    """The first acknowledged operation of this kind behind a revision with these facts."""
    return next(
        index
        for index, op in enumerate(history.operations)
        if op.kind == kind
        and op.outcome is Outcome.OK
        and op.revision > after
        and all(getattr(op, name) == fact for name, fact in facts.items())
    )


def lie(history: History, index: int, **changes: object) -> Operation:
    """The operation tells something else from now on."""
    told = history.operations[index] = replace(history.operations[index], **changes)
    return told


def unseen(history: History, revision: int) -> None:
    """No member has the change of this revision."""
    history.log = [event for event in history.log if event.revision != revision]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 8), st.floats(0, 1))
def test_no_honest_history_is_accused_whatever_was_lost(seed: int, keys: int, unknown: float) -> None:
    history = mixed(seed, keys=keys, unknown=unknown)
    assert broken(history) == {}
    found = figures(history)
    asked = [op for op in history.operations if op.outcome is Outcome.OK and op.kind != "put"]
    assert found.checked + found.not_known == len(asked)


def test_an_honest_history_is_wholly_known_and_its_lost_deletes_are_found() -> None:
    found = figures(mixed(1, calls=400, unknown=0.2))
    assert found.not_known == 0
    assert found.checked > 200
    assert found.unknown_deletes_applied > 0


def test_the_checker_says_so() -> None:
    history = mixed(1)
    history.phases = healthy(Scenario()).phases
    findings = AnswersChecker().check(history, compute(history, Promises()), Promises())
    assert {finding.verdict for finding in findings} == {Verdict.PASS}
    assert [finding.promise for finding in findings] == list(answers.PROMISES)
    assert AnswersChecker().check(History(), compute(History(), Promises()), Promises()) == []


def test_an_acknowledged_delete_that_never_happened_is_a_lost_write() -> None:
    history = mixed(2)
    op = history.operations[index_of(history, "delete", after=20, count=1)]
    history.log = [
        replace(event, type="put", value="other") if event.revision == op.revision else event for event in history.log
    ]
    assert broken(history)["Acknowledged writes are kept"] == 1


def test_a_delete_that_says_it_found_something_where_nothing_was_is_caught() -> None:
    history = mixed(2)
    told = lie(history, index_of(history, "delete", after=20, count=0), count=1)
    assert broken(history)["Deletes tell what they found"] == 1
    assert told.key in figures(history).evidence["Deletes tell what they found"][0]


def test_a_delete_that_says_it_found_nothing_where_something_was_is_caught() -> None:
    history = mixed(2)
    index = index_of(history, "delete", after=20, count=1)
    op = lie(history, index, count=0)
    assert broken(history)["Nothing vanishes unasked"] == 1, "somebody deleted the key, and nobody says so"
    unseen(history, op.revision)
    history.operations[index] = replace(op, revision=op.revision - 1)
    assert broken(history)["Deletes tell what they found"] == 1


def test_a_transaction_that_wrote_against_its_guard_is_caught() -> None:
    history = mixed(3)
    lie(history, index_of(history, "txn", after=20, succeeded=True), guard=1)
    assert broken(history) == {"Guards hold": 1}


def test_a_transaction_that_says_it_wrote_and_did_not_is_caught() -> None:
    history = mixed(3)
    index = index_of(history, "txn", after=20, succeeded=False)
    lie(history, index, succeeded=True)
    assert {"Guards hold", "One revision per write"} & set(broken(history))


def test_a_transaction_that_says_it_did_not_write_although_its_guard_held_is_caught() -> None:
    history = mixed(3)
    index = index_of(history, "txn", after=20, succeeded=False)
    lie(history, index, guard=history.operations[index].mod_revision)
    assert broken(history) == {"Guards hold": 1}


def test_a_transaction_that_says_it_did_not_write_and_did_is_caught() -> None:
    history = mixed(3)
    index = index_of(history, "txn", after=20, succeeded=True)
    lie(history, index, succeeded=False, mod_revision=history.operations[index].revision)
    assert broken(history)["Failed writes did not happen"] == 1


def test_a_transaction_that_tells_of_another_rival_than_there_was_is_caught() -> None:
    history = mixed(3)
    index = index_of(history, "txn", after=20, succeeded=False)
    lie(history, index, mod_revision=history.operations[index].mod_revision + 100)
    assert broken(history) == {"Reads tell the log": 1}


@pytest.mark.parametrize(
    "changes", [{"value": "0.other"}, {"mod_revision": 3}, {"value": "", "mod_revision": 0}], ids=str
)
def test_a_read_that_tells_another_value_or_revision_is_caught(changes: dict[str, object]) -> None:
    history = mixed(4)
    index = next(
        index for index, op in enumerate(history.operations) if op.kind == "read" and op.mod_revision > 20 and op.value
    )
    lie(history, index, **changes)
    assert broken(history) == {"Reads tell the log": 1}


def test_a_read_that_tells_of_a_key_that_is_gone_is_caught() -> None:
    history = mixed(4)
    index = next(
        index
        for index, op in enumerate(history.operations)
        if op.kind == "read" and op.outcome is Outcome.OK and op.revision > 20 and not op.mod_revision
    )
    lie(history, index, mod_revision=5, value="0.5")
    assert broken(history) == {"Reads tell the log": 1}


@pytest.mark.parametrize("kind", ["range", "range_page"])
@pytest.mark.parametrize("changes", [{"digest": 1}, {"count": 77}, {"more": None}], ids=str)
def test_a_range_that_misses_a_key_or_tells_a_stale_page_is_caught(kind: str, changes: dict[str, object]) -> None:
    history = mixed(5)
    index = next(
        index for index, op in enumerate(history.operations) if op.kind == kind and op.count > 1 and op.revision > 20
    )
    more = history.operations[index].more
    lie(history, index, **{name: not more if fact is None else fact for name, fact in changes.items()})
    assert broken(history) == {"Reads tell the log": 1}


def test_an_old_page_under_a_new_revision_is_caught() -> None:
    """The member answers from an old state, but with the newest revision in the header."""
    history = mixed(5, calls=400)
    old = next(op for op in history.operations if op.kind == "range" and op.count > 1 and op.limit > 1)
    later = replace(old, number=99_999, revision=max(op.revision for op in history.operations))
    later = replace(later, due_ns=old.done_ns * 2, sent_ns=old.done_ns * 2, done_ns=old.done_ns * 2 + 1)
    history.operations.append(later)
    assert broken(history) == {"Reads tell the log": 1}


@pytest.mark.parametrize("kind", ["read", "range"])
def test_an_old_answer_under_its_old_revision_is_stale_unless_it_may_be(kind: str) -> None:
    history = mixed(6)
    index = index_of(history, kind, after=20)
    end_ns = max(op.done_ns for op in history.operations)
    lie(history, index, sent_ns=end_ns + 1, done_ns=end_ns + 2)
    assert broken(history) == {"Real time": 1}
    lie(history, index, serializable=True)
    assert broken(history) == {}


@pytest.mark.parametrize(("kind", "facts"), [("txn", {"succeeded": False}), ("delete", {"count": 0})])
def test_what_changed_nothing_is_a_read_and_may_not_be_stale(kind: str, facts: dict[str, object]) -> None:
    history = mixed(6)
    end_ns = max(op.done_ns for op in history.operations)
    lie(history, index_of(history, kind, after=20, **facts), sent_ns=end_ns + 1, done_ns=end_ns + 2)
    assert broken(history) == {"Real time": 1}


@pytest.mark.parametrize(("kind", "facts"), [("put", {}), ("txn", {"succeeded": True}), ("delete", {"count": 1})])
def test_a_write_below_what_was_known_before_it_was_sent_is_out_of_time(kind: str, facts: dict[str, object]) -> None:
    history = mixed(6)
    end_ns = max(op.done_ns for op in history.operations)
    lie(history, index_of(history, kind, after=20, **facts), sent_ns=end_ns + 1, done_ns=end_ns + 2)
    assert broken(history) == {"Real time": 1}


def test_an_unknown_write_that_happened_before_it_was_sent_is_out_of_time() -> None:
    history = mixed(6)
    end_ns = max(op.done_ns for op in history.operations)
    index = index_of(history, "put", after=20)
    lie(history, index, outcome=Outcome.UNKNOWN, revision=0, sent_ns=end_ns + 1, done_ns=end_ns + 2)
    assert broken(history) == {"Real time": 1}


@pytest.mark.parametrize(("later_ns", "found"), [(1, {}), (99, {}), (101, {"Real time": 1})])
def test_another_workers_clock_is_trusted_as_far_as_it_was_measured(later_ns: int, found: dict[str, int]) -> None:
    history = mixed(6)
    history.clocks.append(ClockOffset(1, 0, 5_000, 100))
    index = index_of(history, "read", after=20)
    read = history.operations[index]
    newer_ns = min(op.done_ns for op in history.operations if op.revision > read.revision)
    lie(history, index, worker=1, sent_ns=newer_ns + later_ns, done_ns=newer_ns + later_ns + 10)
    assert broken(history) == found


def test_a_key_that_vanishes_unasked_is_caught() -> None:
    history = mixed(7, unknown=0)
    op = history.operations[index_of(history, "delete", after=20, count=1)]
    history.operations.remove(op)
    assert broken(history) == {"Nothing vanishes unasked": 1}
    assert figures(history).evidence["Nothing vanishes unasked"][0].startswith(f"revision {op.revision}, {op.key}")


def test_a_delete_without_an_answer_explains_one_tombstone_and_no_second() -> None:
    history = mixed(7, unknown=0)
    first, second = [op for op in history.operations if op.kind == "delete" and op.count and op.key.endswith("1")][:2]
    history.operations.remove(second)
    index = history.operations.index(first)
    lie(history, index, outcome=Outcome.UNKNOWN, revision=0, count=0)
    assert broken(history) == {"Nothing vanishes unasked": 1}
    assert figures(history).unknown_deletes_applied == 1


def test_a_refused_delete_explains_nothing() -> None:
    history = mixed(7, unknown=0)
    index = index_of(history, "delete", after=20, count=1)
    lie(history, index, outcome=Outcome.FAILED, revision=0, count=0)
    assert broken(history) == {"Nothing vanishes unasked": 1}


def test_a_delete_that_was_sent_too_late_explains_nothing() -> None:
    history = mixed(7, unknown=0)
    end_ns = max(op.done_ns for op in history.operations)
    index = index_of(history, "delete", after=20, count=1)
    lie(history, index, outcome=Outcome.UNKNOWN, revision=0, count=0, sent_ns=end_ns + 1, done_ns=end_ns + 2)
    assert broken(history) == {"Nothing vanishes unasked": 1}


def test_keys_of_leases_may_vanish() -> None:
    lease = 77
    log = [(2, "put", "a"), (3, "delete", "")]
    history = History(
        log=[
            LogEvent(member, revision, type_, f"{PUTS}l", value, lease * (revision == 2), 5)  # type: ignore[arg-type]
            for revision, type_, value in log
            for member in MEMBERS
        ]
    )
    assert broken(history) == {}
    history.log = [replace(event, lease=0) for event in history.log]
    assert broken(history) == {"Nothing vanishes unasked": 1}


def test_below_a_hole_only_what_changed_after_it_is_known() -> None:
    history = mixed(8, unknown=0)
    op = history.operations[index_of(history, "put", after=30)]
    unseen(history, op.revision)
    history.operations.remove(op)
    found = figures(history)
    assert found.not_known > 0
    assert found.checked > 0
    assert {promise: count for promise, count in found.broken.items() if count} == {}
    history.phases = healthy(Scenario()).phases
    verdicts = {f.verdict for f in AnswersChecker().check(history, compute(history, Promises()), Promises())}
    assert verdicts == {Verdict.UNKNOWN}


def test_without_audit_watchers_nothing_is_known() -> None:
    history = mixed(8)
    history.log = []
    found = figures(history)
    assert (found.checked, found.broken["Reads tell the log"]) == (0, 0)
    assert found.not_known > 0
