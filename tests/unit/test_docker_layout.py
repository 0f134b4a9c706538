"""Networks, addresses and doors of a containerised cluster; labels; which daemon is asked. No daemon is needed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path

import pytest

from chaoskit.clusters import docker_daemon, docker_labels
from chaoskit.clusters.docker_layout import EDGE, Layout, free_blocks, routed, subnets
from chaoskit.errors import InfrastructureError
from chaoskit.topology import member_names

pytestmark = pytest.mark.unit

BLOCK = IPv4Network("198.18.5.0/25")


def layout(count: int) -> Layout:
    bare = Layout(member_names(count), BLOCK)
    return Layout(bare.members, BLOCK, {door: 20_000 + number for number, door in enumerate(bare.doors())})


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_every_link_has_a_proxy_and_the_rest_is_for_evidence(count: int) -> None:
    names = [proxy.name for proxy in layout(count).proxies()]
    links = [name for name in names if not name.startswith(("observer->", "probe:"))]
    assert len(links) == count * (count - 1) + count
    assert len(names) == len(set(names)) == 2 * len(links)


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_networks_do_not_overlap_and_no_two_proxies_listen_at_one_address(count: int) -> None:
    bed = layout(count)
    assert all(not left.overlaps(right) for left, right in combinations(bed.networks().values(), 2))
    assert all(net.subnet_of(BLOCK) for net in bed.networks().values())
    listeners = [proxy.listen for proxy in bed.proxies()] + [bed.inside("api")]
    assert len(listeners) == len(set(listeners))


def test_only_links_to_peers_listen_where_a_member_is() -> None:
    bed = layout(3)
    at_members = {proxy.name for proxy in bed.proxies() if proxy.listen[0] != bed.toxiproxy(EDGE)}
    assert at_members == {"n1->n2", "n1->n3", "n2->n1", "n2->n3", "n3->n1", "n3->n2"}
    listen = {proxy.name: proxy.listen for proxy in bed.proxies()}
    assert bed.hosts("n1") == {
        "n1.chaoskit": bed.member("n1"),
        "n2.chaoskit": listen["n1->n2"][0],
        "n3.chaoskit": listen["n1->n3"][0],
    }
    assert bed.member_addresses("n2").advertise_peer == f"http://n2.chaoskit:{listen['n1->n2'][1]}"


def test_a_peer_probe_enters_the_link_s_own_listener() -> None:
    proxies = {proxy.name: proxy for proxy in layout(3).proxies()}
    assert proxies["probe:n1->n2"].upstream == proxies["n1->n2"].listen
    assert proxies["observer->n2"].upstream == proxies["client->n2"].upstream


def test_blocks_that_others_have_are_left_out() -> None:
    blocks = free_blocks([IPv4Network("198.18.0.0/16"), IPv4Network("10.0.0.0/8")], tries=3)
    assert all(block.subnet_of(IPv4Network("198.19.0.0/16")) for block in (next(blocks), next(blocks), next(blocks)))
    with pytest.raises(InfrastructureError, match="no block"):
        next(blocks)
    with pytest.raises(InfrastructureError, match="no block"):
        next(free_blocks([IPv4Network("198.18.0.0/15")]))


def test_routes_and_docker_s_subnets_are_read() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "tun0\t000012C6\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert list(routed(table)) == [IPv4Network("198.18.0.0/16")]
    configurations = [{"Subnet": "172.17.0.0/16"}, {"Subnet": "fd00::/64"}, {}]
    assert list(subnets(configurations)) == [IPv4Network("172.17.0.0/16")]


# ── labels ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_of_a_live_owner_is_not_abandoned_even_when_it_has_expired() -> None:
    assert not docker_labels.abandoned(docker_labels.labels("run", -10))


def test_a_run_of_a_dead_owner_is_abandoned_at_once_here_and_elsewhere_when_it_expires() -> None:
    dead = {**docker_labels.labels("run", 1000), "chaoskit.owner": "4194000:1"}
    assert docker_labels.abandoned(dead)
    elsewhere = {**dead, "chaoskit.where": "another boot"}
    assert not docker_labels.abandoned(elsewhere)
    assert docker_labels.abandoned({**elsewhere, "chaoskit.expires": str(int(time.time()) - 1)})


@pytest.mark.parametrize("missing", ["chaoskit.run", "chaoskit.owner", "chaoskit.expires"])
def test_labels_that_are_not_whole_are_somebody_else_s(missing: str) -> None:
    dead = {**docker_labels.labels("run", 1000), "chaoskit.owner": "4194000:1"}
    assert not docker_labels.abandoned({name: label for name, label in dead.items() if name != missing})
    assert not docker_labels.abandoned({**dead, missing: ""})


# ── the daemon ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_docker_host_wins_over_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///somewhere.sock")
    assert str(docker_daemon.endpoint()) == "unix:///somewhere.sock (DOCKER_HOST)"


@pytest.mark.parametrize("chosen_by", ["config.json", "DOCKER_CONTEXT"])
def test_the_active_context_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chosen_by: str) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "desk"} if chosen_by == "config.json" else {}))
    if chosen_by == "DOCKER_CONTEXT":
        monkeypatch.setenv("DOCKER_CONTEXT", "desk")
    folder = tmp_path / "contexts" / "meta" / hashlib.sha256(b"desk").hexdigest()
    folder.mkdir(parents=True)
    about = {"Name": "desk", "Metadata": {}, "Endpoints": {"docker": {"Host": "unix:///desk.sock"}}}
    (folder / "meta.json").write_text(json.dumps(about))
    assert str(docker_daemon.endpoint()) == "unix:///desk.sock (context desk)"
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(InfrastructureError, match="does not exist"):
        docker_daemon.endpoint()
    (folder / "meta.json").write_text("{")
    monkeypatch.setenv("DOCKER_CONTEXT", "desk")
    with pytest.raises(InfrastructureError, match="cannot be read"):
        docker_daemon.endpoint()


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("tcp://192.0.2.7:2375", "another machine"),
        ("ssh://me@192.0.2.7", "another machine"),
        ("unix:///nowhere/docker.sock", "does not answer"),
        ("tcp://127.0.0.1:9", "does not answer"),
    ],
)
def test_a_daemon_that_is_no_use_is_told_with_what_helps(monkeypatch: pytest.MonkeyPatch, host: str, told: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    problem = docker_daemon.problem()
    assert problem and host in problem and told in problem
    assert "DOCKER_HOST" in problem
    assert len(problem.splitlines()) == 1
    assert os.environ["DOCKER_HOST"] == host
