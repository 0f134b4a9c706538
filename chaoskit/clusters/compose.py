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
from chaoskit.clusters.docker_layout import API_PORT, EDGE, TOXIPROXY_SYSCTLS, Layout
from chaoskit.clusters.official_images import built_image, official_image
from chaoskit.clusters.toxiproxy import VERSION as TOXIPROXY_VERSION
from chaoskit.contracts import ImageSource, System

_BLOCK = IPv4Network("198.18.0.0/25")
_FIRST_PORT = 23_790
_DATA = "/data"
_PROXIES = "proxies.json"
_HEAD = """# Made by `chaoskit plan --compose`, for Compose 2.23.1 or newer: `docker compose up -d`, `down -v`.
# Without a registry: ETCD_IMAGE=chaoskit/etcd:… TOXIPROXY_IMAGE=chaoskit/toxiproxy:… name images that chaoskit built.
# Doors of this cluster:"""


def render(
    system: System,
    version: str,
    members: tuple[str, ...],
    flags: Mapping[str, str],
    image: str = "",
    images: ImageSource = "auto",
) -> str:
    """Needs Compose 2.23.1 for `configs.content`. Images are the official ones unless `image` or `images` says more;
    `ETCD_IMAGE` and `TOXIPROXY_IMAGE` stand for others when it is started."""
    doors = Layout(members, _BLOCK).doors()
    ports = {door: _FIRST_PORT + number for number, door in enumerate(doors)}
    layout = Layout(members, _BLOCK, ports)
    bed = {
        "name": "chaoskit",
        "services": {
            "toxiproxy": _toxiproxy(layout, _image("toxiproxy", TOXIPROXY_VERSION, images)),
            **{
                member: _member(layout, member, system, image or _image(system.name, version, images), flags)
                for member in members
            },
        },
        "networks": {name: _network(name, subnet) for name, subnet in layout.networks().items()},
        "volumes": {f"{member}-data": {} for member in members},
        "configs": {"proxies": {"content": json.dumps(_proxies(layout), indent=1)}},
    }
    return _head(layout) + _yaml(bed)


def _image(server: str, version: str, images: ImageSource) -> str:
    name = built_image(server, version) if images == "build" else official_image(server, version)
    return f"${{{server.upper()}_IMAGE:-{name}}}"


def _toxiproxy(layout: Layout, image: str) -> dict[str, object]:
    return {
        "image": image,
        "command": ["-host", layout.toxiproxy(EDGE), "-port", str(API_PORT), "-config", f"/{_PROXIES}"],
        "configs": [{"source": "proxies", "target": f"/{_PROXIES}"}],
        "ports": [f"{show(layout.outside(door))}:{inside}" for door, inside in layout.doors().items()],
        "cap_drop": ["ALL"],
        "sysctls": TOXIPROXY_SYSCTLS,
        "networks": {name: {"ipv4_address": layout.toxiproxy(name)} for name in layout.networks()},
    }


def _member(layout: Layout, member: str, system: System, image: str, flags: Mapping[str, str]) -> dict[str, object]:
    everybody = [layout.member_addresses(each) for each in layout.members]
    own = layout.member_addresses(member)
    argv = system.member_argv(Path(system.name), own, everybody, Path(_DATA), "compose", flags)
    argv = [argument.replace("$", "$$") for argument in argv]  # Compose would look for a variable
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
    return "\n".join((_HEAD, *doors, "")) + "\n"


def _yaml(bed: Mapping[str, object]) -> str:
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = StringIO()
    yaml.dump(bed, text)
    return text.getvalue()
