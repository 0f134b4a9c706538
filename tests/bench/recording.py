"""What recording costs a worker: µs of CPU for an operation, watch events per second, memory.

    python -m tests.bench.recording [operations | watches | history] …

No cluster: operations are answered at once, and watch events come from `fake_watch_server`, so that nothing but the
worker is the limit. CPU is this process's own, so a busy machine changes little. Each figure is the best of its rounds.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

# ruff: noqa: E402  gevent patches first
import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic, monotonic_ns, process_time

import gevent
from gevent.event import Event

from chaoskit.history import Outcome, ShardWriter, load
from chaoskit.load.worker.connections import Connections
from chaoskit.load.worker.health import Health
from chaoskit.load.worker.recorder import Call, Recorder
from chaoskit.load.worker.watching import Watchers
from chaoskit.systems.etcd.clients import CLIENTS

FLUSH_S = 0.25
RATE_PER_S = 5_000
KEYS = [f"/chaoskit/2026-01-01T00-00-00Z/put/{number:06d}" for number in range(1000)]
MEMBERS = ("n1", "n2", "n3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", choices=(*PARTS, []), help="default: everything")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.what or PARTS:
            PARTS[name](Path(folder), options.rounds)


# ── operations ───────────────────────────────────────────────────────────────────────────────────────────────────────


def operations(folder: Path, rounds: int) -> None:
    """Begin, end, live counts and the shard, at so many operations between two flushes as at 5,000/s."""
    micros = min(_operations(folder / f"operations-{number}.shard", 200_000) for number in range(rounds))
    print(f"recording an operation: {micros:.2f} µs of CPU")
    shard = folder / "memory.shard"
    _operations(shard, 100_000)
    before = rss_mb()
    _operations(shard, 3_000_000)
    print(f"memory of a worker after 3,000,000 more operations (10 minutes at 5,000/s): {rss_mb() - before:+.1f} MB")


def _operations(shard: Path, count: int) -> float:
    recorder = Recorder(0, ShardWriter(shard), lambda op: None)
    began = process_time()
    for number in range(1, count + 1):
        sent_ns = monotonic_ns()
        op = Call(
            worker=0, number=recorder.next_number(), kind="put", client=number % 64, member=MEMBERS[number % 3],
            due_ns=sent_ns - 70_000, sent_ns=sent_ns, done_ns=0, outcome=Outcome.UNKNOWN,
            error="in flight when the run stopped", queued=False,
            key=KEYS[number % 1000], value=f"0.{number}", lease=0,
            serializable=False,
        )  # fmt: skip
        recorder.begin(op)
        op.revision = number
        recorder.end(op, Outcome.OK, monotonic_ns())
        if number % round(RATE_PER_S * FLUSH_S) == 0:
            recorder.flush()
        if number % RATE_PER_S == 0:
            recorder.live.turn()
    recorder.close()
    return (process_time() - began) / count * 1e6


# ── watches ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def watches(folder: Path, rounds: int) -> None:
    """From the socket through the native client and the recorder into the shard."""
    for count, per_response in ((1000, 1), (100, 1), (100, 10), (10, 100)):
        figures = [_watching(folder, count, 300_000, per_response) for _ in range(rounds)]
        cpu, clock = (max(each) for each in zip(*figures, strict=True))
        print(
            f"{count} watches on a stream, {per_response} events a response: "
            f"{cpu:,.0f} events per second of CPU, {clock:,.0f}/s by the clock"
        )


class FakeServer:
    """`fake_watch_server` in a process of its own."""

    def __init__(self, watches: int, events: int, per_response: int, value_bytes: int) -> None:
        numbers = map(str, (watches, events, per_response, value_bytes))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.fake_watch_server", *numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())

    def go(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _watching(folder: Path, watches: int, events: int, per_response: int) -> tuple[float, float]:
    """Events per second of CPU, and by the clock."""
    server = FakeServer(watches, events, per_response, value_bytes=256)
    shard = folder / "watches.shard"
    shard.unlink(missing_ok=True)
    try:
        recorder = Recorder(0, ShardWriter(shard), lambda op: None)
        connections = Connections(CLIENTS["native"](), {"n1": f"127.0.0.1:{server.port}"})
        watchers, ended = Watchers(connections, recorder, 10.0, True), Event()
        for _ in range(watches):
            gevent.spawn(watchers.keep, watchers.new(key="/", range_end="0", mode="resume", at=0), ended, lambda: None)
        while watchers.open < watches:
            gevent.sleep(0.01)
        began, cpu_began = monotonic(), process_time()
        server.go()
        _flush_until(recorder, events)
        seconds, cpu_s = monotonic() - began, process_time() - cpu_began
        ended.set()
        connections.close()
        recorder.close()
    finally:
        server.close()
    return events / cpu_s, events / seconds


def _flush_until(recorder: Recorder, events: int) -> None:
    flushed = monotonic()
    while recorder.live.watch_events < events:
        gevent.sleep(0.01)
        if monotonic() - flushed > FLUSH_S:
            recorder.flush()
            flushed = monotonic()
    recorder.flush()


# ── the controller's side ────────────────────────────────────────────────────────────────────────────────────────────


def history(folder: Path, rounds: int) -> None:
    """What reading a history takes: a million operations."""
    read = folder / "history"
    _operations(read / "worker-0.shard", 1_000_000)
    before, began = rss_mb(), process_time()
    found = load(read)
    print(
        f"a history of {len(found.operations):,} operations: {rss_mb() - before:,.0f} MB of memory, "
        f"{process_time() - began:.1f} s to read, {(read / 'worker-0.shard').stat().st_size / 1e6:,.0f} MB on disk"
    )


def rss_mb() -> float:
    return Health().sample(0, 0, 0).rss_bytes / 1e6


PARTS: dict[str, Callable[[Path, int], None]] = {"operations": operations, "watches": watches, "history": history}

if __name__ == "__main__":
    main()
