"""Every entry of FAULTS keeps the folder's promise, on a scene that obeys and on scenes that lie."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import get_args

import pytest
from pydantic import ValidationError

from chaoskit.cli.list import What, entries_of
from chaoskit.contracts import (
    Capability,
    Cut,
    Down,
    Fault,
    Filled,
    Harm,
    Limited,
    LinkProbe,
    MemberLimits,
    MemberProcess,
    MemberResources,
    MemberStatus,
    Paused,
    ServerMetrics,
    Toxic,
)
from chaoskit.errors import FaultNotProven
from chaoskit.experiment.steps import FaultItem, OverlappingFault
from chaoskit.faults import FAULTS, limit_proof, proof
from chaoskit.faults.targets import TARGETS, choose, impossible_target, read_target
from chaoskit.spec import Spec
from chaoskit.topology import CLIENT, Link, client_links, isolate, member_names, peer_links

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[2] / "docs"
HARM_NEEDS: dict[type, frozenset[Capability]] = {
    Cut: frozenset({"cut"}),
    Toxic: frozenset({"toxic"}),
    Down: frozenset({"signal", "restart"}),
    Paused: frozenset({"signal"}),
    Filled: frozenset({"disk", "restart"}),
}
LIMIT_NEEDS: dict[str, frozenset[Capability]] = {
    "cpu": frozenset({"cpu"}),
    "memory": frozenset({"memory", "restart"}),
    "disk_write": frozenset({"disk_io"}),
}
UP = MemberStatus(leader="n1", term=2, revision=10, raft_index=10, db_size=1, version="3.6.14")


class Scene:
    """A cluster that does to itself what it is told; `lies` names harms that it accepts and does not do."""

    def __init__(self, size: int = 3, lies: tuple[type, ...] = (), leader: str = "n1") -> None:
        self.members = member_names(size)
        self.links = peer_links(self.members) | client_links(self.members)
        self.rng = Random(7)
        self.lies = lies
        self.harms: list[Harm] = []
        self.starts = dict.fromkeys(self.members, 1)
        self.dead_probe = False
        self.deaf: set[str] = set()
        self.died: dict[str, str] = {}
        self.idle = False
        self.asked = 0
        self._leader = leader

    def inflict(self, harms: Sequence[Harm]) -> None:
        self.harms += [harm for harm in harms if type(harm) not in self.lies]

    def release(self) -> None:
        for harm in self.harms:
            if isinstance(harm, Down):
                self.starts |= {member: self.starts[member] + 1 for member in harm.members}
        self.starts |= {member: self.starts[member] + 1 for member in self.died}
        self.harms = []

    def limits(self, member: str) -> MemberLimits:
        held = [harm for harm in self.harms if isinstance(harm, Limited) and member in harm.members]
        amounts = {harm.limit: harm.amount for harm in held}
        wants = {} if self.idle else {"throttled": self.asked if "cpu" in amounts else 0, "memory_hits": self.asked}
        return MemberLimits(**amounts, **wants)  # type: ignore[arg-type]

    def metrics(self, member: str, timeout_s: float = 1.0) -> ServerMetrics | None:
        self.asked += 1
        return None

    def resources(self, member: str) -> MemberResources | None:
        return MemberResources(self.asked / 1e4, 1, None, None)

    def write_seconds(self, member: str, size: int) -> float:
        rates = [harm.amount for harm in self.harms if isinstance(harm, Limited) and harm.limit == "disk_write"]
        return size / min(rates, default=1 << 30)

    def disk_refusal(self, member: str, size: int) -> str:
        left = [harm.free_bytes for harm in self.harms if isinstance(harm, Filled) and member in harm.members]
        return "No space left on device" if size > min(left, default=1 << 30) else ""

    def leader(self) -> str:
        return self._leader

    def status(self, member: str, timeout_s: float = 0.5) -> MemberStatus | None:
        return UP if self.process(member).state == "running" and member not in self.deaf else None

    def process(self, member: str) -> MemberProcess:
        for harm in self.harms:
            if isinstance(harm, Down) and member in harm.members:
                return MemberProcess("down", 0, self.starts[member])
            if isinstance(harm, Paused) and member in harm.members:
                return MemberProcess("paused", 100, self.starts[member])
        if self.harms and member in self.died:
            return MemberProcess("down", 0, self.starts[member], self.died[member])
        return MemberProcess("running", 100, self.starts[member], self.died.get(member, ""))

    def probe(self, link: Link, timeout_s: float = 0.5, padding: int = 0) -> LinkProbe:
        on_link = [harm for harm in self.harms if isinstance(harm, Cut | Toxic) and link in harm.links]
        cut = any(isinstance(harm, Cut) for harm in on_link)
        seconds = 0.001 + sum(self._slowed(harm, padding) for harm in on_link if isinstance(harm, Toxic))
        if cut or self.dead_probe or seconds > timeout_s or self.process(link.target).state != "running":
            return LinkProbe(False, timeout_s, f"silence for {timeout_s} s")
        return LinkProbe(True, seconds, "HTTP 200")

    def _slowed(self, toxic: Toxic, padding: int) -> float:
        strength = dict(toxic.attributes)
        if toxic.type == "latency":
            return 2 * (strength["latency"] - strength["jitter"]) / 1e3
        return padding / (strength["rate"] * 1000)


def fault(kind: str, **keys: object) -> Fault:
    cls = FAULTS[kind]
    assert issubclass(cls, Spec)
    made = cls.model_validate(keys or cls.example)
    assert isinstance(made, Fault)
    return made


def members_of(harm: Harm) -> set[str]:
    if not isinstance(harm, Cut | Toxic):
        return set(harm.members)
    return {end for link in harm.links for end in (link.source, link.target)} - {CLIENT}


# ── the folder's promise ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_a_spec_with_a_manual_under_its_own_name(kind: str) -> None:
    cls = FAULTS[kind]
    assert issubclass(cls, Spec)
    assert cls.kind == kind
    assert cls.__doc__ and len(cls.__doc__.strip()) > 40
    assert all(field.description for field in cls.model_fields.values()), "every key needs a docstring"
    assert cls.needs <= set(get_args(Capability)) and cls.needs


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_has_a_yaml_form_that_is_read_back_and_a_schema(kind: str) -> None:
    made = fault(kind)
    assert isinstance(made, Spec)
    again = type(made).model_validate(json.loads(made.model_dump_json(exclude_none=True)))
    assert again == made
    schema = made.model_json_schema()
    assert "for" in schema["required"] and schema["additionalProperties"] is False


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_has_no_key_that_a_step_of_the_method_uses(kind: str) -> None:
    cls = FAULTS[kind]
    assert issubclass(cls, Spec)
    of_a_step = (FaultItem.model_fields.keys() | OverlappingFault.model_fields.keys()) - {"for_"}
    assert not cls.model_fields.keys() & of_a_step


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_that_is_possible_harms_somebody_in_the_cluster_and_nobody_else(kind: str, size: int) -> None:
    made, scene = fault(kind), Scene(size)
    if why := made.impossible(scene.members):
        assert size == 1 and ("single member" in why or "1 member has no" in why)
        return
    harms = made.harms(scene)
    assert harms
    for harm in harms:
        assert members_of(harm) and members_of(harm) <= set(scene.members)
        needs = LIMIT_NEEDS[harm.limit] if isinstance(harm, Limited) else HARM_NEEDS[type(harm)]
        assert needs <= made.needs
    assert not scene.harms, "harms() must not do anything itself"


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_bites_and_is_gone_on_a_cluster_that_obeys(kind: str) -> None:
    made, scene = fault(kind), Scene()
    harms = made.harms(scene)
    scene.inflict(harms)
    assert made.bites(scene, harms)
    with pytest.raises(FaultNotProven):
        made.gone(scene, harms)
    scene.release()
    assert made.gone(scene, harms)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_harm_that_is_accepted_and_has_no_effect_is_not_proven(kind: str) -> None:
    made = fault(kind)
    scene = Scene(lies=(Cut, Toxic, Down, Paused, Limited, Filled))
    harms = made.harms(scene)
    scene.inflict(harms)
    with pytest.raises(FaultNotProven):
        made.bites(scene, harms)


@pytest.mark.parametrize("kind", FAULTS)
def test_the_same_seed_chooses_the_same_targets(kind: str) -> None:
    made = fault(kind)
    assert made.harms(Scene(5)) == made.harms(Scene(5))


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_listed_with_every_key_and_an_example(kind: str) -> None:
    cls = FAULTS[kind]
    assert issubclass(cls, Spec)
    entry = next(entry for entry in entries_of(What.FAULTS) if entry.name == kind)
    assert {key.name for key in entry.keys} == {field.alias for field in cls.model_fields.values()}
    assert cls.example.items() <= dict(pair.split(": ", 1) for pair in entry.example.strip("{}").split(", ")).items()


def test_the_docs_name_no_fault_that_is_not_there() -> None:
    table = (DOCS / "faults.md").read_text().split("\n\n")[2]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) <= set(FAULTS)


# ── targets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("target", "count"),
    [("leader", 1), ("follower", 1), ("followers", 4), ("random", 1), ("minority", 2), ("majority", 3), ("all", 5)],
)
def test_a_target_chooses_as_many_members_as_it_says(target: str, count: int) -> None:
    chosen = choose(target, Scene(5, leader="n3"))
    assert len(chosen) == count
    assert ("n3" in chosen) is (target == "leader") or target in ("random", "minority", "majority", "all")


def test_every_target_is_covered_by_the_counts_above() -> None:
    assert set(TARGETS) == {"leader", "follower", "followers", "random", "minority", "majority", "all"}


@pytest.mark.parametrize("target", ["follower", "followers", "minority"])
def test_a_single_member_cluster_has_no_followers_and_no_minority(target: str) -> None:
    assert impossible_target(target, member_names(1))
    assert impossible_target(target, member_names(3)) is None


@pytest.mark.parametrize("written", ["random follower", "one"])
def test_other_spellings_of_a_target_mean_a_word_of_the_table(written: str) -> None:
    assert read_target(written) in TARGETS


@pytest.mark.parametrize("written", ["leadr", "", "n0", "n1,n2", [], ["n1", "n1"], ["leader"], 3, None, [["n1"]], {}])
def test_a_target_that_nobody_can_be_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"target|names|twice"):
        read_target(written)


# ── each fault's own rules ───────────────────────────────────────────────────────────────────────────────────────────


def test_isolating_a_member_cuts_both_directions_and_no_client_link() -> None:
    (harm,) = fault("partition", isolate="n2", **{"for": "1s"}).harms(Scene(3))
    assert harm == Cut(isolate(member_names(3), ["n2"]), "blackhole")
    assert not harm.links & client_links(member_names(3))


@pytest.mark.parametrize(
    "keys", [{}, {"isolate": "leader", "shape": "ring"}, {"groups": [["n1"], ["n1", "n2"]]}, {"links": ["n1->n1"]}]
)
def test_a_partition_is_described_in_exactly_one_way(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        fault("partition", **keys, **{"for": "1s"})


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        ({"shape": "ring"}, 3),
        ({"shape": "bridge"}, 1),
        ({"isolate": ["n1", "n4"]}, 3),
        ({"groups": [["n1"], ["n2", "n9"]]}, 7),
        ({"links": ["client->n5"]}, 3),
    ],
)
def test_a_partition_that_the_cluster_is_too_small_for_is_impossible(keys: dict[str, object], size: int) -> None:
    assert fault("partition", **keys, **{"for": "1s"}).impossible(member_names(size))


@pytest.mark.parametrize("shape", ["halves", "bridge", "ring"])
def test_a_shape_draws_its_sides_by_the_seed(shape: str) -> None:
    made = fault("partition", shape=shape, **{"for": "1s"})
    drawn = set()
    for seed in range(10):
        scene = Scene(5)
        scene.rng = Random(seed)
        (harm,) = made.harms(scene)
        assert isinstance(harm, Cut) and harm.links < peer_links(scene.members)
        drawn.add(harm.links)
    assert len(drawn) > 1


def test_client_links_can_be_cut_one_by_one_even_with_a_single_member() -> None:
    made = fault("partition", links=["client->n1"], mode="reject", **{"for": "1s"})
    assert made.impossible(["n1"]) is None
    assert made.harms(Scene(1)) == [Cut(client_links(["n1"]), "reject")]


def test_latency_on_client_links_leaves_peers_alone() -> None:
    (harm,) = fault("latency", delay="50ms", on="client", target="n2", **{"for": "1s"}).harms(Scene(3))
    assert harm == Toxic(client_links(["n2"]), "latency", (("latency", 50), ("jitter", 0)))


@pytest.mark.parametrize(
    "keys",
    [
        {"delay": "1ms"},
        {"delay": "11s"},
        {"delay": "100ms", "jitter": "97ms"},
        {"delay": "100ms", "links": ["n1->n2"], "on": "peer"},
        {"delay": "-5ms"},
        {"delay": 100},
    ],
)
def test_latency_that_cannot_be_proven_or_is_contradictory_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        fault("latency", **keys, **{"for": "1s"})


@pytest.mark.parametrize("rate", ["0KB/s", "1B/s", "1GB/s", "64KiB", "64KiB/m"])
def test_a_bandwidth_that_would_crash_or_fool_the_proxy_is_refused(rate: str) -> None:
    with pytest.raises(ValidationError):
        fault("bandwidth", rate=rate, **{"for": "1s"})


@pytest.mark.parametrize("rate", ["1KB/s", "64KiB/s", "5MB/s"])
def test_every_allowed_bandwidth_can_be_proven(rate: str) -> None:
    made, scene = fault("bandwidth", rate=rate, **{"for": "1s"}), Scene()
    harms = made.harms(scene)
    with pytest.raises(FaultNotProven):
        made.bites(scene, harms)
    scene.inflict(harms)
    assert made.bites(scene, harms)


# ── proofs: what they do not fall for ────────────────────────────────────────────────────────────────────────────────


def cut(scene: Scene, victim: str = "n1") -> frozenset[Link]:
    links = isolate(scene.members, [victim])
    scene.inflict([Cut(links)])
    return links


def test_a_dead_prober_proves_no_cut() -> None:
    scene = Scene()
    links = cut(scene)
    scene.dead_probe = True
    with pytest.raises(FaultNotProven, match="uncut links are silent too"):
        proof.links_silent(scene, links)


def test_a_dead_member_behind_a_link_proves_no_cut() -> None:
    scene = Scene()
    links = cut(scene)
    scene.deaf = {"n2"}
    with pytest.raises(FaultNotProven, match="n2 does not answer beside"):
        proof.links_silent(scene, links)


def test_one_link_that_still_answers_is_named() -> None:
    scene = Scene()
    links = cut(scene)
    scene.harms = [replace(scene.harms[0], links=links - {Link("n2", "n1")})]
    with pytest.raises(FaultNotProven, match="n2->n1"):
        proof.links_silent(scene, links)


def test_links_to_a_member_that_another_fault_holds_down_are_left_out_and_said_so() -> None:
    scene = Scene()
    links = cut(scene)
    scene.inflict([Down(("n2",))])
    assert "1 more lead to members that do not run" in proof.links_silent(scene, links)


def test_a_cut_whose_members_are_all_down_is_not_proven() -> None:
    scene = Scene()
    links = cut(scene)
    scene.inflict([Down(scene.members)])
    with pytest.raises(FaultNotProven, match="nothing to probe"):
        proof.links_silent(scene, links)


def test_a_cut_of_every_link_there_is_can_be_proven() -> None:
    scene = Scene()
    links = peer_links(scene.members) | client_links(scene.members)
    scene.inflict([Cut(links)])
    assert "no link is left uncut" in proof.links_silent(scene, links)


def test_a_slow_link_that_does_not_answer_at_all_is_no_latency() -> None:
    scene = Scene()
    links = cut(scene)
    with pytest.raises(FaultNotProven, match="not answering"):
        proof.links_slow(scene, links, proof.Pace(0.1))


def test_a_killed_member_whose_port_still_answers_is_not_proven_down() -> None:
    scene = Scene()
    scene.inflict([Down(("n1",))])
    scene.status = lambda member, timeout_s=0.5: UP  # type: ignore[method-assign]
    with pytest.raises(FaultNotProven, match="still answers"):
        proof.members_down(scene, ["n1"])


def test_a_member_that_was_never_started_again_is_not_restarted() -> None:
    with pytest.raises(FaultNotProven, match="never started again"):
        proof.members_restarted(Scene(), ["n1"])


def test_a_member_that_runs_again_but_does_not_answer_is_not_healed() -> None:
    scene = Scene()
    scene.deaf = {"n1"}
    with pytest.raises(FaultNotProven, match="does not answer"):
        proof.members_resumed(scene, ["n1"])


# ── limits and full disks ────────────────────────────────────────────────────────────────────────────────────────────

N1 = ("n1",)
GRIP = {"target": "n1", "for": "1s"}


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("cpu", {"limit": "0.5%"}),
        ("cpu", {"limit": "101%"}),
        ("cpu", {"limit": 0.2}),
        ("memory", {"limit": "4MB"}),
        ("memory", {"limit": "20%"}),
        ("disk_io", {"rate": "1KiB/s"}),
        ("disk_io", {"rate": "1GB"}),
        ("full_disk", {"leave": "1GB"}),
        ("full_disk", {"leave": 5}),
    ],
)
def test_a_limit_that_is_none_or_cannot_be_kept_is_refused(kind: str, keys: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        fault(kind, **keys, **GRIP)


@pytest.mark.parametrize(("kind", "keys"), [("cpu", {"limit": "20%"}), ("memory", {"limit": "40MB"})])
def test_a_limit_that_reads_back_and_that_nobody_runs_into_is_not_proven(kind: str, keys: dict[str, object]) -> None:
    made, scene = fault(kind, **keys, **GRIP), Scene()
    scene.idle = True
    harms = made.harms(scene)
    scene.inflict(harms)
    with pytest.raises(FaultNotProven, match=r"never (throttled|ran into)"):
        made.bites(scene, harms)


def test_a_cpu_limit_that_is_counted_and_not_kept_is_not_proven() -> None:
    scene = Scene()
    scene.inflict([Limited(N1, "cpu", 200_000)])
    scene.resources = lambda member: MemberResources(scene.asked * 1.0, 1, None, None)  # type: ignore[method-assign]
    with pytest.raises(FaultNotProven, match="more than its limit"):
        limit_proof.cpu_throttled(scene, N1, 200_000)


def test_a_write_limit_that_reads_back_and_slows_nothing_is_not_proven() -> None:
    scene = Scene()
    scene.inflict([Limited(N1, "disk_write", 100_000)])
    scene.write_seconds = lambda member, size: 0.001  # type: ignore[method-assign]
    with pytest.raises(FaultNotProven, match="not slowed"):
        limit_proof.writes_slow(scene, N1, 100_000)


def test_a_disk_that_refuses_for_another_reason_is_not_full() -> None:
    scene = Scene()
    scene.disk_refusal = lambda member, size: "Permission denied"  # type: ignore[method-assign]
    with pytest.raises(FaultNotProven, match="Permission denied"):
        limit_proof.disks_full(scene, N1, 0)


@pytest.mark.parametrize("harm", [Limited(N1, "memory", 1 << 25), Filled(N1, 0)], ids=["memory", "disk"])
def test_a_member_that_died_of_its_fault_is_proof_and_is_told_when_it_runs_again(harm: Harm) -> None:
    kind = "memory" if isinstance(harm, Limited) else "full_disk"
    made, scene = fault(kind, **({"limit": "32MiB"} if kind == "memory" else {}), **GRIP), Scene()
    scene.inflict([harm])
    scene.died = {"n1": "SIGKILL: the kernel killed it for want of memory"}
    assert "n1 died of it: SIGKILL" in made.bites(scene, [harm])
    scene.release()
    assert "had died of it (SIGKILL" in made.gone(scene, [harm])
    assert "start number 2" in made.gone(scene, [harm])


def test_a_stop_that_needed_sigkill_says_so() -> None:
    scene = Scene()
    scene.inflict([Down(N1, "TERM")])
    scene.process = lambda member: MemberProcess("down", 0, 1, "SIGKILL, 10 s after SIGTERM")  # type: ignore[method-assign]
    assert proof.members_down(scene, N1).endswith("n1 ended by SIGKILL, 10 s after SIGTERM")
