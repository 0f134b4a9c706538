"""Which clients and arrivals of a workload belong to which load worker.

Pure. A whole divides into parts, and a part divides again when its worker is lost, so that at any time the parts of all
workers together are exactly the one-worker load of the same seed: nothing twice, nothing missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

Division = tuple[tuple[int, int], ...]
"""From the whole to a share: part `k` of `n`, then part `j` of `m` of that, … `()` is the whole."""


class Lane(NamedTuple):
    """Every number that leaves `first` when divided by `step`."""

    first: int
    step: int

    def part(self, number: int, parts: int) -> Lane:
        """Numbers of this lane whose place in it leaves `number` when divided by `parts`."""
        return Lane(self.first + number * self.step, self.step * parts)

    def below(self, limit: int) -> range:
        return range(self.first, limit, self.step)


_ALL = Lane(0, 1)


class Share(NamedTuple):
    """What one worker does of one workload."""

    clients: Lane  # by their number within the workload
    arrivals: Lane  # by their place in the schedule

    def numbers(self, clients: int) -> Iterator[int]:
        """Those of `clients` simulated clients that are this worker's."""
        return iter(self.clients.below(clients))


WHOLE = Share(_ALL, _ALL)


def share_of(division: Division, clients: int) -> Share | None:
    """The share of a workload with so many clients; None when it has fewer clients than the division has parts.

    Arrivals are divided among those alone who have a client that could take them.
    """
    share = WHOLE
    for number, parts in division:
        takers = min(parts, len(share.clients.below(clients)))
        if number >= takers:
            return None
        share = Share(share.clients.part(number, parts), share.arrivals.part(number, takers))
    return share


class Divided:
    """Who has which divisions of the load, from an even start through any number of losses."""

    def __init__(self, workers: Iterable[int]) -> None:
        there = tuple(workers)
        whole: list[Division] = [((place, len(there)),) if len(there) > 1 else () for place in range(len(there))]
        self._held: dict[int, list[Division]] = {worker: [part] for worker, part in zip(there, whole, strict=True)}

    def held(self) -> dict[int, tuple[Division, ...]]:
        return {worker: tuple(divisions) for worker, divisions in self._held.items()}

    def lose(self, worker: int, others: Iterable[int]) -> Iterator[tuple[int, Division]]:
        """What the lost worker had, for the others: (worker, division) to be adopted."""
        heirs = tuple(others)
        for division in self._held.pop(worker, []):
            for place, heir in enumerate(heirs):
                part = (*division, (place, len(heirs)))
                self._held[heir].append(part)
                yield heir, part
