"""The cluster that all contenders share: three members, every link through Toxiproxy, wiped before each turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from chaoskit.clusters import BACKENDS
from chaoskit.contracts import Cluster, ClusterWish, Say
from chaoskit.systems import SYSTEMS
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.rpc import COMPACT, PUT, Method, Rpc
from chaoskit.topology import member_names
from tests.bench.child import ContenderBroke
from tests.bench.workloads import VALUE_BYTES

VERSION = "3.6.14"
MEMBERS = 3
KEYS = 1000
PREFIX = "/bench/"
PUT_CLIENTS = 16  # that feed the watches

_DELETE = Method("/etcdserverpb.KV/DeleteRange", pb.DeleteRangeRequest, pb.DeleteRangeResponse)
_DEADLINE_S = 30.0


def watchers_of(clients: int, members: int) -> int:
    """As many as share the members evenly, so that every contender's streams carry the same."""
    return max(clients // members * members, 1)


@dataclass(frozen=True)
class Bed:
    """A running cluster, and a folder for each turn."""

    endpoints: dict[str, str]  # member → host:port, through Toxiproxy
    direct: str  # one member, around Toxiproxy
    folder: Path
    seconds: float  # of one measurement
    real_time: bool  # contenders run before everybody else, as the load worker of a run as root does
    _rpc: Rpc
    _turns: Iterator[int] = field(default_factory=count)

    @property
    def key(self) -> str:
        """The one that every reader reads."""
        return f"{PREFIX}put/000000"

    def turn(self) -> Path:
        """A fresh key space, with the compaction of the last one done, and an empty folder."""
        gone = self._rpc.call(self.direct, _DELETE, pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"), _DEADLINE_S)
        if gone is None:
            raise ContenderBroke("the cluster did not delete its keys")
        compact = pb.CompactionRequest(revision=gone.header.revision, physical=True)
        if self._rpc.call(self.direct, COMPACT, compact, _DEADLINE_S) is None:
            raise ContenderBroke("the cluster did not compact")
        put = pb.PutRequest(key=self.key.encode(), value=b"x" * VALUE_BYTES)
        if self._rpc.call(self.direct, PUT, put, _DEADLINE_S) is None:
            raise ContenderBroke("the cluster does not write")
        folder = self.folder / str(next(self._turns))
        folder.mkdir()
        return folder


@contextmanager
def made(folder: Path, seconds: float, real_time: bool, say: Say, backend: str = "process") -> Iterator[Bed]:
    """Build the cluster in `folder`, take it down at the end."""
    system = SYSTEMS["etcd"](VERSION)
    wish = ClusterWish(f"bench-{backend}", member_names(MEMBERS), VERSION, {}, folder / "cluster", {})
    wish.run_dir.mkdir()
    cluster: Cluster = BACKENDS[backend]().start(wish, system, say)
    rpc = Rpc()
    try:
        direct = cluster.direct_endpoints()[cluster.members[0]]
        yield Bed(cluster.client_endpoints(), direct, folder, seconds, real_time, rpc)
    finally:
        rpc.close()
        cluster.close()
        system.close()
