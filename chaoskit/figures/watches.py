"""Watches against the LOG: what each was owed, what came, what did not, and whose fault that is.

A watch is owed the LOG restricted to its range, from its first start revision on. Each stream of it (an attempt) is owed all
between its start and the last revision that it *passed*: a later event or a progress notification said so. What lies between two
attempts was skipped by the client, or declared lost by a compaction. What the last attempt has not passed at the end is the tail.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from chaoskit.contracts import Promises
from chaoskit.figures.histograms import NS_PER_S, Latencies
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
    "CompactCancel",  # a compaction cancel names a revision above what the watch needs next
    "Truthful",  # every event is one of the LOG
)
CLOSED_BY_US = "stopped"

WatchId = tuple[int, int]  # worker, watch
AttemptId = tuple[int, int, int]  # worker, watch, attempt


@dataclass(slots=True)
class Counts:
    """What one phase adds up to. Mergeable."""

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
        for name in _LOSSES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reconnects.update(other.reconnects)
        if judged:
            self.late += other.late
            self.before_ack += other.before_ack
            self.stall_ns = max(self.stall_ns, other.stall_ns)
            self.lag.add(other.lag)

    def figures(self, watches: int, *, blind: bool, marker: bool) -> WatchFigures:
        """`blind`: the LOG has holes where these watches looked, so a count of 0 proves nothing."""
        return WatchFigures(
            watches=watches,
            expected=self.delivered + self.silent_loss + self.client_loss + self.declared_loss + self.tail,
            delivered=self.delivered,
            silent_loss=self.silent_loss if self.silent_loss or not blind else None,
            client_loss=self.client_loss if self.client_loss or not blind else None,
            declared_loss=self.declared_loss if self.declared_loss or not blind else None,
            tail=self.tail if marker and (self.tail or not blind) else None,
            duplicate=self.duplicate,
            out_of_order=self.out_of_order,
            late=self.late,
            stall_max_s=self.stall_ns / NS_PER_S,
            lag_ms=self.lag.percentiles(),
            before_ack=self.before_ack,
            reconnects=dict(self.reconnects.most_common()),
        )


_LOSSES = (
    "delivered", "silent_loss", "client_loss", "declared_loss", "tail", "duplicate", "out_of_order",
)  # fmt: skip


class Watches:
    """All watches of a history, compared with the LOG once."""

    def __init__(self, history: History, promises: Promises, phases: Phases, truth: Truth) -> None:
        self._phases = phases
        self._truth = truth
        self._late_after_ns = round(promises.late_after_s * NS_PER_S)
        self._marker = _acknowledged_marker(history)
        self._ends_ns = _observed_until(history)
        self._by_phase: defaultdict[int, Counts] = defaultdict(Counts)
        self._breaches = Breaches()
        self._blind = False
        opened: defaultdict[WatchId, list[WatchOpened]] = defaultdict(list)
        for one in history.watch_opened:
            opened[one.worker, one.watch].append(one)
        self._watches = len(opened)
        events, progress, closed = _by_attempt(history)
        for attempts in opened.values():
            attempts.sort(key=lambda one: one.attempt)
            _OneWatch(self, attempts, events, progress, closed).compare()
        for end in history.watch_closed:
            if end.reason != CLOSED_BY_US:
                self._counts_at(end.at_ns).reconnects[end.reason] += 1

    def figures(self) -> WatchFigures:
        """Of the whole run."""
        if not self._watches:
            return WatchFigures()
        total = Counts()
        for index, counts in self._by_phase.items():
            total.add(counts, judged=index != NOWHERE and self._phases.segments[index].judged)
        figures = total.figures(self._watches, blind=self._blind, marker=bool(self._marker))
        broken = self._breaches.broken(PROMISES)
        return _with_breaches(figures, broken, self._breaches.evidence())

    def phase_figures(self, index: int) -> WatchFigures:
        if not self._watches:
            return WatchFigures()
        return self._by_phase[index].figures(self._watches, blind=self._blind, marker=bool(self._marker))

    def _counts_at(self, at_ns: int) -> Counts:
        return self._by_phase[self._phases.index_at(at_ns)]


def _with_breaches(
    figures: WatchFigures, broken: dict[str, int], evidence: dict[str, tuple[str, ...]]
) -> WatchFigures:
    from msgspec.structs import replace  # noqa: PLC0415

    return replace(figures, broken=broken, evidence=evidence)


def _acknowledged_marker(history: History) -> int:
    """The revision of the final write, 0 when it was not acknowledged."""
    mark = history.mark("final_marker")
    return mark.revision if mark else 0


def _observed_until(history: History) -> int:
    mark = history.mark("drained")
    return mark.at_ns if mark else history.ends_ns


def _by_attempt(
    history: History,
) -> tuple[dict[AttemptId, list[WatchEvent]], dict[AttemptId, list[WatchProgress]], dict[WatchId, list[WatchClosed]]]:
    events: defaultdict[AttemptId, list[WatchEvent]] = defaultdict(list)
    for event in history.watch_events:
        events[event.worker, event.watch, event.attempt].append(event)
    progress: defaultdict[AttemptId, list[WatchProgress]] = defaultdict(list)
    for one in history.watch_progress:
        progress[one.worker, one.watch, one.attempt].append(one)
    closed: defaultdict[WatchId, list[WatchClosed]] = defaultdict(list)
    for end in history.watch_closed:
        closed[end.worker, end.watch].append(end)
    return dict(events), dict(progress), dict(closed)
