"""Containers beside processes: puts per second through Toxiproxy, time to the first put, time to take down.

    python -m tests.bench.backends --rounds 4 --seconds 4

Both clusters are up while they are compared, one is measured after the other, and who is first alternates. What counts
is the ratio of the two in one run; times of two machines say nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import ClusterWish
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names
from tests.bench.bed import MEMBERS, VERSION, made
from tests.bench.chaoskit_side import Chaoskit
from tests.bench.contest import Cell

_COMPARED = ("process", "docker")
_CELL = Cell("put", 64)
_FIRST_PUT_S = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.backends", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="each measures both once; default 4")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement; default 4")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for backend in _COMPARED:
            _starts(backend, Path(folder), options.rounds)
        rates = _rates(Path(folder), options.rounds, options.seconds)
    ratios = [docker / process for process, docker in zip(*(rates[name] for name in _COMPARED), strict=True)]
    print(f"puts with {_CELL.clients} clients, containers ÷ processes: {_spread(ratios)}")
    return 0


def _starts(backend: str, folder: Path, times: int) -> None:
    ready, gone = [], []
    for number in range(times):
        system = SYSTEMS["etcd"](VERSION)
        wish = ClusterWish(f"start-{backend}", member_names(MEMBERS), VERSION, {}, folder / f"{backend}-{number}", {})
        began = time.monotonic()
        cluster = BACKENDS[backend]().start(wish, system, _quiet)
        endpoint = cluster.client_endpoints()[cluster.members[0]]
        _until(lambda system=system, endpoint=endpoint: system.put(endpoint, "key", "value", 1.0) is not None)  # type: ignore[misc]
        ready.append(time.monotonic() - began)
        system.close()
        began = time.monotonic()
        cluster.close()
        gone.append(time.monotonic() - began)
    print(f"{backend}: from nothing to the first put {_spread(ready)} s; taken down {_spread(gone)} s")


def _rates(folder: Path, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Backend → puts per second of each round."""
    rates: dict[str, list[float]] = {name: [] for name in _COMPARED}
    with ExitStack() as clusters:
        beds = {}
        for name in _COMPARED:
            (folder / name).mkdir()
            beds[name] = clusters.enter_context(made(folder / name, seconds, False, _quiet, backend=name))
        for number in range(rounds):
            for name in _COMPARED if number % 2 == 0 else reversed(_COMPARED):
                sample = Chaoskit().run(_CELL, beds[name])
                rates[name].append(sample.per_s)
                print(f"round {number + 1}: {name}: {sample.per_s:,.0f} puts/s", file=sys.stderr, flush=True)
    return rates


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _FIRST_PUT_S
    while not holds():
        assert time.monotonic() < deadline, "no put was acknowledged"


def _quiet(_: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main())
