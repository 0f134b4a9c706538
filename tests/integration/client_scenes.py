"""What a load worker does with a client of any kind, in a gevent-patched process of its own.

    python -m tests.integration.client_scenes CLIENT SCENE ENDPOINT PID

The scenes of `etcd3_worker` with whichever client is asked for, and those that they lack. Prints one JSON object.
"""

# ruff: noqa: E402  gevent patches first
from gevent import monkey

monkey.patch_all()

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import gevent

from chaoskit.contracts import CallFailed, Client, Reply
from tests.integration import etcd3_worker
from tests.integration.etcd3_worker import Heard, failure
from tests.integration.grpcio_client import EVERY_CLIENT


def compaction(client: Client, pid: int) -> dict[str, Any]:
    heard, again = Heard(), Heard()
    revisions = [client.put(b"c/a", b"%d" % number, lease=0, timeout_s=2).revision for number in range(5)]
    _compact(revisions[3])
    client.watch(b"c/a", b"", revisions[0], heard.append, timeout_s=2)
    heard.wait(heard.reasons)
    client.watch(b"c/a", b"", heard[-1].compact_revision, again.append, timeout_s=2)
    again.wait(lambda: again.values() == ["3", "4"])
    return {"reasons": heard.reasons(), "compact": heard[-1].compact_revision - revisions[3]}


def _compact(revision: int) -> None:
    question = json.dumps({"revision": revision, "physical": True}).encode()
    url = f"http://{etcd3_worker.ENDPOINT}/v3/kv/compaction"
    urllib.request.urlopen(url, question, timeout=5).close()


def many_watches(client: Client, pid: int) -> dict[str, Any]:
    """Each hears of its own key, in order, each event once."""
    heard = [Heard() for _ in range(100)]
    for number, each in enumerate(heard):
        client.watch(b"m/%d" % number, b"", 0, each.append, timeout_s=5)
    for turn in range(5):
        for number in range(len(heard)):
            client.put(b"m/%d" % number, b"%d" % turn, lease=0, timeout_s=5)
    for each in heard:
        each.wait(lambda each=each: len(each.values()) >= 5)  # type: ignore[misc]
    return {"wrong": [each.values() for each in heard if each.values() != ["0", "1", "2", "3", "4"]]}


def streams(client: Client, pid: int) -> dict[str, Any]:
    """One watch on each of many streams, and many on one of them: all hear everything."""
    numbers = [*range(8), *([0] * 20)]
    heard = [Heard() for _ in numbers]
    for number, each in zip(numbers, heard, strict=True):
        client.watch(b"st/", b"st0", 0, each.append, timeout_s=10, stream=number)
    for turn in range(5):
        client.put(b"st/%d" % turn, b"%d" % turn, lease=0, timeout_s=5)
    for each in heard:
        each.wait(lambda each=each: len(each.values()) >= 5)  # type: ignore[misc]
    return {"wrong": [each.values() for each in heard if each.values() != ["0", "1", "2", "3", "4"]]}


def greenlets(client: Client, pid: int) -> dict[str, Any]:
    """Many at once, and none gets another's answer."""
    wrong: list[str] = []

    def work(number: int) -> None:
        key = b"g/%d" % number
        for turn in range(20):
            value = b"%d.%d" % (number, turn)
            put = client.put(key, value, lease=0, timeout_s=10)
            read = client.get(key, serializable=False, timeout_s=10)
            if (read.value, read.mod_revision) != (value, put.revision):
                wrong.append(f"{key!r} {value!r} {read}")

    gevent.joinall([gevent.spawn(work, number) for number in range(50)], raise_error=True)
    return {"wrong": wrong}


def large(client: Client, pid: int) -> dict[str, Any]:
    """Values beyond every window, several at once in both directions."""
    values = [bytes([number]) * 1_400_000 for number in range(8)]

    def work(number: int) -> bool:
        client.put(b"big/%d" % number, values[number], lease=0, timeout_s=20)
        return client.get(b"big/%d" % number, serializable=False, timeout_s=20).value == values[number]

    jobs = [gevent.spawn(work, number) for number in range(len(values))]
    gevent.joinall(jobs, raise_error=True)
    return {"same": [job.value for job in jobs]}


