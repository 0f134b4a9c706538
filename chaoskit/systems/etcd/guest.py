"""etcd as a guest sees it, who may only look around and touch keys below a prefix of his own.

`Examiner` looks and writes nothing: even the right to write is found out by a transaction whose guard never holds,
because etcd checks the rights of both branches first. `Tidier` takes away what a run wrote.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from chaoskit.access import Access
from chaoskit.contracts import Examination, FoundMember
from chaoskit.errors import InfrastructureError
from chaoskit.systems.etcd import reach
from chaoskit.systems.etcd import rpc_pb2 as pb
from chaoskit.systems.etcd.audit import end_of
from chaoskit.systems.etcd.rpc import (
    DELETE_RANGE,
    LEASE_REVOKE,
    MEMBER_LIST,
    RANGE,
    STATUS,
    TIME_TO_LIVE,
    TXN,
    Method,
    Request,
    Response,
    Rpc,
    RpcFailed,
)

LINES = ("3.5", "3.6", "3.7")
"""What chaoskit was tested with."""

_LOOK_S = 3.0
_KEYS_AT_ONCE = 5_000
_CALLERS = 8
_STILL_S = 0.3  # a write whose caller has died may still be on its way into the log


class Examiner:
    """Looks at a cluster once; `problems` has all that stands in the way of a run, each with what to do about it."""

    def __init__(self, rpc: Rpc, access: Access, endpoints: Mapping[str, str], prefix: str, version: str) -> None:
        self._rpc = rpc
        self._access = access
        self._endpoints = endpoints
        self._prefix = prefix
        self._version = version
        self.problems: list[str] = []

    def examine(self) -> Examination:
        if missing := self._access.missing():
            return Examination(problems=tuple(missing))
        with ThreadPoolExecutor(len(self._endpoints)) as pool:
            reached = dict(zip(self._endpoints, pool.map(self._reach, self._endpoints.values()), strict=True))
        for name, problem in reached.items():
            if problem:
                self._note(name, problem)
        usable = {name: self._endpoints[name] for name, problem in reached.items() if not problem}
        if not usable or not self._let_in(next(iter(usable.values()))):
            return Examination(problems=tuple(self.problems))
        members = self._members(usable)
        revision = self._rights(next(iter(usable.values()))) if members else 0
        return Examination(tuple(members.values()), revision, tuple(self.problems))

    def _reach(self, endpoint: str) -> str | None:
        return reach.problem(endpoint, self._access, _LOOK_S)

    def _note(self, name: str, problem: str) -> None:
        self.problems.append(f"{name} at {self._endpoints[name]}: {problem}")

    def _let_in(self, endpoint: str) -> bool:
        try:
            self._rpc.token(endpoint, _LOOK_S)
        except RpcFailed as failed:
            self.problems.append(_explain(failed, self._access.user, self._prefix))
            return False
        return True

    # ── who is there ──

    def _members(self, usable: Mapping[str, str]) -> dict[int, FoundMember]:
        """By etcd's id: those that an endpoint leads to."""
        found: dict[int, FoundMember] = {}
        clusters = set()
        with ThreadPoolExecutor(len(usable)) as pool:
            answers = list(pool.map(self._status, usable.items()))
        for name, status in answers:
            if status is None:
                continue
            clusters.add(status.header.cluster_id)
            self._judge(name, status)
            if other := found.get(status.header.member_id):
                self._note(name, f"it leads to the same member as {other.name}; give one endpoint for each member")
                continue
            found[status.header.member_id] = FoundMember(name, "", status.header.member_id, status.version)
        if len(clusters) > 1:
            self.problems.append("the endpoints lead to different clusters; give those of one")
        elif found:
            self._compare(found, next(iter(usable.values())))
        return found

    def _status(self, endpoint: tuple[str, str]) -> tuple[str, pb.StatusResponse | None]:
        name, address = endpoint
        try:
            return name, self._rpc.ask(address, STATUS, pb.StatusRequest(), _LOOK_S)
        except RpcFailed as failed:
            self._note(name, _explain(failed, self._access.user, self._prefix))
            return name, None

    def _judge(self, name: str, status: pb.StatusResponse) -> None:
        line = ".".join(status.version.split(".")[:2])
        if line not in LINES:
            self._note(name, f"it runs etcd {status.version}; supported are {', '.join(LINES)}")
        elif self._version and status.version != self._version:
            self._note(
                name,
                f"it runs etcd {status.version}, the experiment says {self._version}; "
                f"leave version out to take what is there",
            )
        if not status.leader:
            self._note(name, "it knows no leader; a cluster without one cannot be measured, look at its logs")
        if status.isLearner:
            self._note(name, "it is a learner, which serves no clients yet; leave its endpoint out")
        for error in status.errors:
            if "NOSPACE" in error:
                self._note(
                    name, "the alarm NOSPACE is active: no writes until there is room and `etcdctl alarm disarm`"
                )
            elif "CORRUPT" in error:
                self._note(name, "the alarm CORRUPT is active: this member's data differs from the others'")

    def _compare(self, found: dict[int, FoundMember], endpoint: str) -> None:
        """With the cluster's own list: every voting member needs an endpoint, or nobody knows what a majority is."""
        try:
            listed = self._rpc.ask(endpoint, MEMBER_LIST, pb.MemberListRequest(), _LOOK_S).members
        except RpcFailed as failed:
            self.problems.append(f"the list of members: {_explain(failed, self._access.user, self._prefix)}")
            return
        for member in listed:
            if member.ID in found:
                known = found[member.ID]
                found[member.ID] = FoundMember(known.name, member.name, known.id, known.version, tuple(member.peerURLs))
            elif not member.isLearner and len(found) == len(self._endpoints):  # else one of ours may be it
                urls = ", ".join(member.clientURLs) or "no client URL"
                self.problems.append(f"no endpoint leads to member {member.name or hex(member.ID)} ({urls}); add it")

    # ── what we may ──

    def _rights(self, endpoint: str) -> int:
        """The newest revision; notes when the prefix is not ours alone."""
        key, range_end = self._prefix.encode(), end_of(self._prefix.encode())
        question = pb.RangeRequest(key=key, range_end=range_end, count_only=True)
        never = pb.Compare(result=pb.Compare.LESS, target=pb.Compare.VERSION, key=key, version=0)
        put = pb.RequestOp(request_put=pb.PutRequest(key=key))
        delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=range_end))
        try:
            there = self._rpc.ask(endpoint, RANGE, question, _LOOK_S)
            self._rpc.ask(endpoint, TXN, pb.TxnRequest(compare=[never], success=[put]), _LOOK_S)
            self._rpc.ask(endpoint, TXN, pb.TxnRequest(compare=[never], success=[delete]), _LOOK_S)
        except RpcFailed as failed:
            self.problems.append(_explain(failed, self._access.user, self._prefix))
            return 0
        if there.count:
            self.problems.append(f"{there.count} keys are there already below {self._prefix}, which are not ours")
        return int(there.header.revision)


