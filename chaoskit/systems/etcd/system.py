"""etcd as chaoskit's controller sees it: command lines, status, single writes, audit watchers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from chaoskit.access import PLAIN, Access
from chaoskit.contracts import Examination, MemberAddresses, MemberStatus, ServerMetrics
from chaoskit.history import LogEvent, LogGap
from chaoskit.systems.etcd import member as command_line
from chaoskit.systems.etcd import metrics
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.audit import EtcdAudit
from chaoskit.systems.etcd.guest import Examiner, Tidier
from chaoskit.systems.etcd.rpc import MEMBER_LIST, PUT, STATUS, Rpc


class Etcd:
    """One version of etcd; "" is whatever is there. Raises ValueError for what is not a version."""

    name = "etcd"

    def __init__(self, version: str, access: Access = PLAIN) -> None:
        self.version = version
        self._line = command_line.line_of(version) if version else (0, 0)
        self._access = access
        self._rpc = Rpc(access)
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

    def audit(
        self, member: str, endpoint: str, prefix: str, record: Callable[[LogEvent | LogGap], None], after: int = 0
    ) -> EtcdAudit:
        audit = EtcdAudit(member, endpoint, prefix, record, after=after, access=self._access, token=self._rpc.token)
        self._audits.append(audit)
        return audit

    def metrics(self, endpoint: str, timeout_s: float) -> ServerMetrics | None:
        return metrics.ask(endpoint, timeout_s, self._access)

    def examine(self, endpoints: Mapping[str, str], prefix: str) -> Examination:
        found = Examiner(self._rpc, self._access, endpoints, prefix, self.version).examine()
        self._names = {member.id: member.name for member in found.members}
        return found

    def member_at(self, endpoint: str, behind: str, timeout_s: float) -> str:
        rpc = Rpc(replace(self._access, server_names={endpoint: self._access.server_name(behind)}))
        try:
            answer = rpc.call(endpoint, STATUS, pb.StatusRequest(), timeout_s)
        finally:
            rpc.close()
        return self._names.get(answer.header.member_id, "") if answer else ""

    def tidy(
        self, endpoints: Sequence[str], prefix: str, leases: Collection[int], deadline_s: float
    ) -> tuple[int, int]:
        return Tidier(self._rpc, endpoints, prefix, deadline_s).tidy(leases)

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