def deletes(client: Client, pid: int) -> dict[str, Any]:
    put = client.put(b"d/a", b"1", lease=0, timeout_s=2).revision
    gone = client.delete(b"d/a", timeout_s=2)
    again = client.delete(b"d/a", timeout_s=2)
    after = client.get(b"d/a", serializable=False, timeout_s=2)
    return {
        "gone": [gone.revision - put, gone.count],
        "again": [again.revision - put, again.count],
        "after": after == Reply(revision=gone.revision),
        "empty": failure(lambda: client.delete(b"", timeout_s=2)),
    }


def ranges(client: Client, pid: int) -> dict[str, Any]:
    """Seven keys read in pages of three, while others are written, deleted and added."""
    client.delete(b"r/55", timeout_s=2)  # an earlier client's
    written = [client.put(b"r/%d" % number, b"%d" % number, lease=0, timeout_s=2).revision for number in range(7)]
    first = client.range(b"r/", b"r0", limit=3, revision=0, serializable=False, timeout_s=2)
    client.put(b"r/4", b"new", lease=0, timeout_s=2)
    client.delete(b"r/5", timeout_s=2)
    client.put(b"r/55", b"another", lease=0, timeout_s=2)
    pages = [first]
    while pages[-1].more:
        behind = pages[-1].kvs[-1][0] + b"\0"
        asked = {"limit": 3, "revision": first.revision, "serializable": len(pages) % 2 == 0}
        pages.append(client.range(behind, b"r0", timeout_s=2, **asked))  # type: ignore[arg-type]
    now = client.range(b"r/", b"r0", limit=100, revision=0, serializable=True, timeout_s=2)
    nothing = client.range(b"r/9", b"r0", limit=1, revision=0, serializable=False, timeout_s=2)
    ahead = now.revision + 1000
    return {
        "at": [each.revision - written[-1] for each in pages],
        "counts": [each.count for each in pages],
        "more": [each.more for each in pages],
        "right": [kv for each in pages for kv in each.kvs]
        == [(b"r/%d" % number, written[number], b"%d" % number) for number in range(7)],
        "now": [[key.decode(), value.decode()] for key, _, value in now.kvs][4:],
        "counted": [now.count, now.more],
        "nothing": nothing == Reply(revision=now.revision),
        "future": failure(lambda: client.range(b"a", b"b", limit=1, revision=ahead, serializable=False, timeout_s=2)),
        "past": _compacted(client, written[1]),
    }


def _compacted(client: Client, revision: int) -> tuple[str, str]:
    _compact(revision + 1)
    return failure(lambda: client.range(b"a", b"b", limit=1, revision=revision, serializable=False, timeout_s=2))


def swaps(client: Client, pid: int) -> dict[str, Any]:
    def swap(value: bytes, mod_revision: int) -> Reply:
        return client.compare_and_swap(b"s/a", value, mod_revision=mod_revision, timeout_s=2)

    born = swap(b"1", 0)
    twice = swap(b"2", 0)
    moved = swap(b"3", born.revision)
    stale = swap(b"4", born.revision)
    client.delete(b"s/a", timeout_s=2)
    missing = swap(b"5", moved.revision)
    read = client.get(b"s/a", serializable=False, timeout_s=2)
    return {
        "born": born == Reply(revision=born.revision, succeeded=True),
        "twice": twice == Reply(born.revision, born.revision, b"1"),
        "moved": moved == Reply(revision=born.revision + 1, succeeded=True),
        "stale": stale == Reply(moved.revision, moved.revision, b"3"),
        "missing": missing == Reply(revision=moved.revision + 1),
        "read": read == Reply(revision=moved.revision + 1),
        "empty": failure(lambda: client.compare_and_swap(b"", b"", mod_revision=0, timeout_s=2)),
        "large": failure(lambda: client.compare_and_swap(b"a", bytes(1_600_000), mod_revision=0, timeout_s=2)),
    }


