"""The external backend: a cluster that somebody else runs. We are guests there.

Nothing is started, stopped or configured. A run writes below a prefix of its own and removes it; links are harmed only
through proxies that the experiment names. Before anything is written the registry says where it will be, so that
`chaoskit clean` can remove it after a crash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from chaoskit.clusters import journal, probe
from chaoskit.clusters.external_debt import Debt, granted
from chaoskit.clusters.external_proxies import ExternalProxies, where
from chaoskit.clusters.journal import Journal
from chaoskit.clusters.keeper import Keeper
from chaoskit.contracts import (
    Capability,
    ClusterWish,
    Examination,
    Harm,
    LinkProbe,
    MemberLimits,
    MemberProcess,
    MemberResources,
    Place,
    Say,
    System,
    key_prefix,
)
from chaoskit.errors import ClusterNotReady, FaultNotProven, HealFailed, InfrastructureError
from chaoskit.topology import Link, client_links

_PROBE_S = 2.0
_TIDY_S = 60.0


class ExternalBackend:
    """A cluster of your own, at `endpoints`: load and checks below a prefix that the run removes again. Members are
    called n1, n2, … in the order of the endpoints. Faults need a Toxiproxy of yours and --yes-i-own-this-cluster."""

    name = "external"
    capabilities: frozenset[Capability] = frozenset({"cut", "toxic"})  # where a Toxiproxy is named

    @property
    def obstacles(self) -> Mapping[Capability, str]:
        why = "the cluster is somebody else's: only its links can be harmed, through a Toxiproxy"
        return {capability: why for capability in get_args(Capability) if capability not in self.capabilities}

    def missing(self) -> list[str]:
        return []

    def about(self) -> str:
        return "a cluster that is there already"

    def start(self, wish: ClusterWish, system: System, say: Say) -> ExternalCluster:
        assert wish.place is not None, "the experiment's model asks for endpoints"
        proxies = ExternalProxies(wish.place.toxiproxy, wish.place.proxies, wish.run_id) if wish.place.proxies else None
        try:
            found = system.examine(wish.place.endpoints, key_prefix(wish.run_id))
            problems = [*found.problems, *(proxies.look() if proxies else ())]
            if proxies and not problems:
                problems += _misled(wish.place, proxies, found, system)
            if problems:
                listed = "\n".join(f"  {problem}" for problem in problems)
                raise ClusterNotReady(f"the cluster cannot be used as it is, and nothing was written to it:\n{listed}")
            return ExternalCluster(wish, wish.place, system, found, proxies, say)
        except BaseException:
            if proxies:
                proxies.close()
            raise

    def sweep(self, say: Say) -> list[str]:  # noqa: ARG002  the promise's
        """What a dead run left is keys, and removing them takes a System: `external_debt.settle_all`."""
        return []


class ExternalCluster:
    """Somebody's cluster while a run uses it. Made by ExternalBackend."""

    def __init__(
        self,
        wish: ClusterWish,
        place: Place,
        system: System,
        found: Examination,
        proxies: ExternalProxies | None,
        say: Say,
    ) -> None:
        self.members = wish.members
        self.capabilities: frozenset[Capability] = ExternalBackend.capabilities if proxies else frozenset()
        self.links = frozenset(place.proxies) | client_links(wish.members)
        self.base_revision = found.revision
        self._wish = wish
        self._place = place
        self._system = system
        self._proxies = proxies
        self._say = say
        self._paths = dict(_paths(place, found, proxies))
        self.access = replace(place.access, server_names=self._server_names())
        self._trouble: deque[str] = deque()
        self._journal = Journal(wish.run_dir.absolute())
        self._undo = ExitStack()
        self._register(found)
        self._keeper = self._make_keeper(proxies) if proxies else None

    # ── questions ──

    def made_of(self) -> dict[str, str]:
        return {}  # nothing of it was made here

    def client_endpoints(self) -> dict[str, str]:
        return {link.target: self._paths[link][0] for link in sorted(client_links(self.members))}

    def direct_endpoints(self) -> dict[str, str]:
        return dict(self._place.endpoints)

    def process(self, member: str) -> MemberProcess:  # noqa: ARG002  the promise's
        """Whether it runs is not ours to see; that it answers is."""
        return MemberProcess("running", 0, 0)

    def resources(self, member: str) -> MemberResources | None:  # noqa: ARG002
        return None

    def limits(self, member: str) -> MemberLimits:  # noqa: ARG002
        return MemberLimits()

    def write_seconds(self, member: str, size: int) -> float:  # noqa: ARG002
        raise FaultNotProven(f"{member}'s disk is not ours to write to")

    def disk_refusal(self, member: str, size: int) -> str:  # noqa: ARG002
        raise FaultNotProven(f"{member}'s disk is not ours to fill")

    def probe(self, link: Link, timeout_s: float, padding: int = 0) -> LinkProbe:
        address, secure = self._paths[link]
        host, _, port = address.rpartition(":")
        access = replace(self.access, tls=secure)
        name = self._place.access.server_name(self._place.endpoints[link.target])
        return probe.ask((host.strip("[]"), int(port)), timeout_s, padding, access, name)

    def trouble(self) -> list[str]:
        return [self._trouble.popleft() for _ in range(len(self._trouble))]

    # ── harm ──

    def inflict(self, holder: str, harm: Harm) -> None:
        if self._keeper is None:
            raise InfrastructureError("there is no Toxiproxy to harm links with; cluster.toxiproxy names one")
        self._keeper.inflict(holder, harm)

    def release(self, holder: str) -> None:
        if self._keeper:
            self._keeper.release(holder)

    def heal(self) -> None:
        if self._keeper:
            self._keeper.heal()

    def close(self) -> None:
        """Whatever of it fails, the rest is done; then the registry keeps the run for `chaoskit clean`."""
        self._undo.close()

    # ── building ──

    def _register(self, found: Examination) -> None:
        enabled = {name: before.enabled for name, before in self._proxies.before.items()} if self._proxies else {}
        debt = Debt(
            system=self._system.name,
            endpoints=tuple(self._place.endpoints.values()),
            access=self._place.access,
            toxiproxy=self._place.toxiproxy if self._proxies else "",
            proxies=enabled,
        )
        run_dir = self._wish.run_dir.absolute()
        run_dir.mkdir(parents=True, exist_ok=True)
        registration = journal.register(
            journal.state_dir(), self._wish.run_id, run_dir, ExternalBackend.name, debt.encode()
        )
        self._undo.enter_context(registration)
        self._journal.begin(self._wish.run_id)
        self._undo.callback(self._tidy, run_dir)
        if self._proxies:
            self._undo.callback(self._restore)
        self._say(f"a guest here: all is written below {key_prefix(self._wish.run_id)}, which goes when the run ends")
        for member in found.members:
            self._say(
                f"{member.name} is {member.own_name or 'a member without a name'} ({member.id:x}), "
                f"etcd {member.version}, at {self._place.endpoints[member.name]}"
            )

    def _make_keeper(self, proxies: ExternalProxies) -> Keeper:
        return Keeper(
            self._wish.run_id,
            links=frozenset(self._place.proxies),
            members={},
            proxies=proxies,
            journal=self._journal,
            note=self._trouble.append,
        )

    def _server_names(self) -> Mapping[str, str]:
        """A certificate is for the member, not for the proxy in front of it."""
        given = self._place.access
        return {
            address: given.server_name(self._place.endpoints[link.target])
            for link, (address, _) in self._paths.items()
            if link.kind == "client"
        }

    # ── leaving ──

    def _restore(self) -> None:
        assert self._proxies is not None
        try:
            self.heal()
            for changed in self._proxies.changed_by_others():
                self._say(changed)
        except InfrastructureError as error:
            raise HealFailed(f"the Toxiproxy at {self._place.toxiproxy} could not be restored: {error}") from error
        finally:
            self._proxies.close()

    def _tidy(self, run_dir: Path) -> None:
        prefix = key_prefix(self._wish.run_id)
        endpoints, leases = tuple(self._place.endpoints.values()), granted(run_dir)
        try:
            keys, revoked = self._system.tidy(endpoints, prefix, leases.leases, _TIDY_S)
        except InfrastructureError as error:
            raise HealFailed(f"keys below {prefix} could not be removed: {error}") from error
        self._say(f"removed {keys} keys below {prefix} and {revoked} leases{leases}")


