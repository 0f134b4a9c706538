"""What one load worker is asked to do: a file in the run directory, written before the worker starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from chaoskit.access import PLAIN, Access
from chaoskit.shapes import Piece, Shape
from chaoskit.spec import Spec

Arrivals = Literal["uniform", "poisson"]
"""How due times lie: all the same distance apart, or like independent people, with exponential distances."""


class WorkloadOrder(msgspec.Struct, frozen=True):
    """One entry of the workloads' table with its settings, kept as the JSON of its Spec until the worker reads it."""

    kind: str
    settings: msgspec.Raw

    @staticmethod
    def of(kind: str, spec: Spec) -> WorkloadOrder:
        return WorkloadOrder(kind, msgspec.Raw(spec.model_dump_json().encode()))


class SearchOrder(msgspec.Struct, frozen=True):
    """Steps of equal length through which one workload's rate goes instead of its own."""

    workload: str
    rates_per_s: tuple[float, ...]
    every_s: float
    p99_limit_s: float

    def shape(self) -> Shape:
        pieces = (Piece(self.every_s, rate, rate) for rate in self.rates_per_s)
        return Shape(self.rates_per_s[-1], tuple(pieces))


class LoadOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a worker needs: it reads no other file and asks nobody."""

    run_id: str
    seed: int
    prefix: str  # all keys of the run start with it
    keys: int  # put, read and watch share this many keys
    endpoints: Mapping[str, str]  # member → host:port, as clients reach it
    workloads: Mapping[str, WorkloadOrder]  # by name; they run from `go` on
    bursts: Mapping[str, WorkloadOrder] = {}  # by name; each runs once, between begin_burst and end_burst
    searches: Mapping[str, SearchOrder] = {}  # by name; each runs once, between begin_search and end_search
    shard: str  # file that the worker's history goes to
    worker: int = 0
    division: tuple[tuple[int, int], ...] = ()  # from the whole load to this worker's share of it
    timeout_s: float = 2.0  # deadline of one RPC, counted from its sending
    failover: bool = True  # the next call after a failed or unknown one goes to the next member
    arrivals: Arrivals = "uniform"
    warmup_s: float = 0.0  # from `go`: rates that change over time hold their first value until it is over
    web_ui_port: int = 0  # of Locust's own page on loopback; 0 is none
    system: str = "etcd"
    client: str = "native"
    access: Access = PLAIN  # by reference: a worker looks passwords up in its own environment and files

    def write(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))

    @staticmethod
    def read(path: Path) -> LoadOrder:
        return msgspec.json.decode(path.read_bytes(), type=LoadOrder)
