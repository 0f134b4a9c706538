"""A member under harm that it may die of: what is no accident, and who starts it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import pytest

from chaoskit.clusters import member as member_module
from chaoskit.clusters.harm import WantedMember
from chaoskit.clusters.member import Member, ServerState
from chaoskit.contracts import Limit, MemberLimits, MemberResources
from chaoskit.errors import InfrastructureError

pytestmark = pytest.mark.unit

STARVED = WantedMember(limits=(("memory", 1000),))
FULL = WantedMember(disk_free=0)
FREE = WantedMember()


class Frail:
    """A server and its bounds that die when the test says so, and write down what is done to them."""

    def __init__(self) -> None:
        self.alive = False
        self.starts = 0
        self.done: list[str] = []
        self.stillborn = False
        self.while_starting: Callable[[], object] = lambda: None
        self.said = "its log"

    def start(self) -> None:
        self.while_starting()
        if self.stillborn:
            raise InfrastructureError("it died before it ran")
        self.alive = True
        self.starts += 1
        self.done.append("start")

    def stop(self, how: Literal["KILL", "TERM"]) -> str:
        self.alive = False
        return f"SIG{how}"

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def state(self) -> ServerState:
        return "running" if self.alive else "down"

    def pid(self) -> int:
        return 7

    def resources(self) -> MemberResources | None:
        return None

    def how_it_ended(self) -> str:
        return "" if self.alive else "exit code 1"

    def last_words(self) -> str:
        return self.said

    def limit(self, limits: Mapping[Limit, int]) -> None:
        self.done.append(f"limit {dict(limits)}")

    def limits(self) -> MemberLimits:
        return MemberLimits()

    def fill(self, free_bytes: int | None) -> None:
        self.done.append(f"fill {free_bytes}")

    def write_seconds(self, size: int) -> float:
        return 0.0

    def disk_refusal(self, size: int) -> str:
        return ""

    def out_of_memory(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def no_death_throes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_module, "_DYING_S", 0)


@pytest.fixture
def server() -> Frail:
    return Frail()


@pytest.fixture
def member(server: Frail) -> Member:
    made = Member("n1", server, server)
    made.start()
    return made


@pytest.mark.parametrize("harm", [STARVED, FULL], ids=["memory", "disk"])
def test_a_death_by_harm_is_no_accident_and_lasts_until_the_harm_is_gone(
    server: Frail, member: Member, harm: WantedMember
) -> None:
    member.settle(lambda: harm)
    server.alive = False
    assert member.unwanted_end() is None
    assert member.process().end == "exit code 1"
    member.settle(lambda: harm)
    assert server.starts == 1, "down for the rest of the fault"
    server.done.clear()
    assert member.settle(lambda: FREE) is None
    assert server.done == ["limit {}" if harm is STARVED else "fill None", "start"], "it must find its harm gone"
    assert member.process().end == "exit code 1", "told after the heal, too"


def test_nobody_takes_it_for_an_accident_while_it_is_being_started_again(server: Frail, member: Member) -> None:
    seen: list[str | None] = []
    server.while_starting = lambda: seen.append(member.unwanted_end())
    member.settle(lambda: FULL)
    server.alive = False
    member.settle(lambda: FREE)
    assert seen == [None]


def test_a_member_that_died_of_a_full_disk_is_said_to_if_its_log_says_so(server: Frail, member: Member) -> None:
    member.settle(lambda: FULL)
    server.alive, server.said = False, "fatal: write db: no space left on device"
    assert member.process().end == "exit code 1: no space left on device"


def test_a_death_without_harm_is_an_accident(server: Frail, member: Member) -> None:
    member.settle(lambda: WantedMember(limits=(("cpu", 1),)))
    server.alive = False
    assert "died by itself" in str(member.unwanted_end())
    member.settle(lambda: FREE)
    assert server.starts == 1, "it is left as it is, for everybody to see"


def test_a_death_before_the_harm_stays_an_accident(server: Frail, member: Member) -> None:
    server.alive = False
    assert "died by itself" in str(member.settle(lambda: FULL))
    member.settle(lambda: FREE)
    assert server.starts == 1


def test_a_member_that_is_killed_under_a_limit_is_started_under_it(server: Frail, member: Member) -> None:
    member.settle(lambda: STARVED)
    member.settle(lambda: WantedMember("down", limits=STARVED.limits))
    server.done.clear()
    member.settle(lambda: STARVED)
    assert server.done == ["start", "limit {'memory': 1000}"]


def test_a_start_that_fails_under_harm_waits_for_its_end(server: Frail, member: Member) -> None:
    member.settle(lambda: WantedMember("down", limits=STARVED.limits))
    server.stillborn = True
    member.settle(lambda: STARVED)
    assert member.unwanted_end() is None
    server.stillborn = False
    member.settle(lambda: FREE)
    assert server.alive


def test_a_limit_that_was_not_carried_out_is_taken_back_all_the_same(server: Frail, member: Member) -> None:
    def refuse(limits: Mapping[Limit, int]) -> None:
        raise InfrastructureError("half-way")

    whole, server.limit = server.limit, refuse  # type: ignore[method-assign]
    with pytest.raises(InfrastructureError):
        member.settle(lambda: WantedMember(limits=(("cpu", 1),)))
    server.limit = whole  # type: ignore[method-assign]
    member.settle(lambda: FREE)
    assert "limit {}" in server.done


def test_how_a_stop_went_is_remembered_until_the_next_one(member: Member) -> None:
    member.settle(lambda: WantedMember("down", "TERM"))
    assert member.process().end == "SIGTERM"
    member.settle(lambda: FREE)
    member.settle(lambda: WantedMember("down", "KILL"))
    assert member.process().end == "SIGKILL"