def _explain(failed: RpcFailed, user: str, prefix: str) -> str:
    message = failed.message
    if "permission denied" in message:
        root = prefix.split("/")[1]
        return (
            f"user {user or 'of this certificate'} may not read and write below {prefix}; "
            f"`etcdctl role grant-permission ROLE readwrite /{root}/ --prefix` allows it"
        )
    if "authentication is not enabled" in message:
        return "the cluster has authentication switched off; leave auth out"
    if "authentication failed" in message:
        return f"authentication failed: user {user} is unknown, or the password is another one"
    if "user name is empty" in message or "user name not found" in message:
        return "the cluster wants to know who we are; give auth with user and password"
    if "no leader" in message or failed.status == "DEADLINE_EXCEEDED":
        return f"no answer within {_LOOK_S:g} s ({message}); has the cluster a leader and a majority?"
    return f"{failed.status}: {message}"


class Tidier:
    """Removes keys below one prefix, and leases. Every call goes to the first endpoint that answers it."""

    def __init__(self, rpc: Rpc, endpoints: Sequence[str], prefix: str, deadline_s: float) -> None:
        if not re.fullmatch("/chaoskit/[^/]+/", prefix):
            raise ValueError(f"{prefix!r} is not the prefix of a run")
        self._rpc = rpc
        self._endpoints = endpoints
        self._prefix = prefix.encode()
        self._deadline = time.monotonic() + deadline_s

    def tidy(self, leases: Collection[int]) -> tuple[int, int]:
        """How many keys and leases went. Raises InfrastructureError; then some may be left."""
        ours = set(leases) | self._leases_of_keys(set(leases))
        with ThreadPoolExecutor(_CALLERS) as pool:
            revoked = sum(pool.map(self._revoke, ours))
        keys = 0
        while count := self._delete():
            keys += count
            time.sleep(_STILL_S)
        return keys, revoked

    def _delete(self) -> int:
        """A bounded number at once: a range of a million keys would hold the whole cluster up."""
        deleted = 0
        while True:
            page = self._call(RANGE, self._page(self._prefix))
            if not page.kvs:
                return deleted
            last = page.kvs[-1].key + b"\0" if page.more else end_of(self._prefix)
            request = pb.DeleteRangeRequest(key=page.kvs[0].key, range_end=last)
            deleted += self._call(DELETE_RANGE, request).deleted

    def _leases_of_keys(self, known: set[int]) -> set[int]:
        """Those that hold keys of the prefix and no others: a lease that nobody recorded may hold somebody else's."""
        found, key = set[int](), self._prefix
        while True:
            page = self._call(RANGE, self._page(key))
            found |= {kv.lease for kv in page.kvs if kv.lease}
            if not page.more:
                return {lease for lease in found - known if self._holds_only_ours(lease)}
            key = page.kvs[-1].key + b"\0"

    def _page(self, key: bytes) -> pb.RangeRequest:
        return pb.RangeRequest(key=key, range_end=end_of(self._prefix), limit=_KEYS_AT_ONCE, keys_only=True)

    def _holds_only_ours(self, lease: int) -> bool:
        try:
            held = self._call(TIME_TO_LIVE, pb.LeaseTimeToLiveRequest(ID=lease, keys=True))
        except InfrastructureError as error:
            if "permission denied" in str(error):  # it holds a key that we may not even see
                return False
            raise
        return all(key.startswith(self._prefix) for key in held.keys)

    def _revoke(self, lease: int) -> bool:
        try:
            self._call(LEASE_REVOKE, pb.LeaseRevokeRequest(ID=lease))
        except InfrastructureError as error:
            if "lease not found" not in str(error):
                raise
            return False  # it has expired
        return True

    def _call(self, method: Method[Request, Response], request: Request) -> Response:
        while True:
            for endpoint in self._endpoints:
                try:
                    return self._rpc.ask(endpoint, method, request, _LOOK_S)
                except RpcFailed as failed:
                    why = str(failed)
                    if failed.status in ("NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_ARGUMENT"):
                        raise InfrastructureError(why) from failed
            if time.monotonic() > self._deadline:
                raise InfrastructureError(f"{', '.join(self._endpoints)}: {why}")
            time.sleep(_STILL_S)
