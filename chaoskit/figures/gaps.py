"""Write gaps: the longest time without an acknowledged write, by any client and by a single one that puts.

The edges count: from the beginning of the span to the first acknowledgement, and from the last one to its end. A
cluster that never acknowledged anything has a gap as long as the span.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from chaoskit.history import History, Operation, Outcome

KIND = "put"
KINDS = (KIND, "delete", "txn")  # each has to pass the majority, also when it changes nothing


@dataclass(frozen=True, slots=True)
class Gap:
    begins_ns: int
    ends_ns: int

    @property
    def lasted_ns(self) -> int:
        return self.ends_ns - self.begins_ns


class Writes:
    """When writes were acknowledged. Puts with a lease are bookkeeping of the lease workload and left out."""

    def __init__(self, history: History) -> None:
        writes = [op for op in history.operations if op.kind in KINDS and not op.lease]
        self.offered = bool(writes) or any(unsent.kind in KINDS for unsent in history.unsent)
        self._acked_ns = _acknowledged(writes)
        self._clients = _by_client([op for op in writes if op.kind == KIND])

    def longest_gap(self, begins_ns: int, ends_ns: int) -> Gap | None:
        """Of the whole cluster within a span; None when nothing was to be written."""
        return _longest_gap(self._acked_ns, begins_ns, ends_ns) if self.offered else None

    def longest_gap_of_one_client(self, begins_ns: int, ends_ns: int) -> Gap | None:
        gaps = [_longest_gap(acked_ns, begins_ns, ends_ns) for acked_ns in self._clients]
        return max(gaps, key=lambda gap: gap.lasted_ns, default=None)


def _longest_gap(acked_ns: Sequence[int], begins_ns: int, ends_ns: int) -> Gap:
    inside = acked_ns[bisect_left(acked_ns, begins_ns) : bisect_right(acked_ns, ends_ns)]
    gaps = (Gap(before, after) for before, after in pairwise([begins_ns, *inside, ends_ns]))
    return max(gaps, key=lambda gap: gap.lasted_ns)


def _acknowledged(writes: list[Operation]) -> list[int]:
    return sorted(op.done_ns for op in writes if op.outcome is Outcome.OK)


def _by_client(puts: list[Operation]) -> list[list[int]]:
    clients: defaultdict[tuple[int, int], list[Operation]] = defaultdict(list)
    for op in puts:
        clients[op.worker, op.client].append(op)
    return [_acknowledged(of_one) for of_one in clients.values()]
