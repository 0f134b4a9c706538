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
from typing import Any

import gevent

from chaoskit.contracts import Client
from chaoskit.systems.etcd.clients import CLIENTS
from tests.integration import etcd3_worker
from tests.integration.etcd3_worker import Heard, failure


def compaction(client: Client, pid: int) -> dict[str, Any]:
    heard, again = Heard(), Heard()
    revisions = [client.put(b"c/a", b"%d" % number, lease=0, timeout_s=2).revision for number in range(5)]
    question = json.dumps({"revision": revisions[3], "physical": True}).encode()
    url = f"http://{etcd3_worker.ENDPOINT}/v3/kv/compaction"
    urllib.request.urlopen(url, question, timeout=5).close()
    client.watch(b"c/a", b"", revisions[0], heard.append, timeout_s=2)
    heard.wait(heard.reasons)
    client.watch(b"c/a", b"", heard[-1].compact_revision, again.append, timeout_s=2)
    again.wait(lambda: again.values() == ["3", "4"])
    return {"reasons": heard.reasons(), "compact": heard[-1].compact_revision - revisions[3]}


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


SCENES = {
    **{each.__name__: each for each in etcd3_worker.SCENES},
    **{each.__name__: each for each in (compaction, many_watches, greenlets, large, comes_back)},
}

if __name__ == "__main__":
    factory = CLIENTS[sys.argv[1]]()
    etcd3_worker.FACTORY, etcd3_worker.ENDPOINT = factory, sys.argv[3]
    print(json.dumps(SCENES[sys.argv[2]](factory.connect("n1", sys.argv[3]), int(sys.argv[4]))), flush=True)
    os._exit(0)
