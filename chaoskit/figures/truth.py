"""The LOG, our ground truth: revision → (key, put value | delete).

Built from the audit watchers of all members, acknowledged writes, and unknown writes that an audit watcher saw. It also
says where its sources contradict each other, and which revisions nobody knows: a verdict on those is unknown.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from chaoskit.figures.changes import Change, call_of, change_of
from chaoskit.history import History, LogEvent, Operation, Outcome
from chaoskit.results import LogFigures

EVIDENCE_LIMIT = 20
_FIRST_WRITE = 2  # an empty etcd is at revision 1
PROMISES = (
    "Members agree",  # on (revision, key, value)
    "Acknowledged writes are kept",
    "One revision per write",
    "Failed writes did not happen",
    "Writes happen once",
)


class Entry(msgspec.Struct, gc=False):
    """One event of the LOG. Times are 0 when nobody told."""

    revision: int
    key: str
    type: str
    value: str
    lease: int
    seen_ns: int = 0  # earliest at any audit watcher
    acked_ns: int = 0  # earliest acknowledgement of its revision

    @property
    def known_ns(self) -> int:
        """When it had certainly happened: acknowledged, or else seen."""
        return self.acked_ns or self.seen_ns

    @property
    def held_ns(self) -> int:
        """From when on a member certainly had it: seen, or else acknowledged."""
        return self.seen_ns or self.acked_ns


class Range:
    """The LOG restricted to the keys of one watch."""

    __slots__ = ("_revisions", "entries")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._revisions = [entry.revision for entry in entries]

    def between(self, first: int, last: int) -> list[Entry]:
        """Entries of these revisions, both ends included."""
        return self.entries[bisect_left(self._revisions, first) : bisect_right(self._revisions, last)]

    def first_after(self, revision: int) -> Entry | None:
        index = bisect_right(self._revisions, revision)
        return self.entries[index] if index < len(self.entries) else None


@dataclass(slots=True)
class Breaches:
    """How often each guarantee was broken, with the first few cases."""

    counts: Counter[str] = field(default_factory=Counter)
    lines: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, promise: str, line: str) -> None:
        self.counts[promise] += 1
        if len(self.lines[promise]) < EVIDENCE_LIMIT:
            self.lines[promise].append(line)

    def broken(self, promises: Iterable[str]) -> dict[str, int]:
        return {promise: self.counts[promise] for promise in promises}

    def evidence(self) -> dict[str, tuple[str, ...]]:
        return {promise: tuple(lines) for promise, lines in sorted(self.lines.items())}


class Truth:
    """The LOG with its holes. `entries` are in the order of (revision, key)."""

    def __init__(
        self, by_place: dict[tuple[int, str], Entry], holes: list[tuple[int, int]], figures: LogFigures
    ) -> None:
        self._by_place = by_place
        self.entries = [by_place[place] for place in sorted(by_place)]
        self.holes = holes
        self.figures = figures
        self._by_key: dict[str, list[Entry]] = {}
        for entry in self.entries:
            self._by_key.setdefault(entry.key, []).append(entry)
        self.keys = sorted(self._by_key)
        """Of every entry, whether they still exist or not."""
        self._ranges: dict[tuple[str, str], Range] = {}

    def at(self, revision: int, key: str) -> Entry | None:
        return self._by_place.get((revision, key))

    def within(self, key: str, range_end: str) -> Range:
        """The entries of one key, or of keys in [key, range_end); `\\0` as the end is "from key on", as in etcd."""
        place = (key, range_end)
        if place not in self._ranges:
            self._ranges[place] = Range(self._select(key, range_end))
        return self._ranges[place]

    def blind_between(self, first: int, last: int) -> bool:
        """Whether a revision in between, ends included, is not known."""
        index = bisect_left(self.holes, (first, 0))
        before = index > 0 and self.holes[index - 1][1] >= first
        return first <= last and (before or (index < len(self.holes) and self.holes[index][0] <= last))

    def _select(self, key: str, range_end: str) -> list[Entry]:
        if not range_end:
            return self._by_key.get(key, [])
        begin = bisect_left(self.keys, key)
        end = len(self.keys) if range_end == "\0" else bisect_left(self.keys, range_end)
        chosen = [entry for name in self.keys[begin:end] for entry in self._by_key[name]]
        chosen.sort(key=lambda entry: (entry.revision, entry.key))
        return chosen


def in_range(name: str, key: str, range_end: str) -> bool:
    """etcd's meaning of (key, range_end)."""
    if not range_end:
        return name == key
    return name >= key and (range_end == "\0" or name < range_end)


