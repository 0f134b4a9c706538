"""The same experiment and seed on every backend: the same schedule, the same victims, the same verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.backends import EACH_BACKEND
from tests.e2e.chaoskit_process import BACKEND_OF_TEST, Finished, broken, run_json

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(any(one.marks for one in EACH_BACKEND) or len(EACH_BACKEND) < 2, reason="one backend only"),
]

DRAWN = """
# What this shows: targets that only the seed decides.
title: Drawn by lot
cluster: {version: "3.6.14"}
load:
  put: {rate: 50/s, clients: 8}
  watch: {watchers: 4, reconnect: resume}
warmup: 1s
steady-state:
  - put.p99 < 1s  # or one slow fsync of a shared disk is no recovery
method:
  - wait: 4s
  - fault: partition
    shape: halves
    for: 2s
  - wait: 6s
  - fault: pause
    target: random
    for: 1s
    every: 5s
    times: 3
  - wait: 6s
slo:
  - watch.lost == 0
  - write.gap < 10s
seed: 11
"""


def test_seed_and_experiment_decide_the_faults_and_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drawn.yaml").write_text(DRAWN)
    told = {}
    for backend in (one.values[0] for one in EACH_BACKEND):
        monkeypatch.setenv(BACKEND_OF_TEST, backend)
        run = run_json("drawn.yaml", cwd=tmp_path)
        plan = json.loads((tmp_path / "reports/drawn/latest/plan.json").read_text())
        assert plan["cluster"].pop("backend") == backend
        assert run.results["environment"]["backend"].startswith(backend)
        told[backend] = (plan, [(fault["name"], fault["targets"]) for fault in run.results["faults"]], _verdict(run))
    first, *others = told.values()
    assert len({targets for _, (targets,) in first[1][1:]}) > 1, "a seed that draws one member only shows nothing"
    assert all(other == first for other in others)


def _verdict(run: Finished) -> dict[str, Any]:
    return {"code": run.code, "verdict": run.results["verdict"], "broken": broken(run.results)}
