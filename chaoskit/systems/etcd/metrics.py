"""What etcd counts of itself: a few lines of its /metrics."""

from __future__ import annotations

import http.client
from collections import defaultdict

from chaoskit.access import PLAIN, Access
from chaoskit.contracts import ServerMetrics
from chaoskit.errors import InfrastructureError

_MOST_BYTES = 4 << 20  # 60 KB as a rule
_RECEIVED = ("etcd_network_client_grpc_received_bytes_total", "etcd_network_peer_received_bytes_total")
_SENT = ("etcd_network_client_grpc_sent_bytes_total", "etcd_network_peer_sent_bytes_total")


def ask(endpoint: str, timeout_s: float, access: Access = PLAIN) -> ServerMetrics | None:
    """None when no answer came in time, or none that is etcd's."""
    host, _, port = endpoint.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s)
    try:
        if access.tls:
            connection.connect()
            connection.sock = access.context().wrap_socket(
                connection.sock, server_hostname=access.server_name(endpoint)
            )
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read(_MOST_BYTES).decode(errors="replace") if answer.status == http.client.OK else ""
        return parse(text)
    except (OSError, http.client.HTTPException, InfrastructureError):
        return None
    finally:
        connection.close()


def parse(text: str) -> ServerMetrics | None:
    """Of the exposition format; the series of one name, such as those of each peer, are added up."""
    sums: defaultdict[str, float] = defaultdict(float)
    for line in text.splitlines():
        name, _, number = line.rpartition(" ")
        if line.startswith("etcd_"):
            sums[name.partition("{")[0]] += float(number)
    if "etcd_server_has_leader" not in sums:
        return None
    fsync, commit = "etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds"
    return ServerMetrics(
        fsyncs=int(sums[f"{fsync}_count"]),
        fsync_s=sums[f"{fsync}_sum"],
        commits=int(sums[f"{commit}_count"]),
        commit_s=sums[f"{commit}_sum"],
        leader_changes=int(sums["etcd_server_leader_changes_seen_total"]),
        proposals_pending=int(sums["etcd_server_proposals_pending"]),
        db_bytes=int(sums["etcd_mvcc_db_total_size_in_bytes"]),
        received_bytes=int(sum(sums[name] for name in _RECEIVED)),
        sent_bytes=int(sum(sums[name] for name in _SENT)),
    )
