"""`chaoskit plan` prints the exact schedule of rates."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from chaoskit.cli.plan import show
from chaoskit.experiment import make_plan

pytestmark = pytest.mark.unit

EXPERIMENT = """\
title: T
cluster: {version: "3.6.14", backend: process}
load:
  put: {rate: 100/s}
  read: {rate: {from: 100/s, step: 100/s, every: 5s, to: 300/s}}
method:
  - wait: 5s
  - {search: put, from: 200/s, step: 200/s, to: 500/s, every: 2s, p99: 50ms}
  - wait: 4s
"""


def shown(text: str, folder: Path) -> str:
    path = folder / "x.yaml"
    path.write_text(text)
    out = StringIO()
    show(make_plan(str(path)), Console(file=out, width=200))
    return out.getvalue()


def test_a_rate_that_changes_is_written_out_with_the_warmup_before_it(tmp_path: Path) -> None:
    view = shown(EXPERIMENT, tmp_path)
    assert "rates  read: 100/s for 3s, 100/s for 5s, 200/s for 5s, then 300/s" in view
    assert "rates  put" not in view, "a constant rate stands in its settings"


def test_every_step_of_a_search_has_a_line_with_its_moment_and_its_rate(tmp_path: Path) -> None:
    lines = [" ".join(line.split()) for line in shown(EXPERIMENT, tmp_path).splitlines()]
    assert "8s ≤ 2s step:knee:200/s put at 200/s; the search ends at P99 > 50ms or goodput < 90% of a step" in lines
    assert "10s ≤ 2s step:knee:400/s put at 400/s" in lines
    assert "12s ≤ 2s step:knee:500/s put at 500/s" in lines
    assert "14s ≤ 2s settle:knee put at its own rate again; not judged" in lines


def test_a_profile_shows_its_load_and_its_rule(tmp_path: Path) -> None:
    view = shown(EXPERIMENT.replace("put: {rate: 100/s}", "profile: s"), tmp_path)
    assert "1000 keys of 256B" in view
    assert "put: rate 150/s, value_size 1KiB" in view
    assert "slo: put.service.stddev < 100ms" in view
