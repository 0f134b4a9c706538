"""What people see while a worker runs: one second's counts. Never a source of figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from chaoskit.history import Operation, Outcome
from chaoskit.load import intervals

_ACKS_KEPT = 30  # seconds in which an acknowledgement can still give a watch event its lag
_ACKS_LIMIT = 20_000  # and so many: at high rates it is fewer seconds, not more memory
_OK = Outcome.OK  # looking it up in its Enum for each operation costs more than comparing


class LiveCounts:
    """Counts of the second that runs. `turn` ends it."""

    def __init__(self) -> None:
        self.sent = 0
        self.watch_events = 0
        self.watch_lag_ms: float | None = None
        self.ok: Counter[str] = Counter()
        self.failed = 0
        self.limit_ns = 0  # of a search: responses over it are counted, in seconds to come too
        self.unknown = 0
        self._response_ns: defaultdict[str, list[int]] = defaultdict(list)
        self._acks: dict[int, int] = {}  # revision → when it was acknowledged
        self._older_acks: dict[int, int] = {}
        self._turns = 0

    def operation(self, op: Operation) -> None:
        kind, outcome, done_ns = op.kind, op.outcome, op.done_ns
        self._response_ns[kind].append(done_ns - op.due_ns)
        if outcome is _OK:
            self.ok[kind] += 1
            self._acks.setdefault(op.revision, done_ns)
        elif outcome is Outcome.FAILED:
            self.failed += 1
        else:
            self.unknown += 1

    def watch_delivery(self, events: int, revision: int, received_ns: int) -> None:
        """One response with so many events, the first of this revision: it waited longest. What came before its
        acknowledgement has no lag to speak of."""
        self.watch_events += events
        acked_ns = self._acks.get(revision) or self._older_acks.get(revision)
        if acked_ns is not None:
            lag_ms = max(received_ns - acked_ns, 0) / 1e6
            self.watch_lag_ms = max(lag_ms, self.watch_lag_ms or 0.0)

    @property
    def responses_ns(self) -> Mapping[str, Sequence[int]]:
        """Response times of this second, by kind, whatever the outcomes."""
        return self._response_ns

    def response(self) -> dict[str, dict[int, int]]:
        """The same as interval histograms."""
        return {kind: intervals.buckets(times) for kind, times in self._response_ns.items()}

    def slow(self) -> dict[str, int]:
        """How many of this second's operations took longer than the limit of the search that runs, by kind."""
        if not self.limit_ns:
            return {}
        return {kind: sum(time > self.limit_ns for time in times) for kind, times in self._response_ns.items()}

    def turn(self) -> None:
        """The next second begins."""
        self.sent = self.watch_events = self.failed = self.unknown = 0
        self.watch_lag_ms = None
        self.ok = Counter()
        self._response_ns.clear()
        self._turns += 1
        if self._turns >= _ACKS_KEPT or len(self._acks) > _ACKS_LIMIT:
            self._older_acks, self._acks, self._turns = self._acks, {}, 0
