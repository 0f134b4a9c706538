"""The load shared by several workers: all of it in the figures, and what becomes of a run that loses one."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from chaoskit.history import History, load
from tests.e2e.chaoskit_process import Finished, broken, conclusive, run_json, start
from tests.e2e.test_interruption import wait_for_line

pytestmark = pytest.mark.e2e

SHARED = """
title: Shared by several workers
cluster: {{version: "3.6.14", members: 1}}
warmup: 1s
load:
  workers: {workers}
  on-worker-loss: {on_loss}
  put: {{rate: 200/s, clients: 16}}
  read: {{rate: 100/s, clients: 8}}
  watch: {{watchers: 10}}
  lease: {{leases: 10, ttl: 5s}}
method:
  - wait: {seconds}s
slo:
  - watch.lost == 0
seed: 7
"""


def shared(tmp_path: Path, workers: int, on_loss: str = "inconclusive", seconds: int = 4) -> None:
    (tmp_path / "shared.yaml").write_text(SHARED.format(workers=workers, on_loss=on_loss, seconds=seconds))


def history_of(tmp_path: Path) -> History:
    (folder,) = (tmp_path / "reports").glob("shared/2*")
    return load(folder / "history")


def dues(history: History, kind: str, until_s: float) -> list[tuple[float, str]]:
    """When each operation was due, from the first, in microseconds, and its key."""
    ops = [op for op in history.operations if op.kind == kind]
    return [
        ((op.due_ns - ops[0].due_ns) // 1000, op.key.rpartition("/")[2])
        for op in ops
        if op.due_ns - ops[0].due_ns < until_s * 1e9
    ]


def test_two_workers_do_what_one_would_do(tmp_path: Path) -> None:
    histories = {}
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        shared(folder, workers)
        done = run_json("shared.yaml", cwd=folder)
        assert done.code == 0, broken(done.results)
        histories[workers] = history_of(folder)
    one, two = histories[1], histories[2]
    for kind in ("put", "read"):
        assert dues(two, kind, 4) == dues(one, kind, 4)
    assert {opened.key for opened in two.watch_opened} != set()
    assert len(two.watch_opened) == len(one.watch_opened) == 10
    assert Counter(opened.worker for opened in two.watch_opened) == {0: 5, 1: 5}
    by_worker = Counter(op.worker for op in two.operations if op.kind == "put")
    assert abs(by_worker[0] - by_worker[1]) <= 2
    assert not {op.client for op in two.operations if op.worker} & {op.client for op in two.operations if not op.worker}
    assert {sample.worker for sample in two.generator} == {0, 1}


@pytest.mark.parametrize(
    ("on_loss", "number"),
    [("inconclusive", signal.SIGKILL), ("redistribute", signal.SIGKILL), ("redistribute", signal.SIGSTOP)],
)
def test_a_worker_is_lost_and_the_experiment_says_what_becomes_of_the_run(
    on_loss: str, number: signal.Signals, tmp_path: Path
) -> None:
    shared(tmp_path, 3, on_loss, seconds=14 if number == signal.SIGSTOP else 8)
    done = run_and_harm(tmp_path, number)
    history = history_of(tmp_path)
    (lost,) = [mark for mark in history.marks if mark.kind == "worker_lost"]
    assert lost.worker == 1
    assert not [one for one in done.results["findings"] if one["verdict"] == "fail"], broken(done.results)
    if on_loss == "inconclusive":
        assert done.code == 5, done.err
        assert "part of the load was lost: worker 1 (here): it was ended by SIGKILL" in " ".join(broken(done.results))
        assert done.results["seconds"] < 8
    else:
        assert done.code == 0, broken(done.results)
        taken_over_s = (history.phases[1].ends_ns - lost.at_ns) / 1e9 - 0.5
        after = [op for op in history.operations if op.kind == "put" and op.due_ns > lost.at_ns + 0.3e9]
        assert {op.worker for op in after} == {0, 2}
        assert len(after) == pytest.approx(200 * taken_over_s, rel=0.15)
        clients = {op.client for op in history.operations if op.kind == "put"}
        assert {op.client for op in after} == clients, "somebody of the lost worker's was not taken over"


def run_and_harm(tmp_path: Path, number: signal.Signals) -> Finished:
    arguments = ("shared.yaml", "--backend", "process", "--json", "--out", str(tmp_path / "reports"))
    process = start("run", *arguments, cwd=tmp_path)
    wait_for_line(process, "-- baseline --")
    os.kill(pid_of_worker(tmp_path, 1), number)
    out, err = process.communicate(timeout=120)
    return conclusive(Finished(process.returncode, out, err))


def pid_of_worker(tmp_path: Path, number: int) -> int:
    """The Locust process whose order is that worker's."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            orders = [one for one in environment if one.startswith("CHAOSKIT_LOAD_ORDER=")]
            if orders and str(tmp_path) in orders[0] and orders[0].endswith(f"load-{number}.json"):
                return int(folder.name)
    raise AssertionError(f"worker {number} does not run")
