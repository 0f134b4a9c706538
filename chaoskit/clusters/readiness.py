"""Waiting until a new cluster works: all members name one leader by their status RPC, and are the right version."""

from __future__ import annotations

import time
from collections.abc import Mapping

from chaoskit.clusters.member import Member
from chaoskit.contracts import MemberStatus, System
from chaoskit.errors import ClusterNotReady

_READY_DEADLINE_S = 30.0
_STATUS_DEADLINE_S = 0.5


def wait_until_ready(members: Mapping[str, Member], endpoints: Mapping[str, str], system: System, version: str) -> None:
    """Raises ClusterNotReady with the log of a member that ended or is late, or that is another version."""
    deadline = time.monotonic() + _READY_DEADLINE_S
    while True:
        statuses = {name: system.status(endpoint, _STATUS_DEADLINE_S) for name, endpoint in endpoints.items()}
        leaders = {status.leader if status else "" for status in statuses.values()}
        if len(leaders) == 1 and leaders != {""}:
            _check_versions(statuses, version)
            return
        dead = [name for name, member in members.items() if member.process().state == "down"]
        if dead:
            raise ClusterNotReady(f"member {dead[0]} ended while starting: {members[dead[0]].last_words()}")
        if time.monotonic() > deadline:
            raise ClusterNotReady(_who_is_late(members, statuses))
        time.sleep(0.02)


def _check_versions(statuses: Mapping[str, MemberStatus | None], version: str) -> None:
    """An image can be anything, whatever its tag says."""
    for name, status in statuses.items():
        if status and status.version != version:
            raise ClusterNotReady(f"member {name} says that it is version {status.version}, {version} was asked for")


def _who_is_late(members: Mapping[str, Member], statuses: Mapping[str, MemberStatus | None]) -> str:
    views = {name: f"leader {status.leader or 'none'}" if status else "silent" for name, status in statuses.items()}
    late = next((name for name, status in statuses.items() if not status or not status.leader), next(iter(members)))
    seen = ", ".join(f"{name}: {view}" for name, view in views.items())
    return (
        f"the members did not agree on a leader within {_READY_DEADLINE_S:g} s ({seen}); "
        f"{late}: {members[late].last_words()}"
    )
