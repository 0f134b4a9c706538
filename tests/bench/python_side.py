"""The peers that are written in Python: one process for each measurement, which reports what it counted."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tests.bench import child
from tests.bench.bed import KEYS, PREFIX, PUT_CLIENTS, Bed, watchers_of
from tests.bench.contest import Cell, Sample
from tests.bench.python_peer import ORDER_VARIABLE
from tests.bench.workloads import VALUE_BYTES

PLAIN = "locust + etcd3"
GRPCIO = "grpcio, gevent"

_HERE = Path(__file__).parent
_MARGIN_S = 60.0


class PythonPeer:
    """As fast as it goes only: neither of them is a load generator with a rate."""

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._argv = argv
        self._environment = environment

    def cannot(self, cell: Cell) -> str:
        return "it has no rate" if cell.rate_per_s else ""

    def run(self, cell: Cell, bed: Bed) -> Sample:
        folder = bed.turn()
        out = folder / "sample.json"
        clients = watchers_of(cell.clients, len(bed.endpoints)) if cell.figure == "watch" else cell.clients
        order = {
            "figure": cell.figure, "clients": clients, "put_clients": PUT_CLIENTS, "seconds": bed.seconds,
            "endpoints": list(bed.endpoints.values()), "key": bed.key, "prefix": PREFIX, "keys": KEYS,
            "value_bytes": VALUE_BYTES, "out": str(out),
        }  # fmt: skip
        environment = {**self._environment, ORDER_VARIABLE: json.dumps(order), "PYTHONPATH": str(_HERE.parents[1])}
        users = str(clients + (PUT_CLIENTS if cell.figure == "watch" else 0))
        argv = [users if word == "@users" else word for word in self._argv]
        ended = child.run(
            argv, deadline_s=bed.seconds + _MARGIN_S, cwd=folder, real_time=bed.real_time, environment=environment
        )
        if not out.is_file():
            raise child.ContenderBroke(f"{self.name} did not report:\n{ended.output[-2000:]}")
        return msgspec.json.decode(out.read_bytes(), type=Sample)


def plain() -> PythonPeer:
    locust = [sys.executable, "-m", "locust", "-f", str(_HERE / "plain_locustfile.py"), "--headless", "--only-summary"]
    argv = [*locust, "-u", "@users", "-r", "@users", "--exit-code-on-error", "0"]
    return PythonPeer(PLAIN, argv, {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"})


def grpcio() -> PythonPeer:
    return PythonPeer(GRPCIO, [sys.executable, "-m", "tests.bench.grpcio_peer"], {})