def build(history: History) -> Truth:
    """The LOG of a history."""
    writes = [(op, change) for op in history.operations if (change := change_of(op))]
    audited = _audits(history)
    breaches = Breaches()
    log = _merge_audits(audited, breaches)
    reached = {member: max((revision for revision, _ in seen), default=0) for member, seen in audited.items()}
    blind = _blind_spots(history)
    _members_agree(log, audited, reached, blind, breaches)
    _acknowledged(writes, log, reached, blind, breaches)
    unknown_applied = _executed(history, log, breaches)
    revisions = sorted({revision for revision, _ in log})
    shared = history.mark("shared_cluster")
    if shared:
        holes = list(_unseen(revisions, shared.revision + 1, _highest_of_ours(history), reached, blind))
    else:
        holes = list(_holes(revisions, _lowest_needed(history), _highest_observed(history)))
    figures = LogFigures(
        revisions=len(revisions),
        first_revision=revisions[0] if revisions else None,
        last_revision=revisions[-1] if revisions else None,
        missing_revisions=sum(last - first + 1 for first, last in holes),
        reached=reached,
        unknown_applied=unknown_applied,
        broken=breaches.broken(PROMISES),
        evidence=breaches.evidence() | _holes_evidence(holes, history),
    )
    return Truth(log, holes, figures)


# ── sources ──────────────────────────────────────────────────────────────────────────────────────────────────────────

Place = tuple[int, str]  # revision, key
Audited = dict[str, dict[Place, LogEvent]]


def _audits(history: History) -> Audited:
    """Member → what its audit watcher saw; the first sight counts."""
    audited: defaultdict[str, dict[Place, LogEvent]] = defaultdict(dict)
    for event in history.log:
        audited[event.member].setdefault((event.revision, event.key), event)
    return dict(sorted(audited.items()))


def _merge_audits(audited: Audited, breaches: Breaches) -> dict[Place, Entry]:
    log: dict[Place, Entry] = {}
    for member, seen in audited.items():
        for place, event in seen.items():
            entry = log.get(place)
            if entry is None:
                log[place] = Entry(event.revision, event.key, event.type, event.value, event.lease, event.seen_ns)
                continue
            entry.seen_ns = min(entry.seen_ns, event.seen_ns)
            if (entry.type, entry.value) != (event.type, event.value):
                breaches.note(
                    "Members agree",
                    f"revision {event.revision}, {event.key}: {member} says {event.type} {event.value!r}, "
                    f"another says {entry.type} {entry.value!r}",
                )
    return log


def _blind_spots(history: History) -> dict[str, list[tuple[int, int]]]:
    """Member → revisions that its audit watcher could not see."""
    spots: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for gap in history.log_gaps:
        spots[gap.member].append((gap.first_revision, gap.last_revision))
    return spots


def _witnesses(revision: int, reached: dict[str, int], blind: dict[str, list[tuple[int, int]]]) -> list[str]:
    """Members whose audit watcher has passed the revision with open eyes."""
    return [
        member
        for member, last in reached.items()
        if last >= revision and not any(first <= revision <= end for first, end in blind.get(member, ()))
    ]


# ── contradictions ───────────────────────────────────────────────────────────────────────────────────────────────────


def _members_agree(
    log: dict[Place, Entry],
    audited: Audited,
    reached: dict[str, int],
    blind: dict[str, list[tuple[int, int]]],
    breaches: Breaches,
) -> None:
    for place in log:
        for member, seen in audited.items():
            if place not in seen and member in _witnesses(place[0], reached, blind):
                breaches.note("Members agree", f"revision {place[0]}, {place[1]}: {member} passed it without the event")


def _acknowledged(
    writes: Sequence[tuple[Operation, Change]],
    log: dict[Place, Entry],
    reached: dict[str, int],
    blind: dict[str, list[tuple[int, int]]],
    breaches: Breaches,
) -> None:
    """Acknowledged writes against the audits; afterwards they are in the LOG themselves."""
    claimed: dict[int, Operation] = {}
    for op, change in writes:
        if op.outcome is not Outcome.OK or not op.revision:
            continue
        other = claimed.setdefault(op.revision, op)
        if other is not op:
            breaches.note(
                "One revision per write", f"revision {op.revision}: acknowledged for {other.key} and for {op.key}"
            )
        place = (op.revision, op.key)
        entry = log.get(place)
        if entry is None:
            if witnesses := _witnesses(op.revision, reached, blind):
                breaches.note(
                    "Acknowledged writes are kept",
                    f"{_acknowledgement(op, change)}: {', '.join(witnesses)} passed it without the event",
                )
            entry = log[place] = Entry(op.revision, op.key, change.type, change.value, op.lease)
        elif (entry.type, entry.value) != change:
            breaches.note(
                "Acknowledged writes are kept",
                f"{_acknowledgement(op, change)}: the log has {entry.type} {entry.value!r}",
            )
        entry.acked_ns = min(entry.acked_ns or op.done_ns, op.done_ns)


