"""What people see while a worker runs: one second's counts. Never a source of figures."""

from __future__ import annotations

from collections import Counter, defaultdict

from chaoskit.history import Operation, Outcome

_ACKS_KEPT = 30  # seconds in which an acknowledgement can still give a watch event its lag


class LiveCounts:
    """Counts of the second that runs. `turn` ends it."""

    def __init__(self) -> None:
        self.sent = 0
        self.watch_events = 0
        self.watch_lag_ms: float | None = None
        self.ok: Counter[str] = Counter()
        self.failed = 0
        self.unknown = 0
        self._response_ns: defaultdict[str, list[int]] = defaultdict(list)
        self._acks: dict[int, int] = {}  # revision → when it was acknowledged
        self._older_acks: dict[int, int] = {}
        self._turns = 0

    def operation(self, op: Operation) -> None:
        self._response_ns[op.kind].append(op.done_ns - op.due_ns)
        if op.outcome is Outcome.OK:
            self.ok[op.kind] += 1
            self._acks.setdefault(op.revision, op.done_ns)
        elif op.outcome is Outcome.FAILED:
            self.failed += 1
        else:
            self.unknown += 1

    def watch_event(self, revision: int, received_ns: int) -> None:
        """An event that came before its acknowledgement has no lag to speak of."""
        self.watch_events += 1
        acked_ns = self._acks.get(revision) or self._older_acks.get(revision)
        if acked_ns is not None:
            lag_ms = max(received_ns - acked_ns, 0) / 1e6
            self.watch_lag_ms = max(lag_ms, self.watch_lag_ms or 0.0)

    def p99_ms(self) -> dict[str, float]:
        """Response time of this second, by kind."""
        return {kind: _p99(times) / 1e6 for kind, times in self._response_ns.items()}

    def turn(self) -> None:
        """The next second begins."""
        self.sent = self.watch_events = self.failed = self.unknown = 0
        self.watch_lag_ms = None
        self.ok = Counter()
        self._response_ns.clear()
        self._turns += 1
        if self._turns % _ACKS_KEPT == 0:
            self._older_acks, self._acks = self._acks, {}


def _p99(times: list[int]) -> int:
    times.sort()
    return times[min(len(times) - 1, len(times) * 99 // 100)]
