"""The ledger of harm, by example and under random interleavings of holders."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.clusters.harm import Ledger, WantedLink, WantedMember, describe, links_of, members_of
from chaoskit.contracts import Cut, Down, Filled, Harm, Limited, Paused, Toxic
from chaoskit.topology import Link, client_links, isolate, member_names, peer_links

pytestmark = pytest.mark.unit

MEMBERS = member_names(3)
LINKS = sorted(peer_links(MEMBERS) | client_links(MEMBERS))
N1_N2 = Link("n1", "n2")
SLOW = Toxic(frozenset({N1_N2}), "latency", (("latency", 100),))

some_links = st.frozensets(st.sampled_from(LINKS), min_size=1)
some_members = st.lists(st.sampled_from(MEMBERS), min_size=1, unique=True).map(tuple)
harms: st.SearchStrategy[Harm] = st.one_of(
    st.builds(Cut, some_links, st.sampled_from(["blackhole", "reject"])),
    st.builds(Toxic, some_links, st.just("latency"), st.just((("latency", 5),))),
    st.builds(Down, some_members, st.sampled_from(["KILL", "TERM"])),
    st.builds(Paused, some_members),
    st.builds(Limited, some_members, st.sampled_from(["cpu", "memory", "disk_write"]), st.integers(1, 1 << 40)),
    st.builds(Filled, some_members, st.integers(0, 1 << 30)),
)
holders = st.sampled_from(["partition", "a/b", "a-b", "kill 2", "ütf"])
deeds = st.lists(st.tuples(holders, st.one_of(st.none(), harms)), max_size=25)  # None: release


def ledger_of(*held: tuple[str, Harm]) -> Ledger:
    ledger = Ledger()
    for holder, harm in held:
        ledger.add(holder, harm)
    return ledger


def after(done: Iterable[tuple[str, Harm | None]]) -> Ledger:
    ledger = Ledger()
    for holder, harm in done:
        if harm is None:
            ledger.drop(holder)
        else:
            ledger.add(holder, harm)
    return ledger


def wanted(ledger: Ledger) -> tuple[list[WantedLink], list[WantedMember]]:
    return [ledger.link(link) for link in LINKS], [ledger.member(member) for member in MEMBERS]


def test_a_link_stays_cut_while_any_holder_cuts_it() -> None:
    ledger = ledger_of(("a", Cut(frozenset({N1_N2}))), ("b", Cut(isolate(MEMBERS, ["n1"]))))
    ledger.drop("a")
    assert ledger.link(N1_N2).blackholed
    ledger.drop("b")
    assert ledger.link(N1_N2) == WantedLink()


def test_the_blackhole_is_still_there_when_rejecting_ends() -> None:
    links = frozenset({N1_N2})
    ledger = ledger_of(("silent", Cut(links, "blackhole")), ("loud", Cut(links, "reject")))
    assert ledger.link(N1_N2) == WantedLink(rejected=True, blackholed=True)
    ledger.drop("loud")
    assert ledger.link(N1_N2) == WantedLink(rejected=False, blackholed=True)


def test_toxics_of_two_holders_stack_under_their_own_names() -> None:
    ledger = ledger_of(("a", SLOW), ("b", SLOW), ("b", SLOW))
    names = [toxic.name for toxic in ledger.link(N1_N2).toxics]
    assert names == ["a.1", "b.1", "b.2"]


def test_holders_that_look_alike_in_a_url_have_toxics_of_different_names() -> None:
    ledger = ledger_of(("a/b", SLOW), ("a-b", SLOW), ("a b", SLOW))
    assert len({toxic.name for toxic in ledger.link(N1_N2).toxics}) == 3


def test_down_wins_over_paused_and_the_pause_is_still_there_afterwards() -> None:
    ledger = ledger_of(("pause", Paused(("n1",))), ("kill", Down(("n1",), "KILL")))
    assert ledger.member("n1") == WantedMember("down", "KILL")
    ledger.drop("kill")
    assert ledger.member("n1").state == "paused"
    ledger.drop("pause")
    assert ledger.member("n1") == WantedMember("running")


def test_a_member_is_down_until_the_last_holder_lets_go() -> None:
    ledger = ledger_of(("a", Down(("n1", "n2"), "TERM")), ("b", Down(("n2",), "KILL")))
    assert ledger.member("n1").signal == "TERM"
    assert ledger.member("n2").signal == "KILL"
    ledger.drop("a")
    assert [ledger.member(member).state for member in MEMBERS] == ["running", "down", "running"]


def test_dropping_a_stranger_gives_nothing_and_changes_nothing() -> None:
    ledger = ledger_of(("a", SLOW))
    before = wanted(ledger)
    assert ledger.drop("b") == ()
    assert wanted(ledger) == before


@given(deeds)
def test_after_releasing_all_in_any_order_nothing_is_wanted(done: list[tuple[str, Harm | None]]) -> None:
    ledger = after(done)
    for holder in ledger.holders():
        ledger.drop(holder)
    assert wanted(ledger) == wanted(Ledger())


@given(deeds, holders)
def test_releasing_one_holder_leaves_exactly_the_harm_of_the_others(
    done: list[tuple[str, Harm | None]], released: str
) -> None:
    ledger = after(done)
    ledger.drop(released)
    assert wanted(ledger) == wanted(after((holder, harm) for holder, harm in done if holder != released))


@given(deeds)
def test_whatever_any_holder_holds_is_wanted(done: list[tuple[str, Harm | None]]) -> None:
    ledger = after(done)
    for holder in ledger.holders():
        for harm in ledger.drop(holder):
            ledger.add("again", harm)
            for link in links_of(harm):
                assert ledger.link(link) != WantedLink(), f"{harm} left {link} as if nothing were"
            for member in members_of(harm):
                assert ledger.member(member) != WantedMember(), f"{harm} left {member} as if nothing were"


@given(harms)
def test_every_harm_can_be_written_to_the_journal(harm: Harm) -> None:
    described = json.loads(json.dumps(describe(harm)))
    assert described["kind"] == type(harm).__name__.lower()
    assert len(described.get("links", [])) == len(links_of(harm))
    assert tuple(described.get("members", [])) == members_of(harm)


def test_of_several_limits_the_strictest_of_each_kind_holds() -> None:
    ledger = ledger_of(
        ("a", Limited(("n1",), "cpu", 200_000)),
        ("b", Limited(("n1", "n2"), "cpu", 100_000)),
        ("c", Limited(("n1",), "memory", 1 << 26)),
        ("d", Filled(("n1",), 4096)),
        ("e", Filled(("n1",), 0)),
    )
    assert ledger.member("n1") == WantedMember(limits=(("cpu", 100_000), ("memory", 1 << 26)), disk_free=0)
    ledger.drop("b")
    ledger.drop("e")
    assert ledger.member("n1") == WantedMember(limits=(("cpu", 200_000), ("memory", 1 << 26)), disk_free=4096)
    assert ledger.member("n2") == WantedMember()


def test_only_want_of_memory_and_of_room_may_end_a_member() -> None:
    assert not ledger_of(("a", Limited(("n1",), "cpu", 1)), ("b", Down(("n1",)))).member("n1").deadly
    assert ledger_of(("a", Limited(("n1",), "memory", 1))).member("n1").deadly
    assert ledger_of(("a", Filled(("n1",), 0))).member("n1").deadly
