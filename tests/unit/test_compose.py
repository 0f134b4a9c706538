"""`chaoskit plan --compose`: the cluster of a plan, to look at and to start by hand."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from chaoskit.clusters.addresses import show
from chaoskit.clusters.compose import render
from chaoskit.clusters.docker_layout import Layout
from chaoskit.clusters.official_images import official_image
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


def test_flags_reach_the_command_line_and_compose_finds_no_variable_in_them() -> None:
    flags = {"snapshot-count": "1000", "log-format": "$HOME"}
    command = YAML(typ="safe").load(rendered(**flags))["services"]["n1"]["command"]
    assert "--snapshot-count=1000" in command and "--log-format=$$HOME" in command


@pytest.mark.parametrize("count", [1, 3, 7])
def test_the_file_is_the_backend_s_own_layout(count: int) -> None:
    """Same addresses, hosts, command lines and proxies, with the ports that the file publishes."""
    bed = YAML(typ="safe").load(rendered(count))
    published = {
        int(port.rpartition(":")[2]): int(port.split(":")[1]) for port in bed["services"]["toxiproxy"]["ports"]
    }
    bare = Layout(member_names(count), IPv4Network("198.18.0.0/25"))
    layout = Layout(bare.members, bare.block, {door: published[port] for door, port in bare.doors().items()})
    proxies = {proxy["name"]: proxy for proxy in json.loads(bed["configs"]["proxies"]["content"])}
    assert proxies == {
        spec.name: {"name": spec.name, "listen": show(spec.listen), "upstream": show(spec.upstream), "enabled": True}
        for spec in layout.proxies()
    }
    system = SYSTEMS["etcd"]("3.6.14")
    everybody = [layout.member_addresses(member) for member in layout.members]
    for member, own in zip(layout.members, everybody, strict=True):
        service = bed["services"][member]
        argv = system.member_argv(Path("etcd"), own, everybody, Path("/data"), "compose", {})
        assert [*service["entrypoint"], *service["command"]] == argv
        assert service["extra_hosts"] == layout.hosts(member)
        assert service["networks"] == {member: {"ipv4_address": layout.member(member)}}
    system.close()
    assert {name: net["ipam"]["config"][0]["subnet"] for name, net in bed["networks"].items()} == {
        name: str(subnet) for name, subnet in layout.networks().items()
    }


def test_images_are_the_official_ones_unless_others_are_asked_for() -> None:
    def images(**wishes: str) -> set[str]:
        text = render(SYSTEMS["etcd"]("3.6.14"), "3.6.14", member_names(1), {}, **wishes)  # type: ignore[arg-type]
        return {service["image"] for service in YAML(typ="safe").load(text)["services"].values()}

    assert images(images="build") == {
        "${ETCD_IMAGE:-chaoskit/etcd:3.6.14}",
        "${TOXIPROXY_IMAGE:-chaoskit/toxiproxy:2.12.0}",
    }
    assert images(images="pull") == {
        f"${{ETCD_IMAGE:-{official_image('etcd', '3.6.14')}}}",
        f"${{TOXIPROXY_IMAGE:-{official_image('toxiproxy', '2.12.0')}}}",
    }
    assert "my-registry/etcd:1" in images(image="my-registry/etcd:1")
