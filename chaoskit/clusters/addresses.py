"""Which loopback addresses a run uses: one block 127.A.0.0/16 of its own, so that runs on one host never meet.

    127.A.0.j      member j: clients at 2379, peers at 2380
    127.A.1.j      the proxy from clients to member j
    127.A.2.1      Toxiproxy's control API
    127.A.(100+i).j  the proxy from member i to member j
    127.A.255.254  the socket that says the block is taken

Proxies from clients move to an address of the user's choice when workers on other machines have to reach them.

The controller holds a listening socket in its block. The kernel closes it however the controller dies, so no block is
ever left taken, and it works between users who cannot read each other's files.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaoskit.contracts import MemberAddresses
from chaoskit.errors import InfrastructureError
from chaoskit.topology import Link, client_links, peer_links

Address = tuple[str, int]

_OCTETS = range(16, 240)  # away from 127.0 and 127.1, which people use, and from the end
_PORT_SHIFTS = (0, 10_000, 20_000)  # a server on 0.0.0.0:2379 takes that port in every block


@dataclass(frozen=True, slots=True)
class Block:
    """Every address of one run, computed from the names of its members and two numbers."""

    members: tuple[str, ...]
    octet: int
    port_shift: int = 0
    clients_at: Address | None = None  # where member 1's client proxy listens instead; the others at the next ports

    @property
    def api(self) -> Address:
        return f"127.{self.octet}.2.1", 8474 + self.port_shift

    @property
    def holder(self) -> Address:
        return f"127.{self.octet}.255.254", self._client_port

    def client(self, member: str) -> Address:
        return f"127.{self.octet}.0.{self._number(member)}", self._client_port

    def peer(self, member: str) -> Address:
        return f"127.{self.octet}.0.{self._number(member)}", self._client_port + 1

    def listener(self, link: Link) -> Address:
        """Where the link's proxy listens."""
        target = self._number(link.target)
        if link.kind == "client" and self.clients_at:
            host, first_port = self.clients_at
            return host, first_port + target - 1
        if link.kind == "client":
            return f"127.{self.octet}.1.{target}", self._client_port
        return f"127.{self.octet}.{100 + self._number(link.source)}.{target}", self._client_port + 1

    def upstream(self, link: Link) -> Address:
        """Where the link's proxy sends what it lets pass."""
        return self.client(link.target) if link.kind == "client" else self.peer(link.target)

    def links(self) -> tuple[Link, ...]:
        return tuple(sorted(peer_links(self.members) | client_links(self.members)))

    def all(self) -> Iterator[Address]:
        """Every address that a server of this run will listen on."""
        yield self.api
        for member in self.members:
            yield self.client(member)
            yield self.peer(member)
        for link in self.links():
            yield self.listener(link)

    def member_addresses(self, member: str) -> MemberAddresses:
        """A member advertises one peer URL to all, so it is a name, which each other one resolves in its own way."""
        through_proxy = next(iter(client_links([member])))
        return MemberAddresses(
            name=member,
            listen_client=f"http://{show(self.client(member))}",
            advertise_client=f"http://{show(self.listener(through_proxy))}",
            listen_peer=f"http://{show(self.peer(member))}",
            advertise_peer=f"http://{_host_name(member)}:{self._client_port + 1}",
        )

    def hosts_file(self, member: str) -> str:
        """What this member sees as /etc/hosts: every peer at the proxy of the link to it, itself without a proxy."""
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        for other in self.members:
            address = self.peer(other) if other == member else self.listener(Link(member, other))
            lines.append(f"{address[0]} {_host_name(other)}")
        return "\n".join(lines) + "\n"

    @property
    def _client_port(self) -> int:
        return 2379 + self.port_shift

    def _number(self, member: str) -> int:
        return self.members.index(member) + 1


@dataclass(frozen=True, slots=True)
class Reservation:
    """A block that belongs to this process until it closes or dies."""

    block: Block
    _holder: socket.socket

    def close(self) -> None:
        self._holder.close()


def reserve(members: Sequence[str], clients_at: Address | None = None) -> Reservation:
    """A block in which every address is free. Raises InfrastructureError when there is none."""
    if clients_at:
        _check_free(clients_at, len(members))
    for shift in _PORT_SHIFTS:
        # not from the run's seed: which block it is must not matter, and two runs of one seed must not meet
        for octet in random.sample(_OCTETS, len(_OCTETS)):
            block = Block(tuple(members), octet, shift, clients_at)
            holder = _listen(block.holder)
            if holder is None:
                continue
            if all(_is_free(address) for address in block.all()):
                return Reservation(block, holder)
            holder.close()
    raise InfrastructureError(
        f"no block 127.{_OCTETS.start}.0.0/16 to 127.{_OCTETS.stop - 1}.0.0/16 has its ports free; "
        f"look with `ss -ltn` for servers that listen on every address at {_ports()}"
    )


def _check_free(first: Address, ports: int) -> None:
    for port in range(first[1], first[1] + ports):
        if not _is_free((first[0], port)):
            raise InfrastructureError(
                f"{first[0]}:{port} cannot be listened on, and the members' clients are to connect there: it is no "
                f"address of this machine, or somebody has the port (`ss -ltn`); --listen names another"
            )


def show(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _ports() -> str:
    return ", ".join(str(port + shift) for shift in _PORT_SHIFTS for port in (2379, 2380, 8474))


def _host_name(member: str) -> str:
    return f"{member}.chaoskit"


def _is_free(address: Address) -> bool:
    listening = _listen(address)
    if listening is not None:
        listening.close()
    return listening is not None


def _listen(address: Address) -> socket.socket | None:
    """A listening socket; None when somebody else listens there."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no user
        listening.bind(address)
        listening.listen(1)
    except OSError:
        listening.close()
        return None
    return listening
