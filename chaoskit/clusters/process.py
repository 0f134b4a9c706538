"""The process backend: members are processes of this machine, every link runs through one local Toxiproxy.

Every member advertises one peer URL to all others, so one proxy per member could not cut single links. Here each member
has a mount namespace of its own in which /etc/hosts leads `nJ.chaoskit` to its own proxy for the link to J. Needs Linux
and no root, where users may make namespaces. Members and Toxiproxy die with this process, whatever ends it.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from chaoskit.access import PLAIN
from chaoskit.clusters import addresses, binaries, cgroups, journal, leftovers, probe, procfs
from chaoskit.clusters.addresses import Block
from chaoskit.clusters.cgroups import CONTROLLERS, Controller, Group
from chaoskit.clusters.children import Spawner, Surroundings, namespace_problem
from chaoskit.clusters.journal import Journal
from chaoskit.clusters.keeper import Keeper
from chaoskit.clusters.local_bounds import LocalBounds, LocalDisk
from chaoskit.clusters.local_server import LocalServer
from chaoskit.clusters.member import Member
from chaoskit.clusters.readiness import wait_until_ready
from chaoskit.clusters.toxiproxy import ENVIRONMENT as TOXIPROXY_ENVIRONMENT
from chaoskit.clusters.toxiproxy import VERSION as TOXIPROXY_VERSION
from chaoskit.clusters.toxiproxy import Proxies, ProxySpec
from chaoskit.contracts import (
    DATA_DISK_BYTES,
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
from chaoskit.errors import InfrastructureError
from chaoskit.topology import Link, client_links, peer_links

_ALWAYS: frozenset[Capability] = frozenset({"cut", "toxic", "signal", "restart", "disk"})
_STAY = [sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"]


class ProcessBackend:
    """Builds clusters of processes."""

    name = "process"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return (_ALWAYS | CONTROLLERS.keys()) - self.obstacles.keys()

    @cached_property
    def obstacles(self) -> Mapping[Capability, str]:
        return {capability: why for capability in CONTROLLERS if (why := cgroups.obstacle(capability))}

    def missing(self) -> list[str]:
        problem = procfs.problem() or namespace_problem()
        return [problem] if problem else []

    def about(self) -> str:
        return "members are processes of this machine"

    def start(self, wish: ClusterWish, system: System, say: Say) -> ProcessCluster:
        missing = self.missing()
        if missing:
            raise InfrastructureError("\n".join(missing))
        self.sweep(say)
        server = binaries.find(system.name, wish.version, explicit=wish.binaries.get(system.name), say=say).path
        proxy = binaries.find(
            "toxiproxy-server", TOXIPROXY_VERSION, explicit=wish.binaries.get("toxiproxy"), say=say
        ).path
        cluster = ProcessCluster(wish, system)
        try:
            cluster.boot(server, proxy, say)
        except BaseException:
            cluster.close()
            raise
        return cluster

    def sweep(self, say: Say) -> list[str]:
        return leftovers.sweep(journal.state_dir(), self.name, say)


class ProcessCluster:
    """A cluster of processes. Made by ProcessBackend."""

    access = PLAIN
    base_revision = 0

    _programs: dict[str, Path]
    _block: Block
    _spawner: Spawner
    _proxies: Proxies
    _keeper: Keeper

    def __init__(self, wish: ClusterWish, system: System) -> None:
        self.members = wish.members
        self.links = peer_links(wish.members) | client_links(wish.members)
        self._wish = wish
        self._system = system
        self._run_dir = wish.run_dir.absolute()
        self._journal = Journal(self._run_dir)
        self._local: dict[str, Member] = {}
        self._trouble: deque[str] = deque()
        self._undo = ExitStack()

    def boot(self, server: Path, proxy: Path, say: Say) -> None:
        """Everything that is made is noted for `close` first."""
        began = time.monotonic()
        wish = self._wish
        self._programs = {self._system.name: server, "toxiproxy": proxy}
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._undo.enter_context(journal.register(journal.state_dir(), wish.run_id, self._run_dir, ProcessBackend.name))
        reservation = addresses.reserve(wish.members, wish.clients_at)
        self._block = reservation.block
        self._undo.callback(reservation.close)
        self._make_folders()
        self._make_groups()
        self._spawner = Spawner(wish.run_id, self._journal.started)
        self._undo.callback(self._spawner.close)
        self._start_proxies(proxy)
        self._start_members(server)
        self._keeper = Keeper(
            wish.run_id,
            links=frozenset(self._block.links()),
            members=self._local,
            proxies=self._proxies,
            journal=self._journal,
            note=self._trouble.append,
        )
        wait_until_ready(self._local, self.direct_endpoints(), self._system, wish.version)
        say(
            f"{len(self.members)} members of {self._system.name} {wish.version} ready "
            f"in {time.monotonic() - began:.1f} s, at {', '.join(self.client_endpoints().values())}"
        )

    # ── questions ──

    def made_of(self) -> dict[str, str]:
        return {f"{name} program": str(path) for name, path in self._programs.items()}

    def client_endpoints(self) -> dict[str, str]:
        listeners = (self._block.listener(Link("client", member)) for member in self.members)
        return dict(zip(self.members, map(addresses.show, listeners), strict=True))

    def direct_endpoints(self) -> dict[str, str]:
        return {member: addresses.show(self._block.client(member)) for member in self.members}

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

    def probe(self, link: Link, timeout_s: float, padding: int = 0) -> LinkProbe:
        return probe.ask(self._block.listener(link), timeout_s, padding)

    def trouble(self) -> list[str]:
        for member in self._local.values():
            if told := member.unwanted_end():
                self._trouble.append(told)
        return [self._trouble.popleft() for _ in range(len(self._trouble))]

    # ── harm ──

    def inflict(self, holder: str, harm: Harm) -> None:
        self._keeper.inflict(holder, harm)

    def release(self, holder: str) -> None:
        self._keeper.release(holder)

    def heal(self) -> None:
        self._keeper.heal()

    def close(self) -> None:
        """Nothing is healed link by link, because nothing of it will be there any more."""
        self._undo.close()

    # ── building ──

    def _make_folders(self) -> None:
        folders = [self._run_dir / name for name in journal.REMOVABLE]
        for folder in folders:
            if folder.exists():
                raise InfrastructureError(
                    f"{folder} is there already, and this run would remove it; use another folder"
                )
        (self._run_dir / "logs").mkdir(exist_ok=True)
        self._journal.begin(self._wish.run_id)  # first: a sweep removes only what the journal vouches for
        for folder in folders:
            folder.mkdir()
            self._undo.callback(shutil.rmtree, folder)
        for member in self.members:
            (self._run_dir / "hosts" / member).write_text(self._block.hosts_file(member))
            (self._run_dir / "data" / member).mkdir(mode=0o700)

    def _make_groups(self) -> None:
        """Of those controllers that the run needs."""
        controllers = {CONTROLLERS[need] for need in self._wish.needs if need in CONTROLLERS}
        if "io" in controllers:
            cgroups.disk_of(self._run_dir / "data")  # says what is wrong before anything is started
        self._groups: dict[str, dict[Controller, Group]] = {member: {} for member in self.members}
        for controller, parent in cgroups.places(controllers).items():
            for member in self.members:
                group = Group(parent.version, parent.path / cgroups.name(self._wish.run_id, member))
                if group not in self._groups[member].values():
                    self._journal.making(group.path)
                    cgroups.make(group)
                    self._undo.callback(cgroups.remove, group.path)
                self._groups[member][controller] = group

    def _start_proxies(self, program: Path) -> None:
        host, port = self._block.api
        argv = [str(program), "-host", host, "-port", str(port)]
        log = self._run_dir / "logs" / "toxiproxy.log"

        server = LocalServer(argv, self._spawner, log, environment=TOXIPROXY_ENVIRONMENT)
        specs = [
            ProxySpec(str(link), self._block.listener(link), self._block.upstream(link)) for link in self._block.links()
        ]
        self._proxies = Proxies(self._block.api, server, specs, self._trouble.append)
        self._undo.callback(self._proxies.close)
        self._proxies.start()

    def _start_members(self, program: Path) -> None:
        everybody = [self._block.member_addresses(member) for member in self.members]
        for addresses_ in everybody:
            name = addresses_.name
            data, disk, place = self._surroundings(name)
            argv = self._system.member_argv(program, addresses_, everybody, data, self._wish.run_id, self._wish.flags)
            server = LocalServer(argv, self._spawner, self._run_dir / "logs" / f"{name}.log", place)
            self._local[name] = Member(name, server, LocalBounds(self._groups[name], self._run_dir / "data", disk))
            self._undo.callback(self._local[name].stop)
            self._local[name].start()

    def _surroundings(self, name: str) -> tuple[Path, LocalDisk | None, Surroundings]:
        """A member's data folder, its disk and what else it has for itself.

        A disk that can be filled is in the mounts of a process of its own, so that it outlives the member's restarts,
        is seen by nobody else, and is gone with that process however this one ends.
        """
        hosts, data = self._run_dir / "hosts" / name, self._run_dir / "data" / name
        groups = tuple(dict.fromkeys(group.procs for group in self._groups[name].values()))
        if "disk" not in self._wish.needs:
            return data, None, Surroundings(hosts, groups=groups)
        log = self._run_dir / "hosts" / f"{name}-disk.log"
        keeper = self._spawner.start(_STAY, log, Surroundings(hosts, disk=data, disk_bytes=DATA_DISK_BYTES))
        disk = LocalDisk(Path(f"/proc/{keeper.pid}/root") / data.relative_to("/"))
        return data / "etcd", disk, Surroundings(inside=keeper.pid, groups=groups)
