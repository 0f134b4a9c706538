"""A member's command line, and which flags an experiment may add to it.

Flags differ by line: 3.6 gave the `experimental-` ones plain names, 3.7 refuses to start with the old spellings.
The names were read from `etcd --help` and `embed/config.go` of 3.5.33, 3.6.14 and 3.7.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from chaoskit.contracts import MemberAddresses

PROGRESS_INTERVAL = "500ms"
"""Every idle watch hears of progress this often, so that a client knows a dead stream from a quiet one."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VERSION = re.compile(r"(\d+)\.(\d+)\.\d+(-[0-9A-Za-z.-]+)?")

_OWNED = (  # what the name matches as a whole → why it is not the experiment's to set
    (r"name|(.*-)?advertise-.*|listen-.*", "chaoskit names the members and chooses their addresses"),
    (r"data-dir|wal-dir", "chaoskit keeps each member's data below the run's own folder"),
    (r"initial-cluster.*|discovery.*|force-new-cluster", "chaoskit forms the cluster"),
    (r"(.*-)?watch-progress-notify-interval", f"it is {PROGRESS_INTERVAL}: dead watches are found by missing progress"),
    (r"logger|log-outputs|enable-log-rotation|log-rotation-config-json", "chaoskit keeps each member's log"),
    (r".*cert.*|.*-san-.*|.*key-file|.*ca-file|.*crl-file|.*tls.*|cipher-suites", "links carry plain text"),
    (r"config-file", "etcd would ignore every other flag"),
    (r"proxy.*", "a proxy is no member"),
    (r"version|help|h", "etcd would print it and exit"),
)  # fmt: skip


def _words(text: str, prefix: str = "") -> frozenset[str]:
    return frozenset(prefix + word for word in text.split())


_EVERY_LINE = _words(
    """
    auth-token auth-token-ttl auto-compaction-mode auto-compaction-retention backend-batch-interval
    backend-batch-limit backend-bbolt-freelist-type bcrypt-cost cors election-timeout enable-grpc-gateway
    enable-pprof grpc-keepalive-interval grpc-keepalive-min-time grpc-keepalive-timeout heartbeat-interval
    host-whitelist initial-election-tick-advance log-level max-concurrent-streams max-request-bytes
    max-snapshots max-txn-ops max-wals metrics pre-vote quota-backend-bytes raft-read-timeout raft-write-timeout
    snapshot-count socket-reuse-address socket-reuse-port strict-reconfig-check unsafe-no-fsync v2-deprecation
    """
)
_SINCE_3_6 = _words(
    """
    bootstrap-defrag-threshold-megabytes compact-hash-check-time compaction-batch-limit
    compaction-sleep-interval corrupt-check-time distributed-tracing-address distributed-tracing-instance-id
    distributed-tracing-sampling-rate distributed-tracing-service-name downgrade-check-time
    enable-distributed-tracing feature-gates log-format max-learners memory-mlock snapshot-catchup-entries
    warning-apply-duration warning-unary-request-duration
    """
)
_UNTIL_3_6 = _words(
    """
    bootstrap-defrag-threshold-megabytes compact-hash-check-enabled compact-hash-check-time
    compaction-batch-limit compaction-sleep-interval corrupt-check-time distributed-tracing-address
    distributed-tracing-instance-id distributed-tracing-sampling-rate distributed-tracing-service-name
    downgrade-check-time enable-distributed-tracing enable-lease-checkpoint enable-lease-checkpoint-persist
    initial-corrupt-check memory-mlock snapshot-catchup-entries stop-grpc-service-on-defrag
    txn-mode-write-with-shared-buffer warning-apply-duration
    """,
    "experimental-",
)
_KNOWN: dict[tuple[int, int], frozenset[str]] = {
    (3, 5): _EVERY_LINE | _UNTIL_3_6 | {"enable-v2", "experimental-enable-v2v3"},
    (3, 6): _EVERY_LINE | _UNTIL_3_6 | _SINCE_3_6 | {"experimental-warning-unary-request-duration"},
    (3, 7): _EVERY_LINE | _SINCE_3_6,
}


def line_of(version: str) -> tuple[int, int]:
    """(3, 6) of 3.6.14. Raises ValueError for anything that is not a version."""
    match = _VERSION.fullmatch(version)
    if not match:
        raise ValueError(f"{version!r} is not an etcd version; write all three numbers, such as 3.6.14")
    return int(match[1]), int(match[2])


def argv(
    line: tuple[int, int],
    binary: Path,
    member: MemberAddresses,
    cluster: Sequence[MemberAddresses],
    data_dir: Path,
    token: str,
    flags: Mapping[str, str],
) -> list[str]:
    """Also for a restart: etcd ignores the `initial-` flags once the data folder exists."""
    own = {
        "name": member.name,
        "data-dir": str(data_dir),
        "listen-client-urls": member.listen_client,
        "advertise-client-urls": member.advertise_client,
        "listen-peer-urls": member.listen_peer,
        "initial-advertise-peer-urls": member.advertise_peer,
        "initial-cluster": ",".join(f"{each.name}={each.advertise_peer}" for each in cluster),
        "initial-cluster-state": "new",
        "initial-cluster-token": token,
        "logger": "zap",
        "log-outputs": "stderr",
        _progress_flag(line): PROGRESS_INTERVAL,
    }
    wanted = {_plain(name): value for name, value in flags.items()}
    return [str(binary), *(f"--{name}={value}" for name, value in (own | wanted).items())]


def refused(line: tuple[int, int], flags: Mapping[str, str]) -> dict[str, str]:
    """The flags that etcd of this line must not be given, as they were written, each with the reason."""
    reasons = {name: _reason(line, _plain(name), value) for name, value in flags.items()}
    seen: set[str] = set()
    for name in flags:
        if _plain(name) in seen:
            reasons[name] = reasons[name] or f"--{_plain(name)} is given twice"
        seen.add(_plain(name))
    return {name: reason for name, reason in reasons.items() if reason}


def _reason(line: tuple[int, int], name: str, value: str) -> str:
    if not _NAME.fullmatch(name):
        return "not the name of a flag: lower-case letters, digits and dashes"
    if not value.isprintable():
        return "its value holds characters that cannot stand on a command line"
    owned = next((why for pattern, why in _OWNED if re.fullmatch(pattern, name)), "")
    return owned or _unknown(line, name)


def _unknown(line: tuple[int, int], name: str) -> str:
    known = _KNOWN.get(line)
    if known is None or name in known:  # of other lines we do not know the flags: etcd itself will say
        return ""
    plain = name.removeprefix("experimental-")
    if plain in known:
        return f"etcd {line[0]}.{line[1]} calls it {plain}"
    if name.startswith("experimental-") and line >= (3, 7):
        return f"etcd {line[0]}.{line[1]} has no experimental flags any more; it may be one of its feature-gates"
    near = get_close_matches(name, known, n=1)
    return f"etcd {line[0]}.{line[1]} has no such flag" + (f"; did you mean {near[0]}?" if near else "")


def _plain(name: str) -> str:
    return name.lstrip("-")


def _progress_flag(line: tuple[int, int]) -> str:
    return "watch-progress-notify-interval" if line >= (3, 6) else "experimental-watch-progress-notify-interval"
