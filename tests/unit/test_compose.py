"""`chaoskit plan --compose`: the cluster of a plan, to look at and to start by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from chaoskit.clusters.compose import render
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names

pytestmark = pytest.mark.unit

COMMITTED = Path(__file__).parents[2] / "docker" / "compose.yaml"


def rendered(count: int = 3, version: str = "3.6.14", **flags: str) -> str:
    system = SYSTEMS["etcd"](version)
    try:
        return render(system, version, member_names(count), flags)
    finally:
        system.close()


def test_the_committed_file_is_what_the_packaged_baseline_gives() -> None:
    """Made anew with: chaoskit plan baseline --compose > docker/compose.yaml"""
    assert COMMITTED.read_text() == rendered()


@pytest.mark.parametrize("count", [1, 5])
def test_members_are_alone_with_toxiproxy_and_only_toxiproxy_is_entered(count: int) -> None:
    bed = YAML(typ="safe").load(rendered(count))
    services = bed["services"]
    for member in member_names(count):
        assert list(services[member]["networks"]) == [member]
        assert "ports" not in services[member]
        assert bed["networks"][member]["internal"]
    assert set(services["toxiproxy"]["networks"]) == {"edge", *member_names(count)}
    assert all(port.startswith("127.0.0.1:") for port in services["toxiproxy"]["ports"])
    proxies = json.loads(bed["configs"]["proxies"]["content"])
    assert len([proxy for proxy in proxies if proxy["name"].count("->") == 1]) == 2 * (count * (count - 1) + count)


def test_flags_reach_the_command_line() -> None:
    command = YAML(typ="safe").load(rendered(**{"snapshot-count": "1000"}))["services"]["n1"]["command"]
    assert "--snapshot-count=1000" in command
