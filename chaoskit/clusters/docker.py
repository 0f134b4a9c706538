"""The Docker backend: members are containers, each alone in an internal network with one Toxiproxy that is in all.

Works with any daemon that publishes ports on this machine's 127.0.0.1, without root too, and nothing here talks to a
container's address: Docker Desktop's are in a virtual machine. docker_layout.py has the topology, docker_images.py the
images.

Containers outlive a controller that is killed; labels say whose they are, and the next run or `chaoskit clean`
removes them.
"""

from __future__ import annotations

import random
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Network
from pathlib import Path
from typing import get_args

from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool, LogConfig, Mount

from chaoskit.access import PLAIN
from chaoskit.clusters import addresses, docker_bounds, docker_daemon, docker_labels, docker_leftovers, journal, probe
from chaoskit.clusters.docker_bounds import ContainerBounds, VolumeDisk
from chaoskit.clusters.docker_daemon import Daemon
from chaoskit.clusters.docker_images import Image, image_for
from chaoskit.clusters.docker_layout import (
    API_PORT,
    EDGE,
    TOXIPROXY_SYSCTLS,
    Layout,
    free_blocks,
    link_door,
    observer_door,
    routed,
    subnets,
)
from chaoskit.clusters.docker_server import ContainerServer
from chaoskit.clusters.docker_watch import DaemonWatch
from chaoskit.clusters.journal import Journal
from chaoskit.clusters.keeper import Keeper
from chaoskit.clusters.member import Member
from chaoskit.clusters.readiness import wait_until_ready
from chaoskit.clusters.toxiproxy import ENVIRONMENT as TOXIPROXY_ENVIRONMENT
from chaoskit.clusters.toxiproxy import VERSION as TOXIPROXY_VERSION
from chaoskit.clusters.toxiproxy import Proxies
from chaoskit.contracts import (
    Capability,
    ClusterWish,
    Harm,
    LinkProbe,
    MemberLimits,
    MemberProcess,
    MemberResources,
    Say,
    System,
)
from chaoskit.errors import BedLost, InfrastructureError
from chaoskit.topology import CLIENT, Link, client_links, peer_links

_CAPABILITIES: frozenset[Capability] = frozenset(get_args(Capability))
_DATA = "/data"
_PORTS = range(20_000, 32_000)  # below the ports that Linux gives to clients, so that a restart finds them free
_PORT_TRIES = 5
_LOG_LIMITS = {"max-size": "200m", "max-file": "2"}


class DockerBackend:
    """Builds clusters of containers."""

    name = "docker"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return _CAPABILITIES - self.obstacles.keys()

    @cached_property
    def obstacles(self) -> Mapping[Capability, str]:
        """None are known where there is no daemon: then that is what is missing."""
        if docker_daemon.problem():
            return {}
        daemon = Daemon(docker_daemon.endpoint().url)
        try:
            return docker_bounds.obstacles(daemon)
        finally:
            daemon.close()

    def missing(self) -> list[str]:
        problem = docker_daemon.problem()
        return [problem] if problem else []

    def about(self) -> str:
        where = docker_daemon.endpoint()
        daemon = Daemon(where.url)
        try:
            return f"{daemon.about()} at {where}"
        finally:
            daemon.close()

    def start(self, wish: ClusterWish, system: System, say: Say) -> DockerCluster:
        missing = self.missing()
        if missing:
            raise InfrastructureError("\n".join(missing))
        self.sweep(say)
        cluster = DockerCluster(wish, system)
        try:
            cluster.boot(say)
        except BaseException:
            cluster.close()
            raise
        return cluster

    def sweep(self, say: Say) -> list[str]:
        return docker_leftovers.sweep(journal.state_dir(), self.name, say)


