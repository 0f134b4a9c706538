"""What clients were told, against the LOG: reads, guards of transactions, deletes, and the order of real time.

Responses carry revisions, so each answer says which state of the keys it was computed from, and the LOG tells that
state. One sweep over the LOG in the order of revisions serves all answers. Where the LOG has a hole below an answer's
revision, the answer is not known to be right.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from operator import itemgetter
from typing import NamedTuple

from chaoskit.figures.changes import call_of, change_of, is_linearizable_read, is_read
from chaoskit.figures.truth import Breaches, Entry, Truth
from chaoskit.history import History, Operation, Outcome
from chaoskit.history.records import page_digest
from chaoskit.results import AnswerFigures

UNASKED = "Nothing vanishes unasked"
"""Every tombstone has a delete, or a lease that ended. Fails for want of operations, so it needs all of them."""

PROMISES = (
    "Reads tell the log",  # value, modification revision, count and page are those of the LOG at the read's revision
    "Guards hold",  # a transaction wrote if, and only if, the key was as it demanded
    "Deletes tell what they found",
    UNASKED,
    "Real time",  # an answer is not older than one that was there before it was asked for
)


def check(history: History, truth: Truth) -> AnswerFigures:
    """Hold every answer of a run against the LOG."""
    breaches, floors = Breaches(), Floors(history)
    checked = not_known = 0
    state = State(truth)
    for question in sorted(_questions(history), key=itemgetter(0)):
        state.advance(question.at_revision)
        known = bool(history.log) and _is_known(question, state, truth)
        checked += known
        not_known += not known
        if known:
            _check(question, state, breaches)
    _real_time(history, truth, floors, breaches)
    return AnswerFigures(
        checked=checked,
        not_known=not_known,
        unknown_deletes_applied=_tombstones(history, truth, floors, breaches),
        broken=breaches.broken(PROMISES),
        evidence=breaches.evidence(),
    )


# ── the keys at a revision ───────────────────────────────────────────────────────────────────────────────────────────


class State:
    """The keys as the LOG has them at a revision that only grows."""

    def __init__(self, truth: Truth) -> None:
        self._entries = truth.entries
        self._next = 0
        self._names = truth.keys
        self._places = {name: place for place, name in enumerate(self._names)}
        self._latest: list[Entry | None] = [None] * len(self._names)
        self._alive = bytearray(len(self._names))  # counting and searching bytes costs 1 ns a key

    def advance(self, revision: int) -> None:
        while self._next < len(self._entries) and self._entries[self._next].revision <= revision:
            entry = self._entries[self._next]
            place = self._places[entry.key]
            self._latest[place] = entry
            self._alive[place] = entry.type == "put"
            self._next += 1

    def latest(self, key: str) -> Entry | None:
        """The last change of the key, a delete as well."""
        place = self._places.get(key)
        return None if place is None else self._latest[place]

    def living(self, key: str) -> Entry | None:
        entry = self.latest(key)
        return entry if entry and entry.type == "put" else None

    def count(self, key: str, range_end: str) -> int:
        return self._alive.count(1, *self._span(key, range_end))

    def page(self, key: str, range_end: str, limit: int) -> Iterator[tuple[bytes, int, bytes]]:
        """(key, mod revision, value id) of the first `limit` keys."""
        place, end = self._span(key, range_end)
        while limit and (place := self._alive.find(1, place, end)) >= 0:
            entry = self._latest[place]
            assert entry is not None  # it is alive
            yield entry.key.encode(), entry.revision, entry.value.encode()
            place, limit = place + 1, limit - 1

    def _span(self, key: str, range_end: str) -> tuple[int, int]:
        return bisect_left(self._names, key), bisect_left(self._names, range_end)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Question(NamedTuple):
    """An answer and the revision at which the state has to be looked at."""

    at_revision: int
    op: Operation


def _questions(history: History) -> Iterator[_Question]:
    for op in history.operations:
        if op.outcome is not Outcome.OK or not op.revision:
            continue
        if is_read(op):
            yield _Question(op.at_revision or op.revision, op)
        elif call_of(op.kind) in ("txn", "delete"):
            yield _Question(op.revision - 1 if change_of(op) else op.revision, op)


def _is_known(question: _Question, state: State, truth: Truth) -> bool:
    """No hole can hold a change of what was asked for: of a key since its last change, of a range since ever."""
    latest = None if question.op.limit else state.latest(question.op.key)
    return not truth.blind_between(latest.revision + 1 if latest else 1, question.at_revision)


def _check(question: _Question, state: State, breaches: Breaches) -> None:
    op = question.op
    if op.limit:
        _check_page(op, question.at_revision, state, breaches)
    elif is_read(op):
        _check_read(op, state, breaches)
    elif call_of(op.kind) == "txn":
        _check_guard(op, state, breaches)
    else:
        _check_delete(op, state, breaches)


def _check_read(op: Operation, state: State, breaches: Breaches) -> None:
    entry = state.living(op.key)
    told = (op.mod_revision, op.value)
    if told != (_revision_of(entry), entry.value if entry else ""):
        breaches.note("Reads tell the log", f"{_name(op)} told {_told(*told)}; {_has(entry)}")


def _check_page(op: Operation, at_revision: int, state: State, breaches: Breaches) -> None:
    count, page = state.count(op.key, op.range_end), list(state.page(op.key, op.range_end, op.limit))
    told = f"{_name(op)}, at most {op.limit} keys of [{op.key!a}, {op.range_end!a}) at {at_revision},"
    if (op.count, op.more) != (count, count > op.limit):
        more = {True: "more", False: "no more"}
        breaches.note(
            "Reads tell the log",
            f"{told} told of {op.count} keys and {more[op.more]} behind them; the log has {count} and "
            f"{more[count > op.limit]}",
        )
    elif op.digest != page_digest(page):
        breaches.note("Reads tell the log", f"{told} told other keys, revisions or values than the log's {len(page)}")


def _check_guard(op: Operation, state: State, breaches: Breaches) -> None:
    entry = state.living(op.key)
    found = _revision_of(entry)
    if op.succeeded and found != op.guard:
        breaches.note("Guards hold", f"{_name(op)} wrote although {_has(entry)} and its guard was {_guard(op)}")
    elif not op.succeeded and found == op.guard:
        breaches.note("Guards hold", f"{_name(op)} did not write although {_has(entry)}, as its guard demanded")
    elif not op.succeeded and found != op.mod_revision:
        breaches.note("Reads tell the log", f"{_name(op)} told {_told(op.mod_revision, '')}; {_has(entry)}")


def _check_delete(op: Operation, state: State, breaches: Breaches) -> None:
    entry = state.living(op.key)
    if op.count != (entry is not None):
        breaches.note("Deletes tell what they found", f"{_name(op)} told of {op.count} keys; {_has(entry)}")


def _revision_of(entry: Entry | None) -> int:
    return entry.revision if entry else 0


def _name(op: Operation) -> str:
    return f"{op.member}, {op.kind} of {op.key!a} answered at revision {op.revision},"


def _told(mod_revision: int, value: str) -> str:
    return f"{value!r} of revision {mod_revision}" if mod_revision else "that there is no such key"


def _has(entry: Entry | None) -> str:
    return f"the log has {entry.value!r} of revision {entry.revision}" if entry else "the log has no such key"


def _guard(op: Operation) -> str:
    return f"revision {op.guard}" if op.guard else "that there is no such key"


# ── real time ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Floors:
    """The largest revision that anybody had certainly been told by a moment. Two workers' times are compared only as
    far as their clocks are known: an answer counts for another's call when it came before it by more than the doubt."""

    def __init__(self, history: History) -> None:
        told: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        for op in history.operations:
            if op.outcome is Outcome.OK and op.revision and _counts(op):
                told[op.worker].append((op.done_ns, op.revision))
        workers = {op.worker for op in history.operations}
        self._doubt_ns = {worker: history.clock_doubt_ns(worker) for worker in workers}
        self._done: dict[int, list[int]] = {}
        self._highest: dict[int, list[int]] = {}
        for worker, answers in told.items():
            answers.sort()
            self._done[worker] = [done_ns for done_ns, _ in answers]
            self._highest[worker] = list(accumulate((revision for _, revision in answers), max))

    def before(self, op: Operation) -> int:
        """The largest revision that was known when it was sent, 0 for none."""
        return max((self._told(worker, op) for worker in self._done), default=0)

    def _told(self, worker: int, op: Operation) -> int:
        doubt_ns = self._doubt_ns[worker] + self._doubt_ns[op.worker] if worker != op.worker else 0
        index = bisect_left(self._done[worker], op.sent_ns - doubt_ns)
        return self._highest[worker][index - 1] if index else 0