def counters(client: Client, pid: int) -> dict[str, Any]:
    """Greenlets add to one number by compare-and-swap: each addition happens once, whoever is in the way."""
    conflicts = 0
    client.delete(b"sum", timeout_s=5)

    def add(number: int) -> None:
        nonlocal conflicts
        for _ in range(10):
            while True:
                seen = client.get(b"sum", serializable=False, timeout_s=5)
                value = b"%d" % (int(seen.value or 0) + number)
                if client.compare_and_swap(b"sum", value, mod_revision=seen.mod_revision, timeout_s=5).succeeded:
                    break
                conflicts += 1

    gevent.joinall([gevent.spawn(add, number) for number in range(1, 6)], raise_error=True)
    return {"sum": int(client.get(b"sum", serializable=False, timeout_s=5).value), "conflicts": conflicts > 0}


def comes_back(client: Client, pid: int) -> dict[str, Any]:
    """A member is killed; the test starts it again when it reads the first line."""
    client.put(b"back", b"", lease=0, timeout_s=2)
    os.kill(pid, signal.SIGKILL)
    gevent.sleep(0.3)
    gone = {failure(lambda: client.put(b"back", b"", lease=0, timeout_s=1))[0] for _ in range(20)}
    print("gone", flush=True)
    ends_at = time.monotonic() + 20
    while (said := failure(lambda: client.put(b"back", b"", lease=0, timeout_s=1)))[0] != "OK":
        assert time.monotonic() < ends_at, said
    return {"gone": sorted(gone - {"UNKNOWN"})}


def leases(client: Client, pid: int) -> dict[str, Any]:
    """Many are kept alive at once, and none gets another's answer."""
    granted = [client.lease_grant(60 + number, timeout_s=5).lease for number in range(60)]
    gone = set(granted[::3])
    wrong: list[str] = []

    def keep(lease: int, ttl_s: int) -> None:
        for _ in range(5):
            reply = client.lease_keepalive(lease, timeout_s=10)
            if (reply.lease, reply.ttl_s) != (lease, ttl_s):
                wrong.append(f"{lease} {ttl_s} {reply}")

    for lease in gone:
        client.lease_revoke(lease, timeout_s=5)
    ttls = {lease: 0 if lease in gone else 60 + number for number, lease in enumerate(granted)}
    gevent.joinall([gevent.spawn(keep, *each) for each in ttls.items()], raise_error=True)
    return {"wrong": wrong}


def keepalives_come_back(client: Client, pid: int) -> dict[str, Any]:
    """A member stands still and goes on, then is killed; the test starts it again when it reads the first line."""
    lease = client.lease_grant(60, timeout_s=2).lease
    seen: dict[str, Any] = {}
    etcd3_worker.freeze(pid)
    seen["paused"] = sorted({failure(lambda: client.lease_keepalive(lease, timeout_s=0.3))[0] for _ in range(3)})
    os.kill(pid, signal.SIGCONT)
    seen["resumed"] = _until_ok(lambda: client.lease_keepalive(lease, timeout_s=1))
    os.kill(pid, signal.SIGKILL)
    gevent.sleep(0.3)
    gone = {failure(lambda: client.lease_keepalive(lease, timeout_s=1))[0] for _ in range(20)}
    seen["gone"] = sorted(gone - {"UNKNOWN"})
    print("gone", flush=True)
    seen["back"] = _until_ok(lambda: client.lease_keepalive(lease, timeout_s=1))
    return seen


def _until_ok(call: Callable[[], Reply]) -> int:
    """The TTL that the first answer told."""
    ends_at = time.monotonic() + 20
    while True:
        try:
            return call().ttl_s
        except CallFailed as failed:
            assert time.monotonic() < ends_at, failed


_MORE = (
    compaction,
    streams,
    many_watches,
    greenlets,
    large,
    deletes,
    ranges,
    swaps,
    counters,
    comes_back,
    leases,
    keepalives_come_back,
)

SCENES = {
    **{each.__name__: each for each in etcd3_worker.SCENES},
    **{each.__name__: each for each in _MORE},
}

if __name__ == "__main__":
    factory = EVERY_CLIENT[sys.argv[1]]()
    etcd3_worker.FACTORY, etcd3_worker.ENDPOINT = factory, sys.argv[3]
    print(json.dumps(SCENES[sys.argv[2]](factory.connect("n1", sys.argv[3]), int(sys.argv[4]))), flush=True)
    os._exit(0)
