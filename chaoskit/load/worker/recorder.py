"""Where every operation and watch message of a worker goes: into its shard and the live counts.

Nothing is kept beyond a flush but what is in flight. That is mentioned by some flushes, each operation once, so that a
killed worker leaves no call unmentioned that was older than the last of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from time import monotonic_ns
from typing import Any

from chaoskit.history import Operation, Outcome, Record, ShardWriter
from chaoskit.load.worker.live import LiveCounts

_log = logging.getLogger(__name__)


class Call(Operation, frozen=False, array_like=True, tag="o", gc=False):  # type: ignore[misc]  # frozen is undone
    """An Operation that is not over: the same on disk, but its end is set in place. Making a second record of each call
    took 0.7 µs, a twentieth of all that it costs."""


Settable = Any
"""A Call whose fields are set: type checkers hold the subclass of a frozen record to be frozen, too."""


class Recorder:
    """`add` takes any finished record; operations go through `begin` and `end`."""

    def __init__(self, worker: int, writer: ShardWriter, refused: Callable[[Operation], None]) -> None:
        """`refused` is told of each operation that was not acknowledged."""
        self.worker = worker
        self.live = LiveCounts()
        self.next_number = count(1).__next__
        self.in_flight: dict[int, Call] = {}  # in the order of sending
        self.add: Callable[[Record], None] = writer.add
        self._writer = writer
        self._refused = refused
        self._mentioned_ns = 0
        self._strange: set[str] = set()

    def begin(self, op: Call) -> None:
        self.in_flight[op.number] = op
        self.live.sent += 1

    def end(self, op: Call, outcome: Outcome, done_ns: int, error: str = "") -> None:
        """The call came back, or was given up; what the answer told stands in `op`. It belongs to the history now."""
        if self.in_flight.pop(op.number, None) is None:
            return  # `close` has already given it up, and written it
        ended: Settable = op
        ended.outcome, ended.done_ns, ended.error = outcome, done_ns, error
        self.add(op)
        self.live.operation(op)
        if outcome is not Outcome.OK:
            self._refused(op)

    def strange(self, error: BaseException) -> str:
        """What to write of an exception that the client should have translated. Logged at its first coming."""
        name = type(error).__name__
        if name not in self._strange:
            self._strange.add(name)
            _log.warning("the client raised what it should have translated", exc_info=error)
        return f"{name}: {error}"

    def flush(self, *, mention: bool = True) -> None:
        """Write what was recorded, and with `mention` what is in flight and was not when it was last asked for."""
        if mention:
            for op in reversed(self.in_flight.values()):
                if op.sent_ns <= self._mentioned_ns:
                    break
                self.add(op)
            self._mentioned_ns = monotonic_ns()
        self._writer.flush()

    def close(self) -> None:
        """What is still in flight is unknown for good."""
        for op in list(self.in_flight.values()):
            self.end(op, Outcome.UNKNOWN, monotonic_ns(), op.error)
        self._writer.close()
