"""Which networks, addresses, ports and proxies a containerised cluster has. Pure data, for containers and for Compose.

One network per member and one edge, each /28 of one /25:

    edge        .2 Toxiproxy        the only network with published ports, on 127.0.0.1 only
    member j    .2 Toxiproxy  .3 member j; internal, and the host has no address in it

A member sees Toxiproxy in its own network and nobody else. There only its links to its peers listen; client proxies and
the control port listen at Toxiproxy's address on the edge, to which a member has no route.

Beside the N(N−1) + N proxies of the links there are proxies that no fault touches, because the host may use published
ports only: `observer->j` leads around the links to member j, `probe:i->j` into the listener of link i→j.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

from chaoskit.clusters.addresses import Address
from chaoskit.clusters.toxiproxy import ProxySpec
from chaoskit.contracts import MemberAddresses
from chaoskit.errors import InfrastructureError
from chaoskit.topology import CLIENT, Link, Links, client_links, peer_links

EDGE = "edge"
OBSERVER = "observer"
API_PORT = 8474
CLIENT_PORT = 2379
TOXIPROXY_SYSCTLS = {"net.ipv4.tcp_syn_retries": "1"}
"""Toxiproxy takes the next connection of a link when it has reached the member for the one before. The address of a
stopped container is silent, and the usual six repeats come after 1, 3, 7, 15 … s: a member that was away for 10 s would
be reached up to 15 s after its return. With one, an attempt ends after 3 s."""
_PEER_PORT = 2380  # + number: one per member, because every member's proxies share one address
_POOL = IPv4Network("198.18.0.0/15")  # set aside for tests of networks (RFC 2544), so nobody routes there
_PREFIX = 28
_BLOCK_PREFIX = 25  # eight networks: seven members and the edge


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything about one cluster but the images. `ports` maps a door to its port on 127.0.0.1."""

    members: tuple[str, ...]
    block: IPv4Network
    ports: Mapping[str, int] = field(default_factory=dict)

    # ── networks ──

    def networks(self) -> dict[str, IPv4Network]:
        """Name → subnet; the edge first."""
        return dict(zip((EDGE, *self.members), self.block.subnets(new_prefix=_PREFIX), strict=False))

    def toxiproxy(self, network: str) -> str:
        return self._host(network, 2)

    def member(self, member: str) -> str:
        return self._host(member, 3)

    def hosts(self, member: str) -> dict[str, str]:
        """What this member adds to its /etc/hosts: peers at Toxiproxy in its own network, itself without a proxy."""
        return {
            _host_name(other): self.member(other) if other == member else self.toxiproxy(member)
            for other in self.members
        }

    # ── links ──

    def links(self) -> Links:
        return peer_links(self.members) | client_links(self.members)

    def proxies(self) -> list[ProxySpec]:
        specs = [ProxySpec(str(link), self._listener(link), self._upstream(link)) for link in sorted(self.links())]
        for link in sorted(client_links(self.members)):
            door = observer_door(link.target)
            specs.append(ProxySpec(door, self.inside(door), self._upstream(link)))
        for link in sorted(peer_links(self.members)):
            door = link_door(link)
            specs.append(ProxySpec(door, self.inside(door), self._listener(link)))
        return specs

    # ── doors: where the host comes in ──

    def doors(self) -> dict[str, int]:
        """Door → its port at Toxiproxy on the edge."""
        doors = {"api": API_PORT}
        for number, member in enumerate(self.members, start=1):
            doors[link_door(Link(CLIENT, member))] = 21_000 + number
            doors[observer_door(member)] = 22_000 + number
        for link in sorted(peer_links(self.members)):
            doors[link_door(link)] = 23_000 + 10 * self._number(link.source) + self._number(link.target)
        return doors

    def inside(self, door: str) -> Address:
        """Where a door leads to."""
        return self.toxiproxy(EDGE), self.doors()[door]

    def outside(self, door: str) -> Address:
        """Where the host enters."""
        return "127.0.0.1", self.ports[door]

    def member_addresses(self, member: str) -> MemberAddresses:
        advertised = self.outside(link_door(Link(CLIENT, member)))
        return MemberAddresses(
            name=member,
            listen_client=f"http://{self.member(member)}:{CLIENT_PORT}",
            advertise_client=f"http://{advertised[0]}:{advertised[1]}",
            listen_peer=f"http://{self.member(member)}:{self._peer_port(member)}",
            advertise_peer=f"http://{_host_name(member)}:{self._peer_port(member)}",
        )

    def _listener(self, link: Link) -> Address:
        if link.kind == "client":
            return self.inside(link_door(link))
        return self.toxiproxy(link.source), self._peer_port(link.target)

    def _upstream(self, link: Link) -> Address:
        port = CLIENT_PORT if link.kind == "client" else self._peer_port(link.target)
        return self.member(link.target), port

    def _peer_port(self, member: str) -> int:
        return _PEER_PORT + self._number(member)

    def _host(self, network: str, number: int) -> str:
        return str(self.networks()[network][number])

    def _number(self, member: str) -> int:
        return self.members.index(member) + 1


def link_door(link: Link) -> str:
    """A client link is entered directly, a peer link by a proxy that leads into it."""
    return str(link) if link.kind == "client" else f"probe:{link}"


def observer_door(member: str) -> str:
    return f"{OBSERVER}->{member}"


def free_blocks(taken: Sequence[IPv4Network], tries: int = 16) -> Iterator[IPv4Network]:
    """Blocks that touch no taken network, in an order that two runs hardly share; InfrastructureError at the end.

    Not from the run's seed: which block it is must not matter, and two runs of one seed must not meet.
    """
    free = [block for block in _POOL.subnets(new_prefix=_BLOCK_PREFIX) if not any(map(block.overlaps, taken))]
    yield from random.sample(free, min(tries, len(free)))
    raise InfrastructureError(
        f"no block of {_POOL} is free for the cluster's networks; `ip route` and `docker network ls` show who has them"
    )


def routed(route_table: str) -> Iterator[IPv4Network]:
    """The networks of /proc/net/route, without the default route: a VPN may well have ours."""
    for line in route_table.splitlines()[1:]:
        destination, mask = (int.from_bytes(bytes.fromhex(line.split()[column]), "little") for column in (1, 7))
        if mask:
            yield IPv4Network((IPv4Address(destination), bin(mask).count("1")))


def subnets(configurations: Iterable[Mapping[str, str]]) -> Iterator[IPv4Network]:
    """Of Docker's IPAM configurations; IPv6 is not ours."""
    for configuration in configurations:
        subnet = configuration.get("Subnet", "")
        if subnet and ":" not in subnet:
            yield IPv4Network(subnet, strict=False)


def _host_name(member: str) -> str:
    return f"{member}.chaoskit"
