"""etcd's promises about watches, and liveness: every watch reaches the final marker once all faults are healed.

Client loss and declared loss break no promise of the server; they are figures, and a verdict only where an SLO says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chaoskit.checkers.evidence import is_torn
from chaoskit.checkers.fault import unhealed
from chaoskit.contracts import Promises
from chaoskit.history import History
from chaoskit.results import Figures, WatchFigures
from chaoskit.verdict import Finding, Verdict

_HOW_BROKEN = {
    "Filter": "{count} of {delivered} events outside the watch's range",
    "Ordered": "{count} of {delivered} events with a revision below an earlier one",
    "Unique": "{count} of {delivered} events delivered again",
    "Atomic": "{count} revisions split over several responses",
    "Reliable": "{count} of {expected} events silently lost",
    "Resumable": "{count} events from below the start revision",
    "Bookmarkable": "{count} events at or below an earlier progress revision",
    "CompactCancel": "{count} watches cancelled as compacted without need",
    "Truthful": "{count} events that are not in the log",
}

_SLOW = " (slow watches)"  # a guarantee holds however late a client reads


class WatchChecker:
    """etcd's promises about watches, and that each reaches the final marker. Silent about a run without watches."""

    name = "watch"

    def check(self, history: History, figures: Figures, _promises: Promises) -> Sequence[Finding]:
        kinds = (("", figures.watch), (_SLOW, figures.slow_watch))
        return [finding for whose, watch in kinds if watch.watches for finding in _findings(history, watch, whose)]


def _findings(history: History, watch: WatchFigures, whose: str) -> Iterator[Finding]:
    yield from (_guarantee(name, watch, whose) for name in watch.broken)
    yield _live(history, watch, whose)


def _guarantee(name: str, watch: WatchFigures, whose: str) -> Finding:
    count, evidence, promise = watch.broken[name], watch.evidence.get(name, ()), f"{name}{whose}"
    if count:
        how = _HOW_BROKEN[name].format(count=count, delivered=watch.delivered, expected=watch.expected)
        return _finding(promise, Verdict.FAIL, f"{promise} broken: {how}; first: {evidence[0]}", watch, evidence)
    if name == "Reliable" and watch.silent_loss is None:
        return _finding(promise, Verdict.UNKNOWN, f"{promise} not known: the ground truth has a hole", watch)
    held = f"{promise} held over {watch.delivered} events of {watch.watches} watches"
    if name == "Reliable":
        held = f"{promise} held: 0 of {watch.expected} events silently lost by {watch.watches} watches{_others(watch)}"
    return _finding(promise, Verdict.PASS, held, watch)


def _others(watch: WatchFigures) -> str:
    """Losses that are not the server's."""
    lost = {"by clients that reopened at now": watch.client_loss, "declared by a compaction": watch.declared_loss}
    return "".join(f"; {count} lost {how}" for how, count in lost.items() if count)


def _live(history: History, watch: WatchFigures, whose: str) -> Finding:
    promise = f"Live after heal{whose}"
    if watch.tail == 0:
        held = f"{promise} held: every watch delivered all events up to the final marker"
        return _finding(promise, Verdict.PASS, held, watch)
    if doubt := _doubt(history, watch):
        return _finding(promise, Verdict.UNKNOWN, f"{promise} not known: {doubt}", watch)
    evidence = watch.evidence.get("tail", ())
    broken = f"{promise} broken: {watch.tail} events had not come when the drain deadline ended; first: {evidence[0]}"
    return _finding(promise, Verdict.FAIL, broken, watch, evidence)


def _doubt(history: History, watch: WatchFigures) -> str:
    """Why missing events at the end are not the server's doing; empty when they are."""
    if watch.tail is None:
        return "no final marker was acknowledged, or the ground truth has a hole"
    if is_torn(history):
        return "records of a load worker are missing"
    if history.mark("drained") is None:
        return "the run ended before the drain deadline"
    if names := unhealed(history):
        return f"not healed: {', '.join(names)}"
    return ""


def _finding(
    promise: str, verdict: Verdict, sentence: str, watch: WatchFigures, evidence: tuple[str, ...] = ()
) -> Finding:
    broken = watch.broken.get(promise.removesuffix(_SLOW), watch.tail or 0)
    return Finding(
        checker="watch",
        promise=promise,
        kind="guarantee",
        verdict=verdict,
        sentence=sentence,
        numbers={"broken": broken, "expected": watch.expected},
        evidence=evidence,
    )
