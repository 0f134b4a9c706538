"""Asks once a second what each member uses and counts; in a thread for each, so that a silent one delays nobody."""

from __future__ import annotations

import threading
import time

from chaoskit.contracts import Cluster, System
from chaoskit.errors import InfrastructureError
from chaoskit.history import ResourceSample, ShardWriter

_EVERY_S = 1.0
_TIMEOUT_S = 0.5
_STOP_DEADLINE_S = 5.0


class ResourceWatch:
    """Runs until it is closed, or the test bed is gone. Writes into the shard of whoever made it."""

    def __init__(self, cluster: Cluster, system: System, shard: ShardWriter) -> None:
        self._cluster = cluster
        self._system = system
        self._shard = shard
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(member,), name=f"resources-{member}", daemon=True)
            for member in cluster.members
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(_STOP_DEADLINE_S)

    def _follow(self, member: str) -> None:
        due = time.monotonic()
        try:
            while not self._done.wait(max(0.0, due - time.monotonic())):
                self._look(member)
                due = max(due + _EVERY_S, time.monotonic())  # no bursts after a stall
        except InfrastructureError:
            return  # the observer tells why

    def _look(self, member: str) -> None:
        process = self._cluster.process(member)
        if process.state == "down":
            return
        used = self._cluster.resources(member)
        counted = None
        if process.state == "running":
            counted = self._system.metrics(self._cluster.direct_endpoints()[member], _TIMEOUT_S)
        if used or counted:
            self._shard.add(
                ResourceSample(
                    time.monotonic_ns(),
                    member,
                    process.pid,
                    cpu_s=used.cpu_s if used else None,
                    memory_bytes=used.memory_bytes if used else None,
                    read_bytes=used.read_bytes if used else None,
                    written_bytes=used.written_bytes if used else None,
                    received_bytes=counted.received_bytes if counted else None,
                    sent_bytes=counted.sent_bytes if counted else None,
                    fsyncs=counted.fsyncs if counted else None,
                    fsync_s=counted.fsync_s if counted else None,
                    commits=counted.commits if counted else None,
                    commit_s=counted.commit_s if counted else None,
                    leader_changes=counted.leader_changes if counted else None,
                    proposals_pending=counted.proposals_pending if counted else None,
                    db_bytes=counted.db_bytes if counted else None,
                )
            )