class DockerCluster:
    """A cluster of containers. Made by DockerBackend."""

    access = PLAIN
    base_revision = 0

    _daemon: Daemon
    _toxiproxy: Container
    _images: dict[str, Image]
    _layout: Layout
    _proxies: Proxies
    _keeper: Keeper
    _watch: DaemonWatch

    def __init__(self, wish: ClusterWish, system: System) -> None:
        self.members = wish.members
        self.links = peer_links(wish.members) | client_links(wish.members)
        self._wish = wish
        self._system = system
        self._logs = wish.run_dir.absolute() / "logs"
        self._journal = Journal(wish.run_dir.absolute())
        self._labels = docker_labels.labels(wish.run_id, wish.lifetime_s)
        self._local: dict[str, Member] = {}
        self._trouble: deque[str] = deque()
        self._undo = ExitStack()

    def boot(self, say: Say) -> None:
        """Whatever this run makes at the daemon carries its labels, so `close` finds it, however far this came."""
        began = time.monotonic()
        wish = self._wish
        self._logs.mkdir(parents=True, exist_ok=True)
        where = docker_daemon.endpoint().url
        self._undo.enter_context(
            journal.register(journal.state_dir(), wish.run_id, self._logs.parent, DockerBackend.name, where)
        )
        self._journal.begin(wish.run_id)
        self._daemon = Daemon(where)
        self._undo.callback(self._daemon.close)
        server, toxiproxy = self._image(self._system.name, say), self._image("toxiproxy", say)
        self._images = {self._system.name: server, "toxiproxy": toxiproxy}
        self._undo.callback(docker_leftovers.remove, self._daemon, wish.run_id)
        self._watch = DaemonWatch(where, wish.run_id, self._trouble.append, self._may_die)
        self._undo.callback(self._watch.close)
        self._layout = self._make_networks()
        self._make_volumes()
        self._start_toxiproxy(toxiproxy.reference)
        self._start_members(server.reference)
        self._proxies.start()  # when all are there: a connection into the void holds up the others for 3 s
        self._keeper = Keeper(
            wish.run_id,
            links=self._layout.links(),
            members=self._local,
            proxies=self._proxies,
            journal=self._journal,
            note=self._trouble.append,
        )
        wait_until_ready(self._local, self.direct_endpoints(), self._system, wish.version)
        say(
            f"{len(self.members)} containers of {server.reference} ready in {time.monotonic() - began:.1f} s, "
            f"at {', '.join(self.client_endpoints().values())}"
        )

    # ── questions ──

    def made_of(self) -> dict[str, str]:
        return {f"{server} image": str(image) for server, image in self._images.items()}

    def client_endpoints(self) -> dict[str, str]:
        return {member: self._outside(link_door(Link(CLIENT, member))) for member in self.members}

    def direct_endpoints(self) -> dict[str, str]:
        return {member: self._outside(observer_door(member)) for member in self.members}

    def process(self, member: str) -> MemberProcess:
        return self._local[member].process()

    def resources(self, member: str) -> MemberResources | None:
        return self._local[member].resources()

    def limits(self, member: str) -> MemberLimits:
        return self._local[member].limits()

    def write_seconds(self, member: str, size: int) -> float:
        return self._local[member].write_seconds(size)

    def disk_refusal(self, member: str, size: int) -> str:
        return self._local[member].disk_refusal(size)

    def _may_die(self, member: str) -> bool:
        return member in self._local and self._local[member].may_die

    def probe(self, link: Link, timeout_s: float, padding: int = 0) -> LinkProbe:
        return probe.ask(self._layout.outside(link_door(link)), timeout_s, padding)

    def trouble(self) -> list[str]:
        self._check_daemon()
        for member in self._local.values():
            if told := member.unwanted_end():
                self._trouble.append(told)
        return [self._trouble.popleft() for _ in range(len(self._trouble))]

    # ── harm ──

    def inflict(self, holder: str, harm: Harm) -> None:
        self._check_daemon()
        self._keeper.inflict(holder, harm)

    def release(self, holder: str) -> None:
        self._check_daemon()
        self._keeper.release(holder)

    def heal(self) -> None:
        self._check_daemon()
        self._keeper.heal()

    def close(self) -> None:
        """Nothing is healed link by link, because nothing of it will be there any more."""
        self._undo.close()

    def _check_daemon(self) -> None:
        """A new daemon would answer, but what it has is no cluster any more."""
        if self._watch.lost:
            raise BedLost(self._watch.lost)

    def _outside(self, door: str) -> str:
        return addresses.show(self._layout.outside(door))

    # ── building ──

    def _image(self, server: str, say: Say) -> Image:
        wish = self._wish
        is_member = server == self._system.name
        return image_for(
            self._daemon,
            server,
            wish.version if is_member else TOXIPROXY_VERSION,
            images=wish.images,
            explicit=wish.image if is_member else "",
            binary=wish.binaries.get(server),
            say=say,
        )

    def _make_networks(self) -> Layout:
        """In the first block of addresses that the daemon lets us have; who creates the edge in it owns it."""
        with self._daemon.asked("list its networks"):
            there = self._daemon.client.networks.list()
        taken = [*subnets(pool for network in there for pool in network.attrs["IPAM"]["Config"] or ()), *_routes()]
        for block in free_blocks(taken):
            layout = Layout(self.members, block)
            edge, *others = layout.networks().items()
            try:
                self._make_network(*edge)
            except BedLost:
                raise
            except InfrastructureError as error:
                if "overlaps" in str(error):  # somebody was quicker
                    continue
                raise
            with ThreadPoolExecutor(len(others)) as pool:
                list(pool.map(lambda network: self._make_network(*network), others))
            return layout
        raise AssertionError("unreachable: free_blocks raises at its end")

    def _make_network(self, name: str, subnet: IPv4Network) -> None:
        """Members' networks are internal, and the host has no address in them: a bridge with one would lead to it."""
        inner = name != EDGE
        with self._daemon.asked(f"create network {self._name(name)}"):
            self._daemon.client.networks.create(
                self._name(name),
                driver="bridge",
                internal=inner,
                ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=str(subnet))]),
                options={"com.docker.network.bridge.inhibit_ipv4": "true"} if inner else {},
                labels=self._labels,
            )

    def _make_volumes(self) -> None:
        """Of limited size, where one is to be filled."""
        options = dict(VolumeDisk.OPTIONS) if self._with_disks else {}
        for member in self.members:
            with self._daemon.asked(f"create the volume of {member}"):
                self._daemon.client.volumes.create(self._volume(member), driver_opts=options, labels=self._labels)

    def _volume(self, member: str) -> str:
        return self._name(f"{member}-data")

    def _start_toxiproxy(self, image: str) -> None:
        for attempt in range(1, _PORT_TRIES + 1):
            self._layout = replace(self._layout, ports=_free_ports(self._layout.doors()))
            self._toxiproxy = self._make_toxiproxy(image)
            server = ContainerServer(self._daemon, self._toxiproxy, self._logs / "toxiproxy.log")
            try:
                server.start()
                break
            except BedLost:
                raise
            except InfrastructureError as error:
                taken = "already allocated" in str(error) or "already in use" in str(error)
                if not taken or attempt == _PORT_TRIES:
                    raise
                server.remove()
        self._proxies = Proxies(self._layout.outside("api"), server, self._layout.proxies(), self._trouble.append)
        self._undo.callback(server.save_log)
        self._undo.callback(self._proxies.close)

    def _make_toxiproxy(self, image: str) -> Container:
        """The control port at its address on the edge only: its own default would be every network."""
        layout = self._layout
        with self._daemon.asked("create Toxiproxy's container"):
            container = self._daemon.client.containers.create(
                image,
                ["-host", layout.toxiproxy(EDGE), "-port", str(API_PORT)],
                name=self._name("toxiproxy"),
                environment=TOXIPROXY_ENVIRONMENT,
                ports={f"{layout.doors()[door]}/tcp": layout.outside(door) for door in layout.ports},
                labels=self._labels,
                mounts=[Mount(_disk(member), self._volume(member)) for member in self.members if self._with_disks],
                sysctls=TOXIPROXY_SYSCTLS,
                **self._at(EDGE, layout.toxiproxy(EDGE)),
            )
            for member in self.members:  # one after the other: they change the same container
                self._daemon.client.api.connect_container_to_network(
                    container.id, self._name(member), ipv4_address=layout.toxiproxy(member)
                )
        return container

    def _start_members(self, image: str) -> None:
        with ThreadPoolExecutor(len(self.members)) as pool:
            made = list(pool.map(lambda member: self._make_member(member, image), self.members))
            self._local = {member.name: member for _, member in made}
            for server, _ in made:
                self._undo.callback(server.save_log)
            list(pool.map(Member.start, self._local.values()))

    def _make_member(self, member: str, image: str) -> tuple[ContainerServer, Member]:
        everybody = [self._layout.member_addresses(each) for each in self.members]
        own = self._layout.member_addresses(member)
        # by name: official and own images have it in different folders of their PATH
        data = Path(_DATA, "etcd") if self._with_disks else Path(_DATA)  # beside what fills the disk
        argv = self._system.member_argv(
            Path(self._system.name), own, everybody, data, self._wish.run_id, self._wish.flags
        )
        volume = self._volume(member)
        with self._daemon.asked(f"create the container of {member}"):
            container = self._daemon.client.containers.create(
                image,
                argv[1:],
                entrypoint=argv[:1],
                name=self._name(member),
                hostname=member,
                extra_hosts=self._layout.hosts(member),
                mounts=[Mount(_DATA, volume)],
                labels={**self._labels, docker_labels.MEMBER: member},
                **self._at(member, self._layout.member(member)),
            )
        server = ContainerServer(self._daemon, container, self._logs / f"{member}.log")
        disk = VolumeDisk(self._daemon, self._toxiproxy, _disk(member)) if self._with_disks else None
        return server, Member(member, server, ContainerBounds(self._daemon, container, volume, disk))

    def _at(self, network: str, address: str) -> dict[str, object]:
        """What every container has: its address, no privileges, a log that the daemon can give back."""
        name = self._name(network)
        return {
            "network": name,
            "networking_config": {name: self._daemon.client.api.create_endpoint_config(ipv4_address=address)},
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "log_config": LogConfig(type=LogConfig.types.JSON, config=_LOG_LIMITS),
            "use_config_proxy": False,
        }

    @property
    def _with_disks(self) -> bool:
        return "disk" in self._wish.needs

    def _name(self, thing: str) -> str:
        return f"chaoskit-{self._wish.run_id}-{thing}"


def _disk(member: str) -> str:
    """Where Toxiproxy's container has a member's data disk mounted, so that it outlives the member's restarts."""
    return f"/disks/{member}"


def _routes() -> list[IPv4Network]:
    """Of this machine; none are known where there is no /proc, where the daemon's machine is another one anyway."""
    table = Path("/proc/net/route")
    return list(routed(table.read_text())) if table.exists() else []


def _free_ports(doors: Iterable[str]) -> dict[str, int]:
    """A port of 127.0.0.1 for each door. The daemon binds them a moment later, and says so if somebody was quicker."""
    candidates = iter(random.sample(_PORTS, len(_PORTS)))
    return {door: next(port for port in candidates if _is_free(port)) for door in doors}


def _is_free(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
