"""What a load worker does with an etcd3 client, in a gevent-patched process of its own.

    python -m tests.integration.etcd3_worker SCENE ENDPOINT PID

Prints what it saw as one JSON object. PID is the member's, for scenes that hurt it.
"""

# ruff: noqa: E402  gevent patches first
from gevent import monkey

monkey.patch_all()

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent

from chaoskit.contracts import CallFailed, Client, Reply, WatchMessage
from chaoskit.systems.etcd.clients import CLIENTS

FACTORY = CLIENTS["etcd3"]()


class Heard(list[WatchMessage]):
    """Everything one watch was told."""

    def values(self) -> list[str]:
        return [value.decode() for message in self for _, _, _, value in message.events]

    def reasons(self) -> list[str]:
        return [message.reason for message in self if message.kind == "closed"]

    def wait(self, true: Callable[[], object], deadline_s: float = 5.0) -> None:
        with gevent.Timeout(deadline_s, AssertionError(f"waited {deadline_s} s, heard {list(self)}")):
            while not true():
                gevent.sleep(0.01)


def failure(call: Callable[[], object]) -> tuple[str, str]:
    try:
        return "OK", str(call())
    except CallFailed as failed:
        return failed.outcome.name, str(failed)


def freeze(pid: int) -> None:
    """SIGSTOP, and wait until every thread has stopped: a fast client is answered by those that have not."""
    os.kill(pid, signal.SIGSTOP)
    with gevent.Timeout(5):
        while any(
            stat.read_text().rpartition(")")[2].split()[0] != "T" for stat in Path(f"/proc/{pid}").glob("task/*/stat")
        ):
            gevent.sleep(0.001)


def calls(client: Client, pid: int) -> dict[str, Any]:
    missing = client.get(b"calls/missing", serializable=True, timeout_s=2)
    put = client.put(b"calls/a", b"1|padding", lease=0, timeout_s=2)
    read = client.get(b"calls/a", serializable=False, timeout_s=2)
    granted = client.lease_grant(60, timeout_s=2)
    kept = client.lease_keepalive(granted.lease, timeout_s=2)
    leased = client.put(b"calls/leased", b"2|", lease=granted.lease, timeout_s=2)
    held = client.get(b"calls/leased", serializable=False, timeout_s=2)
    client.lease_revoke(granted.lease, timeout_s=2)
    gone = client.lease_keepalive(granted.lease, timeout_s=2)
    return {
        "missing": missing == Reply(revision=put.revision - 1),
        "read": read == Reply(put.revision, put.revision, b"1|padding"),
        "ttl": (granted.ttl_s, kept.ttl_s, gone.ttl_s),
        "held": held == Reply(leased.revision, leased.revision, b"2|", granted.lease),
        "revoked": client.get(b"calls/leased", serializable=False, timeout_s=2).mod_revision,
    }


def errors(client: Client, pid: int) -> dict[str, Any]:
    nobody = FACTORY.connect("n9", "127.0.0.1:1")
    seen = {
        "large": failure(lambda: client.put(b"a", b"x" * 1_600_000, lease=0, timeout_s=2)),
        "larger": failure(lambda: client.put(b"a", b"x" * 3_000_000, lease=0, timeout_s=2)),
        "lease": failure(lambda: client.put(b"a", b"", lease=77, timeout_s=2)),
        "revoke": failure(lambda: client.lease_revoke(77, timeout_s=2)),
        "empty": failure(lambda: client.put(b"", b"", lease=0, timeout_s=2)),
        "refused put": failure(lambda: nobody.put(b"a", b"", lease=0, timeout_s=2)),
        "refused keepalive": failure(lambda: nobody.lease_keepalive(1, timeout_s=2)),
        "refused watch": failure(lambda: nobody.watch(b"a", b"", 0, print, timeout_s=2)),
    }
    freeze(pid)
    began = time.monotonic()
    seen["paused put"] = failure(lambda: client.put(b"a", b"", lease=0, timeout_s=0.3))
    seen["paused keepalive"] = failure(lambda: client.lease_keepalive(1, timeout_s=0.3))
    seen["paused watch"] = failure(lambda: client.watch(b"a", b"", 0, print, timeout_s=0.3))
    seen["paused for"] = ("", str(time.monotonic() - began))
    os.kill(pid, signal.SIGCONT)
    client.close()
    seen["closed put"] = failure(lambda: client.put(b"a", b"", lease=0, timeout_s=2))
    return seen


def timeouts_of_concurrent_calls_do_not_mix(client: Client, pid: int) -> dict[str, Any]:
    client.put(b"mix", b"", lease=0, timeout_s=2)
    freeze(pid)
    took: dict[float, float] = {}

    def call(timeout_s: float) -> None:
        began = time.monotonic()
        failure(lambda: client.put(b"mix", b"", lease=0, timeout_s=timeout_s))
        took[timeout_s] = time.monotonic() - began

    gevent.joinall([gevent.spawn(call, timeout_s) for timeout_s in (1.2, 0.2, 0.7)])
    os.kill(pid, signal.SIGCONT)
    return {"late": [took[timeout_s] - timeout_s for timeout_s in (1.2, 0.2, 0.7)]}


