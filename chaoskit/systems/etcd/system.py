"""etcd as chaoskit's controller sees it: command lines, status, single writes, audit watchers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chaoskit.contracts import MemberAddresses, MemberStatus, ServerMetrics
from chaoskit.history import LogEvent, LogGap
from chaoskit.systems.etcd import member as command_line
from chaoskit.systems.etcd import metrics
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.audit import EtcdAudit
from chaoskit.systems.etcd.rpc import MEMBER_LIST, PUT, STATUS, Rpc


class Etcd:
    """One version of etcd. Raises ValueError for what is not a version."""

    name = "etcd"

    def __init__(self, version: str) -> None:
        self.version = version
        self._line = command_line.line_of(version)
        self._rpc = Rpc()
        self._names: dict[int, str] = {}  # member id → name; an id is never given to another member
        self._audits: list[EtcdAudit] = []

    def member_argv(
        self,
        binary: Path,
        member: MemberAddresses,
        cluster: Sequence[MemberAddresses],
        data_dir: Path,
        token: str,
        flags: Mapping[str, str],
    ) -> list[str]:
        return command_line.argv(self._line, binary, member, cluster, data_dir, token, flags)

    def refused_flags(self, flags: Mapping[str, str]) -> dict[str, str]:
        return command_line.refused(self._line, flags)

    def status(self, endpoint: str, timeout_s: float) -> MemberStatus | None:
        deadline = time.monotonic() + timeout_s
        answer = self._rpc.call(endpoint, STATUS, pb.StatusRequest(), timeout_s)
        if answer is None:
            return None
        return MemberStatus(
            leader=self._name(endpoint, answer.leader, deadline),
            term=answer.raftTerm,
            revision=answer.header.revision,
            raft_index=answer.raftIndex,
            db_size=answer.dbSize,
            version=answer.version,
        )

    def put(self, endpoint: str, key: str, value: str, timeout_s: float) -> int | None:
        request = pb.PutRequest(key=key.encode(), value=value.encode())
        answer = self._rpc.call(endpoint, PUT, request, timeout_s)
        return answer.header.revision if answer else None

    def audit(self, member: str, endpoint: str, prefix: str, record: Callable[[LogEvent | LogGap], None]) -> EtcdAudit:
        audit = EtcdAudit(member, endpoint, prefix, record)
        self._audits.append(audit)
        return audit

    def metrics(self, endpoint: str, timeout_s: float) -> ServerMetrics | None:
        return metrics.ask(endpoint, timeout_s)

    def close(self) -> None:
        for audit in self._audits:
            audit.close()
        self._rpc.close()

    def _name(self, endpoint: str, member_id: int, deadline: float) -> str:
        """By the answering member's own list, which it has without a quorum; "" for no leader."""
        if member_id and member_id not in self._names:
            remaining = max(deadline - time.monotonic(), 0.05)
            listed = self._rpc.call(endpoint, MEMBER_LIST, pb.MemberListRequest(), remaining)
            self._names |= {each.ID: each.name for each in listed.members if each.name} if listed else {}
        return self._names.get(member_id, "")
