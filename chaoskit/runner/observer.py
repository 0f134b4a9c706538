"""Looks at the cluster from beside the load: member samples, leader changes, audit watchers, write probes, trouble.

Everything goes into the controller's shard of the history. The paths it uses are not touched by faults.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from chaoskit.contracts import Audit, Cluster, System
from chaoskit.errors import BedLost
from chaoskit.history import Mark, MemberSample, ShardWriter, WriteProbe
from chaoskit.runner.resources import ResourceWatch
from chaoskit.topology import majority

_EVERY_S = 0.25
_STATUS_TIMEOUT_S = 0.2
_FLUSH_EVERY_S = 1.0
_WRITE_EVERY_S = 0.5
_WRITE_TIMEOUT_S = 1.0
_STOP_DEADLINE_S = 5.0


class Observer:
    """One thread that samples; for each member an audit watcher and a thread that tries to write.

    `leader` is the newest that a majority names. `bed_lost` says why there is nothing to look at any more.
    """

    def __init__(self, cluster: Cluster, system: System, prefix: str, shard: ShardWriter) -> None:
        self.leader = ""
        self.bed_lost = ""
        self._cluster = cluster
        self._system = system
        self._shard = shard
        self._done = threading.Event()
        self._pool = ThreadPoolExecutor(len(cluster.members), "status")
        self._flushing = threading.Lock()
        self.audits: dict[str, Audit] = {
            member: system.audit(member, endpoint, prefix, shard.add, cluster.base_revision)
            for member, endpoint in cluster.direct_endpoints().items()
        }
        self._resources = ResourceWatch(cluster, system, shard)
        self._threads = [threading.Thread(target=self._loop, name="observer", daemon=True)]
        self._threads += [
            threading.Thread(target=self._probe_writes, args=(member, f"{prefix}probe/{member}"), daemon=True)
            for member in cluster.members
        ]
        for thread in self._threads:
            thread.start()

    def flush(self) -> None:
        """Write what was seen so far to disk."""
        with self._flushing:
            self._shard.flush()

    def wait_audits(self, revision: int, deadline_s: float) -> list[str]:
        """Wait until every audit watcher has passed the revision; the members whose watcher did not."""
        deadline = time.monotonic() + deadline_s
        while True:
            late = [member for member, audit in self.audits.items() if audit.revision < revision]
            if not late or time.monotonic() > deadline:
                return late
            time.sleep(0.02)

    def close(self) -> None:
        """Stop looking; the shard stays open and flushed."""
        self._done.set()
        self._resources.close()
        for thread in self._threads:
            thread.join(_STOP_DEADLINE_S)
        self._pool.shutdown(wait=False, cancel_futures=True)
        for audit in self.audits.values():
            audit.close()
        self.flush()

    def _loop(self) -> None:
        try:
            self._look()
        except BedLost as error:
            self.bed_lost = str(error)
            self._shard.add(Mark("infra_fault", time.monotonic_ns(), self.bed_lost))

    def _look(self) -> None:
        next_flush = time.monotonic() + _FLUSH_EVERY_S
        while not self._done.wait(_EVERY_S):
            self._note_leader(list(self._pool.map(self._sample, self._cluster.members)))
            for problem in self._cluster.trouble():
                self._shard.add(Mark("infra_fault", time.monotonic_ns(), problem))
            if time.monotonic() >= next_flush:
                self.flush()
                next_flush = time.monotonic() + _FLUSH_EVERY_S

    def _sample(self, member: str) -> MemberSample:
        process = self._cluster.process(member)
        status = None
        if process.state == "running":
            status = self._system.status(self._cluster.direct_endpoints()[member], _STATUS_TIMEOUT_S)
        at_ns = time.monotonic_ns()
        if status is None:
            state = "silent" if process.state == "running" else process.state
            sample = MemberSample(at_ns, member, state, process.pid)
        else:
            sample = MemberSample(
                at_ns, member, "up", process.pid, status.leader, status.term, status.revision, status.raft_index,
                status.db_size, status.version,
            )  # fmt: skip
        self._shard.add(sample)
        return sample

    def _probe_writes(self, member: str, key: str) -> None:
        """Clients move away from a member that does not answer; this thread does not, so what it can do stays known."""
        endpoint = self._cluster.direct_endpoints()[member]
        number = 0
        while not self._done.wait(_WRITE_EVERY_S):
            number += 1
            sent_ns = time.monotonic_ns()
            revision = self._system.put(endpoint, key, f"probe-{member}-{number}", _WRITE_TIMEOUT_S)
            self._shard.add(WriteProbe(member, sent_ns, time.monotonic_ns(), revision or 0))

    def _note_leader(self, samples: list[MemberSample]) -> None:
        named = Counter(sample.leader for sample in samples if sample.leader)
        leader, votes = named.most_common(1)[0] if named else ("", 0)
        if votes >= majority(len(self._cluster.members)) and leader != self.leader:
            term = max(sample.term for sample in samples)
            self._shard.add(
                Mark(
                    "leader_changed",
                    time.monotonic_ns(),
                    f"{self.leader or 'nobody'} -> {leader}, term {term}",
                    member=leader,
                )
            )
            self.leader = leader
