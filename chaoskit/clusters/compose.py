"""The cluster of a plan as a Compose file: the same networks, addresses, proxies and command lines, to start by hand.

Nothing of it belongs to chaoskit once it runs: `docker compose down -v` removes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from ipaddress import IPv4Network
from pathlib import Path

from ruamel.yaml import YAML

from chaoskit.clusters.addresses import show
from chaoskit.clusters.docker_layout import API_PORT, EDGE, Layout
from chaoskit.clusters.toxiproxy import VERSION as TOXIPROXY_VERSION
from chaoskit.contracts import System

_BLOCK = IPv4Network("198.18.0.0/25")
_FIRST_PORT = 23_790
_DATA = "/data"
_PROXIES = "proxies.json"


def render(system: System, version: str, members: tuple[str, ...], flags: Mapping[str, str], image: str = "") -> str:
    """Needs Compose 2.23.1 for `configs.content`."""
    doors = Layout(members, _BLOCK).doors()
    ports = {door: _FIRST_PORT + number for number, door in enumerate(doors)}
    layout = Layout(members, _BLOCK, ports)
    bed = {
        "name": "chaoskit",
        "services": {
            "toxiproxy": _toxiproxy(layout),
            **{
                member: _member(layout, member, system, image or f"chaoskit/{system.name}:{version}", flags)
                for member in members
            },
        },
        "networks": {name: _network(name, subnet) for name, subnet in layout.networks().items()},
        "volumes": {f"{member}-data": {} for member in members},
        "configs": {"proxies": {"content": json.dumps(_proxies(layout), indent=1)}},
    }
    return _head(layout) + _yaml(bed)


def _toxiproxy(layout: Layout) -> dict[str, object]:
    return {
        "image": f"chaoskit/toxiproxy:{TOXIPROXY_VERSION}",
        "command": ["-host", layout.toxiproxy(EDGE), "-port", str(API_PORT), "-config", f"/{_PROXIES}"],
        "configs": [{"source": "proxies", "target": f"/{_PROXIES}"}],
        "ports": [f"{show(layout.outside(door))}:{inside}" for door, inside in layout.doors().items()],
        "cap_drop": ["ALL"],
        "networks": {name: {"ipv4_address": layout.toxiproxy(name)} for name in layout.networks()},
    }


def _member(layout: Layout, member: str, system: System, image: str, flags: Mapping[str, str]) -> dict[str, object]:
    everybody = [layout.member_addresses(each) for each in layout.members]
    own = layout.member_addresses(member)
    argv = system.member_argv(Path(system.name), own, everybody, Path(_DATA), "compose", flags)
    return {
        "image": image,
        "entrypoint": argv[:1],
        "command": argv[1:],
        "hostname": member,
        "extra_hosts": layout.hosts(member),
        "volumes": [f"{member}-data:{_DATA}"],
        "cap_drop": ["ALL"],
        "depends_on": ["toxiproxy"],
        "networks": {member: {"ipv4_address": layout.member(member)}},
    }


def _network(name: str, subnet: IPv4Network) -> dict[str, object]:
    inner = {"internal": True, "driver_opts": {"com.docker.network.bridge.inhibit_ipv4": "true"}}
    return {**(inner if name != EDGE else {}), "ipam": {"config": [{"subnet": str(subnet)}]}}


def _proxies(layout: Layout) -> list[dict[str, object]]:
    return [
        {"name": spec.name, "listen": show(spec.listen), "upstream": show(spec.upstream), "enabled": True}
        for spec in layout.proxies()
    ]


def _head(layout: Layout) -> str:
    doors = (f"#   {show(layout.outside(door)):22} {door}" for door in layout.ports)
    return "\n".join(("# Made by `chaoskit plan --compose`. Doors of this cluster:", *doors, "")) + "\n"


def _yaml(bed: Mapping[str, object]) -> str:
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = StringIO()
    yaml.dump(bed, text)
    return text.getvalue()
