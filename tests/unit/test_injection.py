"""A fault that cannot be proven is undone at once and never counts; whatever goes wrong, its harm is released."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

import pytest

from chaoskit.contracts import Capability, Cut, Down, Filled, Harm, Limited, Paused, Toxic
from chaoskit.errors import FaultNotProven, HealFailed
from chaoskit.runner import injection
from chaoskit.runner.injection import Injection
from chaoskit.runner.stop import Stop
from chaoskit.topology import Link, isolate

pytestmark = pytest.mark.unit


@dataclass
class Ledger:
    """Stands where a cluster stands, and writes down what it is asked to do."""

    inflicted: list[tuple[str, Harm]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    refuses_release: bool = False

    def inflict(self, holder: str, harm: Harm) -> None:
        self.inflicted.append((holder, harm))

    def release(self, holder: str) -> None:
        self.released.append(holder)
        if self.refuses_release:
            raise HealFailed("n1 stays down")


@dataclass
class Planted:
    """A fault that bites and heals as the test wants."""

    kind: ClassVar[str] = "planted"
    needs: ClassVar[frozenset[Capability]] = frozenset()
    for_: float = 0.0
    looks_until_bitten: int = 1
    bites_at_all: bool = True
    goes_away: bool = True
    crashes: bool = False

    def impossible(self, members: Sequence[str]) -> str | None:
        return None

    def harms(self, scene: Any) -> Sequence[Harm]:
        return [Down(("n1",))]

    def bites(self, scene: Any, harms: Sequence[Harm]) -> str:
        if self.crashes:
            raise ZeroDivisionError("a defect of the fault")
        self.looks_until_bitten -= 1
        if self.looks_until_bitten > 0 or not self.bites_at_all:
            raise FaultNotProven("n1 still answers")
        return "n1 is silent"

    def gone(self, scene: Any, harms: Sequence[Harm]) -> str:
        if not self.goes_away:
            raise FaultNotProven("n1 is still silent")
        return "n1 answers"


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"_BITE_DEADLINE_S": 0.1, "_GONE_DEADLINE_S": 0.1, "_RETRY_EVERY_S": 0.001}.items():
        monkeypatch.setattr(injection, name, seconds)


def carry_out(fault: Planted, ledger: Ledger | None = None, stop: Stop | None = None) -> tuple[Injection, Ledger]:
    ledger = ledger or Ledger()
    scene: Any = type("NoScene", (), {"members": ("n1", "n2", "n3"), "rng": Random(1)})()
    done = Injection("planted", fault, scene, ledger, stop or Stop(), lambda _: None)  # type: ignore[arg-type]
    done.run()
    return done, ledger


def test_a_proven_fault_has_all_its_times_in_order() -> None:
    span = carry_out(Planted(looks_until_bitten=3))[0].span()
    assert 0 < span.injected_ns < span.verified_ns < span.heal_began_ns < span.healed_ns
    assert (span.evidence, span.heal_evidence, span.problem) == ("n1 is silent", "n1 answers", "")
    assert span.targets == ("n1",)


def test_a_fault_that_does_not_bite_is_released_and_never_counts() -> None:
    done, ledger = carry_out(Planted(bites_at_all=False))
    assert done.verified_ns == 0
    assert "still answers" in done.span().problem
    assert ledger.released == ["planted"]


def test_a_fault_that_crashes_is_released_and_told() -> None:
    done, ledger = carry_out(Planted(crashes=True))
    assert "ZeroDivisionError" in done.span().problem
    assert ledger.released == ["planted"]


def test_a_heal_without_proof_is_told() -> None:
    done, _ = carry_out(Planted(goes_away=False))
    assert done.healed_ns == 0
    assert "not healed" in done.span().problem


def test_a_release_that_fails_is_told() -> None:
    done, _ = carry_out(Planted(), Ledger(refuses_release=True))
    assert "n1 stays down" in done.span().problem


def test_a_stop_undoes_a_fault_long_before_its_time() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.fail, ["enough"]).start()
    begin = time.monotonic()
    done, ledger = carry_out(Planted(for_=60), stop=stop)
    assert time.monotonic() - begin < 5
    assert ledger.released == ["planted"]
    assert done.healed_ns


MEMBERS = ("n1", "n2", "n3")


@pytest.mark.parametrize(
    ("harm", "aimed_at"),
    [
        (Down(("n2",)), ["n2"]),
        (Paused(("n1", "n3")), ["n1", "n3"]),
        (Cut(isolate(MEMBERS, ["n2"])), ["n2"]),
        (Cut(frozenset({Link("n1", "n2"), Link("n2", "n1")})), ["n1->n2", "n2->n1"]),
        (Toxic(frozenset({Link("client", "n3")}), "latency", (("latency", 5),)), ["client->n3"]),
    ],
)
def test_the_targets_of_a_harm_are_members_where_one_stands_out(harm: Harm, aimed_at: list[str]) -> None:
    assert list(injection.targets(harm)) == aimed_at


@pytest.mark.parametrize(
    ("harm", "held", "left"),
    [
        (Down(("n1", "n2")), [Down(("n2",))], Down(("n1",))),
        (Down(("n1",)), [Paused(("n1",))], None),
        (Cut(isolate(MEMBERS, ["n1"])), [Cut(isolate(MEMBERS, ["n1"]))], None),
        (Cut(isolate(MEMBERS, ["n1"])), [Down(("n2",))], Cut(frozenset({Link("n1", "n3"), Link("n3", "n1")}))),
        (Paused(("n1",)), [Cut(isolate(MEMBERS, ["n1"]))], Paused(("n1",))),
        (Paused(("n1",)), [], Paused(("n1",))),
        (Down(("n1", "n2")), [Filled(("n2",), 0)], Down(("n1",))),
        (Down(("n1",)), [Limited(("n1",), "memory", 1)], None),
        (Down(("n1",)), [Limited(("n1",), "cpu", 1)], Down(("n1",))),
        (Limited(("n1",), "cpu", 2), [Limited(("n1",), "cpu", 1)], None),
        (Limited(("n1",), "cpu", 2), [Limited(("n1",), "disk_write", 1)], Limited(("n1",), "cpu", 2)),
    ],
)
def test_what_another_fault_still_holds_is_left_out_of_the_proof_that_ours_is_gone(
    harm: Harm, held: list[Harm], left: Harm | None
) -> None:
    assert injection.without(harm, held) == left


def test_a_heal_under_another_faults_harm_is_proven_by_what_is_left() -> None:
    first, _ = carry_out(Planted())
    ledger = Ledger()
    scene: Any = type("NoScene", (), {"members": MEMBERS, "rng": Random(1)})()
    second = Injection(
        "second", Planted(goes_away=False), scene, ledger, Stop(), lambda _: None, lambda: (first, second)
    )  # type: ignore[arg-type]
    second.run()
    assert second.healed_ns, "n1 is held down by the first: not the second's to see gone"
    assert second.heal_evidence == "planted still holds all of it"


def test_every_harm_has_words() -> None:
    assert injection.describe(Down(("n1",), "TERM")) == "SIGTERM to n1"
    assert injection.describe(Paused(("n1",))) == "SIGSTOP to n1"
    assert injection.describe(Cut(frozenset({Link("n1", "n2")}), "reject")) == "reject on n1->n2"
    assert injection.describe(Limited(("n1",), "cpu", 200_000)) == "CPU limited to 20% of a core for n1"
    assert injection.describe(Limited(("n1",), "memory", 40_000_000)) == "memory limited to 40MB for n1"
    assert injection.describe(Limited(("n1",), "disk_write", 1 << 18)) == "disk writes limited to 256KiB/s for n1"
    assert injection.describe(Filled(("n1",), 0)) == "data disk filled but for 0B at n1"
    latency = Toxic(frozenset({Link("n1", "n2")}), "latency", (("latency", 200), ("jitter", 20)))
    assert injection.describe(latency) == "latency latency 200, jitter 20 on n1->n2"
