"""The bench as `make bench` starts it, as short as it goes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chaoskit.clusters.binaries import cache_dir
from tests.bench import go_side

pytestmark = pytest.mark.integration

_BUILT = (cache_dir() / "bench" / f"etcd-benchmark-{go_side.recipe_version()}" / "benchmark").is_file()


@pytest.mark.skipif(not (_BUILT or shutil.which("go")), reason="etcd's benchmark is not built, and there is no go")
@pytest.mark.timeout(900)  # of which a build from an empty module cache may take most
def test_a_short_bench_measures_everybody_and_leaves_table_figures_and_plot(tmp_path: Path) -> None:
    short = ["--rounds", "1", "--seconds", "1", "--only", "put", "--clients", "16", "--everybody", "--rate", "0"]
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench", *short, "--out", str(tmp_path)],
        cwd=root, check=True, capture_output=True, text=True, timeout=880,
    )  # fmt: skip
    (contest,) = json.loads((tmp_path / "latest" / "bench.json").read_text())["contests"]
    assert contest["left_out"] == {}, ended.stderr
    assert len(contest["samples"]) == 4
    for name, (sample,) in contest["samples"].items():
        assert sample["operations"] > 0, name
        assert sample["errors"] == 0, name
        assert 0 < sample["cpu_s"] < 2 * sample["seconds"] + 1, name
        assert sample["rss_bytes"] > 5 << 20, name
        assert 0 < sample["p50_ms"] <= sample["p99_ms"], name
    assert "| put | 16 |" in (tmp_path / "latest" / "bench.md").read_text()
    assert (tmp_path / "latest" / "bench.svg").read_text().startswith("<svg")