def watches(client: Client, pid: int) -> dict[str, Any]:
    first, second = Heard(), Heard()
    start = client.put(b"w/a", b"1", lease=0, timeout_s=2).revision
    one = client.watch(b"w/a", b"", 0, first.append, timeout_s=2)
    two = client.watch(b"w/", b"w0", start, second.append, timeout_s=2)
    client.put(b"w/a", b"2", lease=0, timeout_s=2)
    lease = client.lease_grant(60, timeout_s=2).lease
    client.put(b"w/b", b"3", lease=lease, timeout_s=2)
    first.wait(lambda: first.values() == ["2"])
    one.cancel()
    client.put(b"w/a", b"4", lease=0, timeout_s=2)
    client.lease_revoke(lease, timeout_s=2)
    second.wait(lambda: len(second.values()) == 5)
    last = client.put(b"other", b"", lease=0, timeout_s=2).revision
    second.wait(lambda: any(message.kind == "progress" and message.revision >= last for message in second))
    return {
        "created": (one.created_revision - start, two.created_revision - start),
        "first": first.values(),
        "second": [
            (revision - start, kind, key.decode(), value.decode())
            for message in second
            for revision, kind, key, value in message.events
        ],
        "closed": first.reasons() + second.reasons(),
    }


def compaction(client: Client, pid: int) -> dict[str, Any]:
    heard = Heard()
    revisions = [client.put(b"c/a", b"%d" % number, lease=0, timeout_s=2).revision for number in range(5)]
    client._etcd.compact(revisions[3], physical=True)  # type: ignore[attr-defined]
    client.watch(b"c/a", b"", revisions[0], heard.append, timeout_s=2)
    heard.wait(heard.reasons)
    again = Heard()
    client.watch(b"c/a", b"", heard[-1].compact_revision, again.append, timeout_s=2)
    again.wait(lambda: again.values() == ["3", "4"])
    return {"reasons": heard.reasons(), "compact": heard[-1].compact_revision - revisions[3]}


def killed(client: Client, pid: int) -> dict[str, Any]:
    heard = [Heard(), Heard()]
    for each in heard:
        client.watch(b"k/a", b"", 0, each.append, timeout_s=2)
    client.put(b"k/a", b"1", lease=0, timeout_s=2)
    heard[1].wait(heard[1].values)
    began = time.process_time()
    os.kill(pid, signal.SIGKILL)
    for each in heard:
        each.wait(each.reasons)
    refused = failure(lambda: client.watch(b"k/a", b"", 0, print, timeout_s=1))
    gevent.sleep(1)
    cpu = time.process_time() - began
    return {"reasons": [each.reasons() for each in heard], "refused": refused, "cpu": cpu}


def paused(client: Client, pid: int) -> dict[str, Any]:
    heard = [Heard(), Heard()]
    for each in heard:
        client.watch(b"p/a", b"", 0, each.append, timeout_s=2)
    gevent.sleep(0.7)
    freeze(pid)
    began = time.monotonic()
    for each in heard:
        each.wait(each.reasons, 8)
    took = time.monotonic() - began
    os.kill(pid, signal.SIGCONT)
    again = Heard()
    client.watch(b"p/a", b"", 0, again.append, timeout_s=5)
    client.put(b"p/a", b"2", lease=0, timeout_s=2)
    again.wait(lambda: again.values() == ["2"])
    return {"reasons": [each.reasons() for each in heard], "took": took}


def leaderless(client: Client, pid: int) -> dict[str, Any]:
    """The test takes the other members away when it reads the first line."""
    heard = Heard()
    client.watch(b"l/a", b"", 0, heard.append, timeout_s=2)
    print("watching", flush=True)
    heard.wait(heard.reasons, 15)
    refused = failure(lambda: client.watch(b"l/a", b"", 0, print, timeout_s=2))
    return {"reasons": heard.reasons(), "refused": refused}


def late_creation(client: Client, pid: int) -> dict[str, Any]:
    """A watch that is not created in time; its created response comes while the next one waits for its own."""
    first, next_one = Heard(), Heard()
    client.watch(b"late/a", b"", 0, first.append, timeout_s=2)
    freeze(pid)
    late = failure(lambda: client.watch(b"late/b", b"", 0, print, timeout_s=0.5))
    gevent.spawn_later(0.3, os.kill, pid, signal.SIGCONT)
    client.watch(b"late/c", b"", 0, next_one.append, timeout_s=5)
    client.put(b"late/b", b"wrong", lease=0, timeout_s=5)
    client.put(b"late/c", b"right", lease=0, timeout_s=5)
    next_one.wait(next_one.values)
    gevent.sleep(0.3)
    return {"late": late[0], "first": first.reasons(), "heard": next_one.values()}


def churn(client: Client, pid: int) -> dict[str, Any]:
    def reconnect(times: int) -> None:
        for number in range(times):
            each = FACTORY.connect("n1", ENDPOINT if number % 2 else "127.0.0.1:1")
            failure(lambda each=each: each.watch(b"x", b"", 0, print, timeout_s=2))  # type: ignore[misc]
            each.close()
        gevent.sleep(0.3)

    def held() -> tuple[int, ...]:
        counted = [len(list(Path("/proc/self", kind).iterdir())) for kind in ("fd", "task")]
        return *counted, threading.active_count()

    reconnect(20)
    before = held()
    reconnect(100)
    return {"before": before, "after": held()}


SCENES = (
    calls,
    errors,
    timeouts_of_concurrent_calls_do_not_mix,
    watches,
    compaction,
    killed,
    paused,
    leaderless,
    late_creation,
    churn,
)

if __name__ == "__main__":
    scene = {each.__name__: each for each in SCENES}[sys.argv[1]]
    ENDPOINT = sys.argv[2]
    print(json.dumps(scene(FACTORY.connect("n1", ENDPOINT), int(sys.argv[3]))), flush=True)
    os._exit(0)