def _paths(
    place: Place, found: Examination, proxies: ExternalProxies | None
) -> Iterator[tuple[Link, tuple[str, bool]]]:
    """Link → where it is dialled, and whether with TLS; the last word counts."""
    secure_peers = {
        member.name for member in found.members if any(url.startswith("https:") for url in member.peer_urls)
    }
    for link in client_links(place.endpoints):
        yield link, (place.endpoints[link.target], place.access.tls)
    for link in place.proxies if proxies else ():
        assert proxies is not None
        secure = place.access.tls if link.kind == "client" else link.target in secure_peers
        yield link, (where(proxies.listener(link)), secure)


def _misled(place: Place, proxies: ExternalProxies, found: Examination, system: System) -> Iterator[str]:
    """Proxies that are not on the links that they are said to be on."""
    paths = dict(_paths(place, found, proxies))
    for link in sorted(place.proxies):
        address, secure = paths[link]
        name, member = proxies.name(link), link.target
        if address in place.endpoints.values():
            yield (
                f"proxy {name} listens at {address}, which is an endpoint; endpoints lead around Toxiproxy, "
                f"or faults would hit what is to prove them"
            )
        elif link.kind == "client":
            answers = system.member_at(address, place.endpoints[member], _PROBE_S)
            if answers != member:
                yield f"proxy {name} at {address} leads to {answers or 'nobody'}, not to {member}"
        else:
            host, _, port = address.rpartition(":")
            access = replace(place.access, tls=secure)
            server_name = place.access.server_name(place.endpoints[member])
            looked = probe.ask((host.strip("[]"), int(port)), _PROBE_S, 0, access, server_name)
            if not looked.answered:
                yield f"proxy {name} of {link} at {address} cannot be probed: {looked.how}"
