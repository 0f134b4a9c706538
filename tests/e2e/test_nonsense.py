"""Nonsense ends with exit 2, a place and choices, and nothing was started."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.e2e.chaoskit_process import Finished, chaoskit

pytestmark = pytest.mark.e2e

GOOD = """
title: Good
cluster: {version: "3.6.14"}
load:
  put: {rate: 100/s}
method:
  - wait: 2s
  - fault: kill
    target: leader
    for: 2s
"""


def refused(tmp_path: Path, text: str | bytes, *arguments: str) -> Finished:
    path = tmp_path / "nonsense.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    run = chaoskit("run", "nonsense.yaml", *arguments, cwd=tmp_path, deadline_s=30)
    assert run.code == 2, (run.code, run.err)
    assert "Traceback" not in run.err
    assert not (tmp_path / "reports").exists(), "something was started"
    return run


def test_an_unknown_key_names_its_line_and_the_key_that_was_meant(tmp_path: Path) -> None:
    err = refused(tmp_path, GOOD.replace("target", "tagret")).err
    assert "tagret" in err
    assert "target" in err
    assert "nonsense.yaml:9:" in err


def test_a_wrong_unit_names_the_units(tmp_path: Path) -> None:
    err = refused(tmp_path, GOOD.replace("for: 2s", "for: 2parsecs")).err
    assert "2parsecs" in err
    assert "ms" in err


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    err = refused(
        tmp_path, GOOD.replace("fault: kill", "fault: kil").replace("wait: 2s", "wait: 2").replace("rate:", "rates:")
    ).err
    assert all(word in err for word in ("kil", "wait", "rates"))


def test_an_impossible_target_is_refused(tmp_path: Path) -> None:
    assert "n9" in refused(tmp_path, GOOD.replace("target: leader", "target: n9")).err


def test_cyclic_variables_are_refused(tmp_path: Path) -> None:
    text = GOOD.replace("title: Good", "title: ${A:-${A}}")
    assert "A" in refused(tmp_path, text).err


def test_a_ten_megabyte_file_is_refused_at_once(tmp_path: Path) -> None:
    refused(tmp_path, GOOD + "# " + "x" * 10_000_000)


def test_binary_garbage_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, random.Random(1).randbytes(4096))


def test_a_file_that_does_not_exist_lists_the_packaged_experiments(tmp_path: Path) -> None:
    run = chaoskit("run", "no-such-experiment", cwd=tmp_path, deadline_s=30)
    assert run.code == 2
    assert "partition" in run.err


def test_a_flag_that_chaoskit_owns_is_refused(tmp_path: Path) -> None:
    err = refused(tmp_path, GOOD.replace('"3.6.14"', '"3.6.14", flags: {data-dir: /etc}')).err
    assert "data-dir" in err


def test_an_unknown_backend_names_the_choices(tmp_path: Path) -> None:
    assert "process" in refused(tmp_path, GOOD, "--backend", "cloud").err


def test_an_option_of_the_command_line_that_is_wrong_is_named(tmp_path: Path) -> None:
    assert "method[9]" in refused(tmp_path, GOOD, "--set", "method[9].for=3s").err