def _acknowledgement(op: Operation, change: Change) -> str:
    what = f"{op.key} = {change.value!r}" if change.type == "put" else f"delete of {op.key}"
    return f"revision {op.revision}, {what} acknowledged by {op.member}"


def _executed(history: History, log: dict[Place, Entry], breaches: Breaches) -> int:
    """Every value is unique in the run, so it tells its put. Returns how many unknown ones happened. Deletes leave no
    such trace: `answers` looks for whose they may have been."""
    places: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for entry in log.values():
        if entry.type == "put":
            places[entry.key, entry.value].append(entry.revision)
    applied = 0
    for op in history.operations:
        if call_of(op.kind) not in ("put", "txn"):
            continue
        revisions = places.get((op.key, op.value), [])
        if len(revisions) > 1:
            breaches.note("Writes happen once", f"{op.key} = {op.value!r} at revisions {sorted(revisions)}")
        if revisions and (op.outcome is Outcome.FAILED or change_of(op) is None):
            breaches.note(
                "Failed writes did not happen",
                f"{op.key} = {op.value!r} at revision {revisions[0]}, though {op.member} refused it: "
                f"{op.error or 'its guard did not hold'}",
            )
        applied += op.outcome is Outcome.UNKNOWN and bool(revisions)
    return applied


# ── holes ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _lowest_needed(history: History) -> int | None:
    """The first revision that a watch asks about, or that an audit watcher could not see."""
    starts = [opened.start_revision or opened.created_revision + 1 for opened in history.watch_opened]
    return min([*starts, *(gap.first_revision for gap in history.log_gaps)], default=None)


def _highest_observed(history: History) -> int:
    """A revision that somebody was told of must exist, and so must all before it."""
    return max(
        max((op.revision for op in history.operations), default=0),
        max((event.revision for event in history.watch_events), default=0),
        max((progress.revision for progress in history.watch_progress), default=0),
        max((mark.revision for mark in history.marks), default=0),
    )


def _holes(known: list[int], lowest: int | None, highest: int) -> Iterator[tuple[int, int]]:
    """Every write takes one revision and all writes go through the LOG, so a missing number is an unseen write."""
    if not known:
        return
    first = known[0] if lowest is None else min(max(lowest, _FIRST_WRITE), known[0])
    for before, after in pairwise([first - 1, *known, max(highest, known[-1]) + 1]):
        if after - before > 1:
            yield before + 1, after - 1


def _highest_of_ours(history: History) -> int:
    """Where others write too, a header that is above the last write of the run tells of a write of theirs."""
    marker = history.mark("final_marker")
    ended = bool(marker and marker.revision)
    return max(
        max((op.revision for op in history.operations if change_of(op) or not ended), default=0),
        max((event.revision for event in history.watch_events), default=0),
        marker.revision if marker else 0,
    )


def _unseen(
    known: list[int], first: int, last: int, reached: dict[str, int], blind: dict[str, list[tuple[int, int]]]
) -> Iterator[tuple[int, int]]:
    """In a shared cluster a missing number is somebody else's write, if an audit watcher passed it with open eyes."""
    left = [(first, last)]
    for member, passed in reached.items():
        unseen = [*blind.get(member, ()), (passed + 1, last)]
        overlaps = [(max(a, c), min(b, d)) for a, b in left for c, d in unseen]
        left = [(begin, end) for begin, end in overlaps if begin <= end]
    for begin, end in sorted(left):
        inside = known[bisect_left(known, begin) : bisect_right(known, end)]
        for before, after in pairwise([begin - 1, *inside, end + 1]):
            if after - before > 1:
                yield before + 1, after - 1


def _holes_evidence(holes: list[tuple[int, int]], history: History) -> dict[str, tuple[str, ...]]:
    lines = [f"revisions {first} to {last} are known to nobody" for first, last in holes]
    lines += [
        f"{gap.member} could not see revisions {gap.first_revision} to {gap.last_revision}: {gap.reason}"
        for gap in history.log_gaps
    ]
    return {"holes": tuple(lines[:EVIDENCE_LIMIT])} if lines else {}
