"""Blocks of loopback addresses: nothing in a block is used twice, and no two runs get the same block."""

from __future__ import annotations

import socket

import pytest

from chaoskit.clusters.addresses import Address, Block, reserve, show
from chaoskit.topology import Link, member_names

pytestmark = pytest.mark.unit


def block(count: int) -> Block:
    return Block(member_names(count), octet=77)


@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_every_address_of_a_block_is_used_once(count: int) -> None:
    addresses = list(block(count).all())
    assert len(set(addresses)) == len(addresses) == 1 + 2 * count + count * count
    assert block(count).holder not in addresses


def test_a_link_listens_where_only_its_source_is_told_to_look() -> None:
    assert show(block(3).listener(Link("n1", "n3"))) == "127.77.101.3:2380"
    assert show(block(3).listener(Link("client", "n3"))) == "127.77.1.3:2379"


def test_a_link_leads_to_the_port_for_its_kind() -> None:
    assert show(block(3).upstream(Link("n1", "n3"))) == "127.77.0.3:2380"
    assert show(block(3).upstream(Link("client", "n3"))) == "127.77.0.3:2379"


def test_a_member_finds_its_peers_at_proxies_and_itself_without_one() -> None:
    lines = block(3).hosts_file("n2").splitlines()
    assert lines[2:] == ["127.77.102.1 n1.chaoskit", "127.77.0.2 n2.chaoskit", "127.77.102.3 n3.chaoskit"]


def test_a_member_advertises_its_proxy_to_clients_and_one_name_to_all_peers() -> None:
    n2 = block(3).member_addresses("n2")
    assert n2.advertise_client == "http://127.77.1.2:2379"
    assert n2.advertise_peer == "http://n2.chaoskit:2380"
    assert (n2.listen_client, n2.listen_peer) == ("http://127.77.0.2:2379", "http://127.77.0.2:2380")


def test_two_runs_never_hold_the_same_block() -> None:
    held = [reserve(member_names(3)) for _ in range(8)]
    try:
        assert len({reservation.block.octet for reservation in held}) == 8
    finally:
        for reservation in held:
            reservation.close()


def test_a_block_in_which_a_port_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaoskit.clusters.addresses._OCTETS", range(240, 242))  # two blocks that no run uses
    with listening(Block(member_names(3), 240).peer("n3")):
        reservation = reserve(member_names(3))
        reservation.close()
    assert reservation.block.octet == 241


def test_a_server_on_every_address_only_moves_the_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaoskit.clusters.addresses._PORT_SHIFTS", (5000, 6000))  # no real run is in the way
    with listening(("0.0.0.0", 8474 + 5000)):
        reservation = reserve(member_names(1))
        reservation.close()
    assert reservation.block.api[1] == 8474 + 6000


def listening(address: Address) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(address)
    listening.listen()
    return listening
