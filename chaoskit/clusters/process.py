"""The process backend: members are processes of this machine, every link runs through one local Toxiproxy.

Every member advertises one peer URL to all others, so one proxy per member could not cut single links. Here each member
has a mount namespace of its own in which /etc/hosts leads `nJ.chaoskit` to its own proxy for the link to J. Needs Linux
and no root, where users may make namespaces. Members and Toxiproxy die with this process, whatever ends it.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from chaoskit.clusters import addresses, binaries, journal, leftovers, probe
from chaoskit.clusters.addresses import Block
from chaoskit.clusters.children import Child, Spawner, namespace_problem
from chaoskit.clusters.harm import Ledger, WantedLink, WantedMember, links_of, members_of
from chaoskit.clusters.journal import Journal
from chaoskit.clusters.member_process import LocalMember
from chaoskit.clusters.toxics import toxic_on_both_streams
from chaoskit.clusters.toxiproxy import VERSION as TOXIPROXY_VERSION
from chaoskit.clusters.toxiproxy import Proxies, ProxySpec, ProxyState
from chaoskit.contracts import Capability, ClusterWish, Harm, LinkProbe, MemberProcess, MemberStatus, Say, System, Toxic
from chaoskit.errors import ClusterNotReady, HealFailed, InfrastructureError
from chaoskit.topology import Link

_CAPABILITIES: frozenset[Capability] = frozenset({"cut", "toxic", "signal", "restart"})
_READY_DEADLINE_S = 30.0
_STATUS_DEADLINE_S = 0.5


class ProcessBackend:
    """Builds clusters of processes."""

    name = "process"
    capabilities = _CAPABILITIES

    def missing(self) -> list[str]:
        if sys.platform != "linux":
            return [f"the process backend needs Linux, this is {sys.platform}; use another backend or a Linux machine"]
        problem = namespace_problem()
        return [problem] if problem else []

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

    capabilities = _CAPABILITIES

    _block: Block
    _spawner: Spawner
    _proxies: Proxies

    def __init__(self, wish: ClusterWish, system: System) -> None:
        self.members = wish.members
        self._wish = wish
        self._system = system
        self._run_dir = wish.run_dir.absolute()
        self._journal = Journal(self._run_dir)
        self._local: dict[str, LocalMember] = {}
        self._ledger = Ledger()
        self._ledger_lock = threading.Lock()
        self._links_lock = threading.Lock()  # from reading the ledger to the end of the change that follows from it
        self._trouble: deque[str] = deque()
        self._undo = ExitStack()

    def boot(self, server: Path, proxy: Path, say: Say) -> None:
        """Everything that is made is noted for `close` first."""
        began = time.monotonic()
        wish = self._wish
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._undo.enter_context(journal.register(journal.state_dir(), wish.run_id, self._run_dir, ProcessBackend.name))
        reservation = addresses.reserve(wish.members)
        self._block = reservation.block
        self._undo.callback(reservation.close)
        self._make_folders()
        self._spawner = Spawner(wish.run_id, self._journal.started)
        self._undo.callback(self._spawner.close)
        self._start_proxies(proxy)
        self._start_members(server)
        self._wait_until_ready()
        say(
            f"{len(self.members)} members of {self._system.name} {wish.version} ready "
            f"in {time.monotonic() - began:.1f} s, at {', '.join(self.client_endpoints().values())}"
        )

    # ── questions ──

    def client_endpoints(self) -> dict[str, str]:
        listeners = (self._block.listener(Link("client", member)) for member in self.members)
        return dict(zip(self.members, map(addresses.show, listeners), strict=True))

    def direct_endpoints(self) -> dict[str, str]:
        return {member: addresses.show(self._block.client(member)) for member in self.members}

    def process(self, member: str) -> MemberProcess:
        return self._local[member].process()

    def probe(self, link: Link, timeout_s: float, padding: int = 0) -> LinkProbe:
        return probe.ask(self._block.listener(link), timeout_s, padding)

    def trouble(self) -> list[str]:
        for member in self._local.values():
            self._note(member.unwanted_end())
        told = []
        while self._trouble:
            told.append(self._trouble.popleft())
        return told

    # ── harm ──

    def inflict(self, holder: str, harm: Harm) -> None:
        """When this raises, what was done so far is still the holder's, and `release` undoes it."""
        self._check(harm)
        with self._ledger_lock:
            self._journal.inflicting(holder, harm)
            self._ledger.add(holder, harm)
        self._settle(links_of(harm), members_of(harm))

    def release(self, holder: str) -> None:
        with self._ledger_lock:
            harms = self._ledger.drop(holder)
        if not harms:
            return
        links = frozenset[Link]().union(*map(links_of, harms))
        members = {member for harm in harms for member in members_of(harm)}
        self._heal_to_wanted(links, members)
        self._journal.released(holder)

    def heal(self) -> None:
        with self._ledger_lock:
            released = self._ledger.holders()
            for holder in released:
                self._ledger.drop(holder)
        self._heal_to_wanted(self._block.links(), self.members)
        for holder in released:
            self._journal.released(holder)

    def close(self) -> None:
        """Nothing is healed link by link, because nothing of it will be there any more."""
        self._undo.close()

    # ── moving the cluster to what the ledger says ──

    def _check(self, harm: Harm) -> None:
        """Before anything is written or done: whether this harm can be done here at all."""
        strangers = [str(link) for link in links_of(harm) - set(self._block.links())]
        strangers += [member for member in members_of(harm) if member not in self.members]
        if strangers:
            raise InfrastructureError(
                f"this cluster of {', '.join(self.members)} has no {', '.join(sorted(strangers))}"
            )
        if isinstance(harm, Toxic):
            toxic_on_both_streams("check", harm.type, dict(harm.attributes))

    def _settle(self, links: Collection[Link], members: Collection[str]) -> None:
        if links:
            with self._links_lock:
                self._proxies.apply({str(link): _proxy_state(self._wanted_link(link)) for link in sorted(links)})
        if members:
            with ThreadPoolExecutor(len(members)) as pool:  # together: a stop by SIGTERM may take seconds
                list(pool.map(self._settle_member, members))

    def _heal_to_wanted(self, links: Collection[Link], members: Collection[str]) -> None:
        try:
            self._settle(links, members)
        except (InfrastructureError, OSError) as error:
            raise HealFailed(
                f"run {self._wish.run_id} could not be healed: {error}; "
                f"end this run, then `chaoskit clean` removes what is left of it"
            ) from error

    def _settle_member(self, member: str) -> None:
        self._note(self._local[member].settle(lambda: self._wanted_member(member)))

    def _wanted_member(self, member: str) -> WantedMember:
        with self._ledger_lock:
            return self._ledger.member(member)

    def _wanted_link(self, link: Link) -> WantedLink:
        with self._ledger_lock:
            return self._ledger.link(link)

    def _note(self, trouble: str | None) -> None:
        if trouble:
            self._trouble.append(trouble)

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

    def _start_proxies(self, program: Path) -> None:
        host, port = self._block.api
        argv = [str(program), "-host", host, "-port", str(port)]
        log = self._run_dir / "logs" / "toxiproxy.log"

        def launch() -> Child:
            return self._spawner.start(argv, log, environment={"LOG_LEVEL": "error"})

        specs = [
            ProxySpec(str(link), self._block.listener(link), self._block.upstream(link)) for link in self._block.links()
        ]
        self._proxies = Proxies(self._block.api, launch, specs, self._note)
        self._undo.callback(self._proxies.close)
        self._proxies.start()

    def _start_members(self, program: Path) -> None:
        everybody = [self._block.member_addresses(member) for member in self.members]
        for addresses_ in everybody:
            name = addresses_.name
            data = self._run_dir / "data" / name
            argv = self._system.member_argv(program, addresses_, everybody, data, self._wish.run_id, self._wish.flags)
            log, hosts = self._run_dir / "logs" / f"{name}.log", self._run_dir / "hosts" / name
            self._local[name] = LocalMember(name, argv, self._spawner, log, hosts)
            self._undo.callback(self._local[name].stop)
            self._local[name].start()

    def _wait_until_ready(self) -> None:
        """Until every member names the same leader by its status RPC."""
        deadline = time.monotonic() + _READY_DEADLINE_S
        while True:
            statuses = self._statuses()
            leaders = {status.leader if status else "" for status in statuses.values()}
            if len(leaders) == 1 and leaders != {""}:
                return
            dead = [name for name, local in self._local.items() if local.process().state == "down"]
            if dead:
                raise ClusterNotReady(f"member {dead[0]} ended while starting: {self._local[dead[0]].last_words()}")
            if time.monotonic() > deadline:
                raise ClusterNotReady(self._who_is_late(statuses))
            time.sleep(0.02)

    def _statuses(self) -> dict[str, MemberStatus | None]:
        return {
            member: self._system.status(endpoint, _STATUS_DEADLINE_S)
            for member, endpoint in self.direct_endpoints().items()
        }

    def _who_is_late(self, statuses: Mapping[str, MemberStatus | None]) -> str:
        views = {name: f"leader {status.leader or 'none'}" if status else "silent" for name, status in statuses.items()}
        late = next((name for name, status in statuses.items() if not status or not status.leader), self.members[0])
        seen = ", ".join(f"{name}: {view}" for name, view in views.items())
        return (
            f"the members did not agree on a leader within {_READY_DEADLINE_S:g} s ({seen}); "
            f"{late}: {self._local[late].last_words()}"
        )


def _proxy_state(wanted: WantedLink) -> ProxyState:
    toxics = [
        toxic_on_both_streams(named.name, named.toxic.type, dict(named.toxic.attributes)) for named in wanted.toxics
    ]
    if wanted.blackholed:
        toxics.append(toxic_on_both_streams("blackhole", "timeout", {"timeout": 0}))
    return ProxyState(enabled=not wanted.rejected, toxics=frozenset().union(*toxics))
