"""Watches against the LOG: what each was owed, what came, what did not, and whose fault that is.

A watch is owed the LOG restricted to its range, from its first start revision on. Each stream of it (an attempt) is
owed all between its start and the last revision that it *passed*: a later event or a progress notification said so.
What lies between two attempts was skipped by the client, or declared lost by a compaction. What the last attempt had
not passed at the end is the tail.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from itertools import pairwise

from msgspec.structs import replace

from chaoskit.contracts import Promises
from chaoskit.figures.histograms import NS_PER_S, Latencies
from chaoskit.figures.operations import last_signs_of_life
from chaoskit.figures.phases import NOWHERE, Phases
from chaoskit.figures.truth import Breaches, Entry, Range, Truth, in_range
from chaoskit.history import History, WatchClosed, WatchEvent, WatchOpened, WatchProgress
from chaoskit.results import WatchFigures

PROMISES = (
    "Filter",  # every event lies in the watch's range
    "Ordered",  # revisions never fall
    "Unique",  # no (revision, key) twice
    "Atomic",  # the events of one revision come in one response
    "Reliable",  # no gap between first and last
    "Resumable",  # nothing below the start revision
    "Bookmarkable",  # no event at or below an earlier progress revision
    "CompactCancel",  # a compaction cancel names a revision above the one that the watch needs next
    "Truthful",  # every event is one of the LOG
)
CLOSED_BY_US = "stopped"


def analyse(history: History, promises: Promises, phases: Phases, truth: Truth, *, slow: bool) -> Books:
    """Compare with the LOG every watch of a history that reads late on purpose, or every other."""
    books = Books(phases, truth, _final_revision(history), _observed_until(history), promises.late_after_s)
    books.lost_ns = _lost_workers(history)
    chosen = {(one.worker, one.watch) for one in history.watch_opened if one.slow == slow}
    if not chosen:
        return books
    for watch in _watches(history, truth, chosen):
        books.watches += 1
        _compare(watch, books)
    for end in history.watch_closed:
        if end.reason != CLOSED_BY_US and (end.worker, end.watch) in chosen:
            books.counts_at(end.at_ns).reconnects[end.reason] += 1
    return books


# ── what is counted ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Counts:
    """What belongs to one phase. Losses and lags belong where their write was acknowledged."""

    delivered: int = 0
    silent_loss: int = 0
    client_loss: int = 0
    declared_loss: int = 0
    tail: int = 0
    duplicate: int = 0
    out_of_order: int = 0
    late: int = 0
    before_ack: int = 0
    stall_ns: int = 0
    lag: Latencies = field(default_factory=Latencies)
    reconnects: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts, *, judged: bool) -> None:
        """Losses count wherever they happen; times only where they are judged."""
        self.delivered += other.delivered
        self.silent_loss += other.silent_loss
        self.client_loss += other.client_loss
        self.declared_loss += other.declared_loss
        self.tail += other.tail
        self.duplicate += other.duplicate
        self.out_of_order += other.out_of_order
        self.reconnects.update(other.reconnects)
        if judged:
            self.late += other.late
            self.before_ack += other.before_ack
            self.stall_ns = max(self.stall_ns, other.stall_ns)
            self.lag.add(other.lag)


@dataclass(slots=True)
class Books:
    """Where findings about watches are written down while they are compared."""

    phases: Phases
    truth: Truth
    final_revision: int  # of the final marker, 0 when it was not acknowledged
    ends_ns: int
    late_after_s: float
    lost_ns: dict[int, int] = field(default_factory=dict)  # lost worker → last it was heard of: its watches ended then
    watches: int = 0
    blind: bool = False  # a watch looked where the LOG has a hole: a count of 0 proves nothing
    breaches: Breaches = field(default_factory=Breaches)
    by_phase: defaultdict[int, Counts] = field(default_factory=lambda: defaultdict(Counts))

    def counts_at(self, at_ns: int) -> Counts:
        return self.by_phase[self.phases.index_at(at_ns)]

    def counts_of(self, entry: Entry) -> Counts:
        return self.counts_at(entry.known_ns)

    def figures(self) -> WatchFigures:
        """Of the whole run."""
        total = Counts()
        for index, counts in self.by_phase.items():
            total.add(counts, judged=index != NOWHERE and self.phases.segments[index].judged)
        if not self.watches:
            return WatchFigures()
        return replace(self._figures(total), broken=self.breaches.broken(PROMISES), evidence=self.breaches.evidence())

    def phase_figures(self, index: int) -> WatchFigures:
        return self._figures(self.by_phase[index]) if self.watches else WatchFigures()

    def _figures(self, counts: Counts) -> WatchFigures:
        return WatchFigures(
            watches=self.watches,
            expected=counts.delivered + counts.silent_loss + counts.client_loss + counts.declared_loss + counts.tail,
            delivered=counts.delivered,
            silent_loss=self._if_known(counts.silent_loss),
            client_loss=self._if_known(counts.client_loss),
            declared_loss=self._if_known(counts.declared_loss),
            tail=self._if_known(counts.tail) if self.final_revision else None,
            duplicate=counts.duplicate,
            out_of_order=counts.out_of_order,
            late=counts.late,
            stall_max_s=counts.stall_ns / NS_PER_S,
            lag_ms=counts.lag.percentiles(),
            before_ack=counts.before_ack,
            reconnects=dict(counts.reconnects.most_common()),
        )

    def _if_known(self, count: int) -> int | None:
        return count if count or not self.blind else None


# ── what is compared ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Attempt:
    """One stream of a watch: owed all events from revision `first` to `passed`, the last that it had gone by."""

    opened: WatchOpened
    events: list[WatchEvent]
    progress: list[WatchProgress]
    seen: set[tuple[int, str]] = field(default_factory=set)

    @property
    def first(self) -> int:
        return self.opened.start_revision or self.opened.created_revision + 1

    @property
    def passed(self) -> int:
        last_event = max((event.revision for event in self.events), default=0)
        return max(self.first - 1, last_event, max((one.revision for one in self.progress), default=0))

    def __str__(self) -> str:
        opened = self.opened
        worker = f" of worker {opened.worker}" if opened.worker else ""
        attempt = f", attempt {opened.attempt}" if opened.attempt else ""
        return f"{'slow ' * opened.slow}watch {opened.watch}{worker} on {opened.member}{attempt}"


@dataclass(slots=True)
class Watch:
    attempts: list[Attempt]
    closed: list[WatchClosed]
    owed: Range

    @property
    def opened_ns(self) -> int:
        return self.attempts[0].opened.at_ns

    @property
    def worker(self) -> int:
        return self.attempts[0].opened.worker

    def compacted_between(self, before: Attempt, after: Attempt) -> int:
        """The highest compact revision that the server declared between two attempts, 0 when it declared none."""
        numbers = range(before.opened.attempt, after.opened.attempt)
        return max((end.compact_revision for end in self.closed if end.attempt in numbers), default=0)


def _watches(history: History, truth: Truth, chosen: Set[tuple[int, int]]) -> Iterator[Watch]:
    events: defaultdict[tuple[int, int, int], list[WatchEvent]] = defaultdict(list)
    for event in history.watch_events:
        events[event.worker, event.watch, event.attempt].append(event)
    progress: defaultdict[tuple[int, int, int], list[WatchProgress]] = defaultdict(list)
    for one in history.watch_progress:
        progress[one.worker, one.watch, one.attempt].append(one)
    closed: defaultdict[tuple[int, int], list[WatchClosed]] = defaultdict(list)
    for end in history.watch_closed:
        closed[end.worker, end.watch].append(end)
    opened: defaultdict[tuple[int, int], list[WatchOpened]] = defaultdict(list)
    for one_opened in history.watch_opened:
        opened[one_opened.worker, one_opened.watch].append(one_opened)
    for identity in sorted(opened.keys() & chosen):
        attempts = [
            Attempt(one, events.get((*identity, one.attempt), []), progress.get((*identity, one.attempt), []))
            for one in sorted(opened[identity], key=lambda one: one.attempt)
        ]
        yield Watch(attempts, closed[identity], truth.within(attempts[0].opened.key, attempts[0].opened.range_end))


def _final_revision(history: History) -> int:
    mark = history.mark("final_marker")
    return mark.revision if mark else 0


def _lost_workers(history: History) -> dict[int, int]:
    lost = {mark.worker for mark in history.marks if mark.kind == "worker_lost"}
    return {worker: at_ns for worker, at_ns in last_signs_of_life(history).items() if worker in lost}


def _observed_until(history: History) -> int:
    mark = history.mark("drained")
    return mark.at_ns if mark else history.ends_ns


# ── the comparison ───────────────────────────────────────────────────────────────────────────────────────────────────


def _compare(watch: Watch, books: Books) -> None:
    seen: set[tuple[int, str]] = set()
    highest = 0
    for attempt in watch.attempts:
        highest = _deliveries(attempt, watch, seen, highest, books)
        _silent_losses(attempt, watch, books)
        seen |= attempt.seen
    passed = watch.attempts[0].passed
    for before, after in pairwise(watch.attempts):
        skipped = [entry for entry in watch.owed.between(passed + 1, after.first - 1) if _place(entry) not in seen]
        _skipped(skipped, after, watch.compacted_between(before, after), books)
        passed = max(passed, after.passed)
    if watch.worker not in books.lost_ns:  # a watch that went with its worker is owed nothing more
        _tail(passed, watch, seen, books)
    _stalls(watch, books)
    _check_cancels(watch, books)
    books.blind |= books.truth.blind_between(watch.attempts[0].first, max(passed, books.final_revision))


def _deliveries(attempt: Attempt, watch: Watch, seen: set[tuple[int, str]], highest: int, books: Books) -> int:
    """Each event as it came; returns the highest revision so far. Long and plain: it runs for every event of a run."""
    breaches, at = books.breaches, books.truth.at
    key, range_end, first = attempt.opened.key, attempt.opened.range_end, attempt.first
    late_after_ns = round(books.late_after_s * NS_PER_S)
    carried: dict[int, int] = {}  # revision → the response that carried it first
    split: set[int] = set()
    bookmarks = iter(sorted(attempt.progress, key=lambda one: one.received_ns))
    coming = next(bookmarks, None)
    bookmark = 0
    for event in attempt.events:
        revision, place = event.revision, (event.revision, event.key)
        entry = at(revision, event.key)
        counts = books.counts_of(entry) if entry else books.counts_at(event.received_ns)
        while coming and coming.received_ns < event.received_ns:
            bookmark = max(bookmark, coming.revision)
            coming = next(bookmarks, None)
        if revision <= bookmark:
            breaches.note("Bookmarkable", f"{attempt}: revision {revision} came after progress {bookmark}")
        if revision < highest:
            counts.out_of_order += 1
            breaches.note("Ordered", f"{attempt}: revision {revision} came after {highest}")
        else:
            highest = revision
        if revision < first:
            breaches.note("Resumable", f"{attempt}: revision {revision} is below the start {first}")
        if not in_range(event.key, key, range_end):
            breaches.note("Filter", f"{attempt}: revision {revision}, {event.key} is outside [{key}, {range_end})")
        came_before = place in attempt.seen or place in seen
        attempt.seen.add(place)
        if came_before:
            counts.duplicate += 1
            breaches.note("Unique", f"{attempt}: revision {revision}, {event.key} came again")
            continue
        if carried.setdefault(revision, event.response) != event.response and revision not in split:
            split.add(revision)
            breaches.note("Atomic", f"{attempt}: revision {revision} came in several responses")
        if entry is None or entry.type != event.type or entry.value != event.value:
            if entry or not books.truth.blind_between(revision, revision):
                breaches.note(
                    "Truthful", f"{attempt}: revision {revision}, {event.key} = {event.value!r} is not in the log"
                )
            continue
        counts.delivered += 1
        if entry.acked_ns:
            lag_ns = event.received_ns - max(entry.acked_ns, watch.opened_ns)
            counts.before_ack += lag_ns < 0
            counts.late += lag_ns > late_after_ns
            counts.lag.record(max(lag_ns, 0))
    return highest


def _silent_losses(attempt: Attempt, watch: Watch, books: Books) -> None:
    for entry in watch.owed.between(attempt.first, attempt.passed):
        if _place(entry) not in attempt.seen:
            books.counts_of(entry).silent_loss += 1
            books.breaches.note(
                "Reliable", f"{attempt}: revision {entry.revision}, {entry.key} ({entry.type}) never came"
            )


def _skipped(skipped: list[Entry], after: Attempt, compacted: int, books: Books) -> None:
    """Between two attempts: declared lost below a compaction's revision, the client's choice from there on."""
    for entry in skipped:
        if entry.revision < compacted:
            books.counts_of(entry).declared_loss += 1
        else:
            books.counts_of(entry).client_loss += 1
        kind = "declared_loss" if entry.revision < compacted else "client_loss"
        books.breaches.note(kind, f"{after}: revision {entry.revision}, {entry.key}; reopened at {after.first}")


def _place(entry: Entry) -> tuple[int, str]:
    return entry.revision, entry.key


def _tail(passed: int, watch: Watch, seen: set[tuple[int, str]], books: Books) -> None:
    last = watch.attempts[-1]
    for entry in watch.owed.between(passed + 1, books.final_revision):
        if _place(entry) not in seen:
            books.counts_of(entry).tail += 1
            books.breaches.note("tail", f"{last}: revision {entry.revision}, {entry.key} had not come at the end")


def _stalls(watch: Watch, books: Books) -> None:
    """Silence counts from when a member had the first event not passed by the watch. Any message ends it,
    and so does reopening behind that event."""
    passed = watch.attempts[0].first - 1
    since_ns = watch.opened_ns
    for at_ns, revision, is_message in _moments(watch, books.lost_ns.get(watch.worker, books.ends_ns)):
        waiting = watch.owed.first_after(passed)
        if waiting and (is_message or revision >= waiting.revision):
            began_ns = max(since_ns, waiting.held_ns)
            counts = books.counts_at(began_ns)
            counts.stall_ns = max(counts.stall_ns, at_ns - began_ns)
        passed = max(passed, revision)
        if is_message:
            since_ns = at_ns


def _moments(watch: Watch, ends_ns: int) -> list[tuple[int, int, bool]]:
    """(time, revision passed then, whether a message came). Reopening passes revisions too, but brings nothing."""
    moments = [(attempt.opened.at_ns, attempt.first - 1, False) for attempt in watch.attempts]
    for attempt in watch.attempts:
        moments += [(event.received_ns, event.revision, True) for event in attempt.events]
        moments += [(one.received_ns, one.revision, True) for one in attempt.progress]
    moments.sort()
    moments.append((ends_ns, 0, True))
    return moments


def _check_cancels(watch: Watch, books: Books) -> None:
    by_number = {attempt.opened.attempt: attempt for attempt in watch.attempts}
    for end in watch.closed:
        attempt = by_number.get(end.attempt)
        if (
            attempt
            and (end.reason == "compacted" or end.compact_revision)
            and end.compact_revision <= attempt.passed + 1
        ):
            books.breaches.note(
                "CompactCancel",
                f"{attempt}: cancelled as compacted at {end.compact_revision}, but it needed {attempt.passed + 1} next",
            )