def _counts(op: Operation) -> bool:
    """Whether the header's revision was decided by all members together."""
    return not op.serializable if is_read(op) else call_of(op.kind) != ""


def _real_time(history: History, truth: Truth, floors: Floors, breaches: Breaches) -> None:
    """A write comes after all that was known before it was sent, a linearizable read not before it."""
    happened = _unknown_that_happened(history, truth)
    for op in history.operations:
        revision = op.revision if op.outcome is Outcome.OK else happened.get((op.key, op.value), 0)
        floor = floors.before(op) if revision else 0
        if not revision or revision > floor:
            continue
        if change_of(op):
            breaches.note("Real time", f"{op.member}, {op.kind} of {op.key!a} is revision {revision}, after {floor}")
        elif revision < floor and is_linearizable_read(op):
            breaches.note("Real time", f"{_name(op)} is stale: {floor} had been told before it was sent")


def _unknown_that_happened(history: History, truth: Truth) -> dict[tuple[str, str], int]:
    """(key, value) of puts without an answer → the revision at which they happened. Values are unique."""
    wanted = {op.value for op in history.operations if op.outcome is Outcome.UNKNOWN and op.value}
    return {(entry.key, entry.value): entry.revision for entry in truth.entries if entry.value in wanted}


# ── tombstones ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _tombstones(history: History, truth: Truth, floors: Floors, breaches: Breaches) -> int:
    """Give each delete of the LOG that nobody acknowledged to a delete of unknown outcome that may have been it.

    Returns how many of those happened. The earliest tombstone takes any one that was sent in time, and that is the best
    choice: whatever may have been an earlier tombstone may have been a later one, too.
    """
    unknown = _unknown_deletes(history, floors)
    applied = 0
    for entry in _unclaimed(history, truth):
        sent_before = unknown.get(entry.key, [])
        if sent_before and sent_before[0] < entry.revision:
            sent_before.pop(0)
            applied += 1
        else:
            breaches.note(UNASKED, f"revision {entry.revision}, {entry.key}: no delete asked for it")
    return applied


def _unknown_deletes(history: History, floors: Floors) -> dict[str, list[int]]:
    """Key → for each delete without an answer the revision above which it happened, if it did; lowest first."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for op in history.operations:
        if op.outcome is Outcome.UNKNOWN and call_of(op.kind) == "delete":
            found[op.key].append(floors.before(op))
    for above in found.values():
        above.sort()
    return found


def _unclaimed(history: History, truth: Truth) -> Iterator[Entry]:
    """Deletes of keys without a lease that no acknowledgement claims, up to where the run was drained."""
    claimed = {
        (op.revision, op.key)
        for op in history.operations
        if op.outcome is Outcome.OK and call_of(op.kind) == "delete" and op.count
    }
    drained = history.mark("drained")
    before: dict[str, Entry] = {}
    for entry in truth.entries:
        last, before[entry.key] = before.get(entry.key), entry
        if entry.type != "delete" or (entry.revision, entry.key) in claimed:
            continue
        theirs = last is None or last.lease or truth.blind_between(last.revision + 1, entry.revision - 1)
        if not theirs and not (drained and entry.seen_ns > drained.at_ns):
            yield entry
