"""The bench's own workloads: what etcd's benchmark does and no application does, as fast as it goes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from chaoskit.contracts import Session
from chaoskit.shapes import Pace
from chaoskit.spec import Spec
from chaoskit.workloads.keys import put_key

TTL_S = 100
VALUE_BYTES = 100


class Keepalive(Spec):
    """Each client has one lease and renews it again and again."""

    kind: ClassVar[str] = "bench_keepalive"
    operations: ClassVar[tuple[str, ...]] = ("lease_keepalive", "lease_grant")

    clients_: int = Field(64, ge=1)

    def clients(self) -> int:
        return self.clients_

    def pace(self) -> Pace | None:
        return None

    def live(self, session: Session) -> None:
        granted = session.lease_grant(TTL_S, due_ns=session.now_ns())
        session.ready()
        while granted and not session.stopping:
            session.lease_keepalive(granted.lease, due_ns=session.now_ns(), ttl_s=TTL_S)


class Swap(Spec):
    """Each client has one key and writes it again and again, by a transaction whose comparison always holds."""

    kind: ClassVar[str] = "bench_swap"
    operations: ClassVar[tuple[str, ...]] = ("txn",)

    clients_: int = Field(64, ge=1)

    def clients(self) -> int:
        return self.clients_

    def pace(self) -> Pace | None:
        return None

    def live(self, session: Session) -> None:
        key, revision = put_key(session.prefix, 1 + session.number), 0
        session.ready()
        while not session.stopping:
            now_ns = session.now_ns()
            swapped = session.compare_and_swap(key, mod_revision=revision, size=VALUE_BYTES, due_ns=now_ns)
            if swapped:
                revision = swapped.revision if swapped.succeeded else swapped.mod_revision


BENCH_WORKLOADS = {workload.kind: workload for workload in (Keepalive, Swap)}
