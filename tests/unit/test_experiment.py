"""An experiment is whole before anything starts: all mistakes at once, each with its place and the choices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from chaoskit.clusters import cgroups
from chaoskit.errors import InvalidExperiment
from chaoskit.experiment import Plan, bed, find_experiment, make_plan, packaged_experiments
from chaoskit.experiment.bed import Bed, bed_of
from chaoskit.experiment.document import Document, Scalar
from chaoskit.experiment.model import MAX_STEPS, Experiment
from chaoskit.experiment.plan import Burst, FaultStep, Wait
from chaoskit.experiment.problems import problems_of
from chaoskit.faults import FAULTS
from chaoskit.topology import member_names
from chaoskit.workloads import WORKLOADS
from chaoskit.workloads.distributions import Fixed
from chaoskit.workloads.keys import padded, put_key
from chaoskit.workloads.put import Put

pytestmark = pytest.mark.unit

VALID = """\
title: T
cluster: {version: "3.6.14", members: 3}
load:
  put: {rate: 300/s}
steady-state:
  - put.p99 < 100ms
method:
  - wait: 10s
  - fault: kill
    target: leader
    for: 5s
  - wait: 8s
slo:
  - write.gap < 5s
"""
NAMES = [
    "baseline",
    "partition",
    "leader-kill",
    "mixed",
    "watch-reconnect",
    "slow-watchers",
    "slow-follower",
    "pause-leader",
    "lease-storm",
    "full-disk",
    "knee",
    "check-perf",
]


@pytest.fixture
def file(tmp_path: Path):  # type: ignore[no-untyped-def]  # a factory of paths
    def write(text: str, name: str = "x.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def problems(path: str, **options: object) -> str:
    with pytest.raises(InvalidExperiment) as caught:
        make_plan(path, **options)  # type: ignore[arg-type]
    return str(caught.value)


SEARCH = "  - {search: put, from: 100/s, step: 100/s, to: 900/s, every: 2s, p99: 50ms}\n"


def test_a_search_is_planned_step_by_step_with_its_settling(file) -> None:  # type: ignore[no-untyped-def]
    plan = make_plan(file(VALID.replace("  - wait: 8s\n", SEARCH.replace("to: 900/s", "to: 250/s") + "  - wait: 4s\n")))
    names = [(phase.name, phase.seconds) for phase in plan.phases() if phase.kind in ("step", "recovery")]
    assert names == [
        ("step:knee:100/s", 2), ("step:knee:200/s", 2), ("step:knee:250/s", 2), ("settle:knee", 2),
        ("recovery:knee", 4),
    ]  # fmt: skip
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


@pytest.mark.parametrize(("profile", "writes", "clients"), [("s", 150, 50), ("m", 1000, 200), ("xl", 15000, 1000)])
def test_a_profile_is_the_load_of_check_perf_and_its_rule(file, profile: str, writes: int, clients: int) -> None:  # type: ignore[no-untyped-def]
    plan = make_plan(file(VALID.replace("put: {rate: 300/s}", f"profile: {profile}")))
    put = cast(Put, plan.load.workloads["put"])
    assert (put.rate, put.clients_, put.value_size, plan.load.key_size) == (writes, clients, Fixed(1024), 256)
    assert plan.slo == (
        "write.gap < 5s", f"put.goodput >= {writes * 0.9:g}/s", "put.service.max < 500ms", "put.service.stddev < 100ms",
        "put.errors == 0%",
    )  # fmt: skip
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


def test_keys_are_as_long_as_asked_for_whatever_their_number() -> None:
    prefix = padded("/chaoskit/1121123456-abcdef/", 256)
    assert {len(put_key(prefix, number)) for number in (0, 7, 999_999)} == {256}
    assert prefix.startswith("/chaoskit/1121123456-abcdef/")
    assert padded("/chaoskit/x/", None) == "/chaoskit/x/"
    assert padded("/chaoskit/x/", 10) == "/chaoskit/x/"


def test_only_a_constant_rate_can_be_searched(file) -> None:  # type: ignore[no-untyped-def]
    text = VALID.replace("  - wait: 8s\n", SEARCH)
    for rate in ("{think: 0s}", "{from: 1/s, to: 9/s, over: 5s}"):
        said = problems(file(text.replace("{rate: 300/s}", f"{{rate: {rate}}}")))
        assert "method[2].search: put has no constant rate that a search could leave and come back to" in said


# ── mistakes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("title: T", "titel: T", "titel: unknown key 'titel'; did you mean 'title'?"),
        ("members: 3", "membrs: 3", "cluster.membrs: unknown key 'membrs'; did you mean 'members'?"),
        ("members: 3", "members: 4", "cluster.members: a cluster has 1, 3, 5, 7 members, not 4"),
        ("members: 3", "members: true", "cluster.members: must be"),
        ("members: 3", "members: '3'", "cluster.members: must be"),
        ('"3.6.14"', "3.6", "cluster.version: must be text; write '3.6' in quotes"),
        ('"3.6.14"', "latest", "cluster.version: 'latest' does not look like"),
        ("members: 3", "members: 3, backend: docker-ish", "cluster.backend: unknown backend 'docker-ish'"),
        ("members: 3", "members: 3, system: etdc", "cluster.system: unknown system 'etdc'; did you mean 'etcd'?"),
        ("members: 3", "members: 3, flags: {name: x}", "cluster.flags.name: "),
        ("put: {rate: 300/s}", "put: {rate: 300}", "load.put.rate: 300 needs a unit, such as 1500/s"),
        ("put: {rate: 300/s}", "put: {rate: 300/fortnight}", "load.put.rate: '300/fortnight' is not a rate"),
        ("put: {rate: 300/s}", "put: {rate: 999999/s}", "load.put.rate: must be from"),
        ("put: {rate: 300/s}", "put: {rate: {from: 1/s}}", "load.put.rate: a rate is 1500/s, a ramp {from, to, over}"),
        ("{rate: 300/s}", "{rate: {from: 1/s, to: 9/s, ovr: 1s, step: 1/s}}", "load.put.rate.ovr: unknown key 'ovr'"),
        ("{rate: 300/s}", "{rate: {from: 1/s, to: 9, over: 1s}}", "load.put.rate.to: 9 needs a unit"),
        ("{rate: 300/s}", "{rate: {from: 1/s, over: 1s}}", "load.put.rate.to: missing"),
        ("{rate: 300/s}", "{rate: {stages: [{to: 9/s, ovre: 1s, over: 1s}]}}", "load.put.rate.stages[0].ovre: unknown"),
        ("put: {rate: 300/s}", "put: {rate: 300/s, value_size: 3XB}", "load.put.value_size: '3XB' is not a size"),
        ("put: {rate: 300/s}", "profile: xs", "load.profile: unknown profile 'xs'"),
        ("put: {rate: 300/s}", "profile: [s]", "load.profile: must be"),
        ("put: {rate: 300/s}", "profile: s\n  put: {rate: 1/s}", "load: a profile brings its own put; leave out one"),
        ("put: {rate: 300/s}", "put: {rate: 300/s}\n  key_size: 8B", "load.key_size: must be from 64B to 1KiB"),
        ("put: {rate: 300/s}", "put:", "load.put: must be a mapping"),
        ("put: {rate: 300/s}", "ptu: {rate: 300/s}", "load.ptu: unknown key 'ptu'; did you mean 'put'?"),
        ("put: {rate: 300/s}", "keys: 10", "load: there is no workload; give at least one of put"),
        ("load:\n", "load:\n  client: ectd3\n", "load.client: unknown client 'ectd3'; did you mean 'etcd3'?"),
        ("load:\n", "load:\n  workers: 65\n", "load.workers: must be less than or equal to 64"),
        ("put: {rate: 300/s}", "put: {rate: 300/s, clients: 2}\n  workers: 3", "load: 3 workers are too many"),
        ("load:\n", "load:\n  on-worker-loss: ignore\n", "load.on-worker-loss: "),
        ("load:\n", "load:\n  timeout: 1h\n", "load.timeout: must be from 10ms to 60s"),
        ("put.p99 < 100ms", "putt.p99 < 100ms", "steady-state[0]: unknown subject 'putt'; did you mean 'put'?"),
        ("put.p99 < 100ms", "put.p99 < 100", "steady-state[0]: '100' is not a duration"),
        ("write.gap < 5s", "read.p99 < 5s", "slo[0]: nothing in load or in a burst records read"),
        ("write.gap < 5s", "watch.lost == 0", "slo[0]: nothing in load or in a burst records watch"),
        ("write.gap < 5s", "put.p99 < 5s in fualt:*", "slo[0]: unknown phase 'fualt:*'"),
        ("fault: kill", "fault: kil", "method[1].fault: unknown fault 'kil'; did you mean 'kill'?"),
        ("fault: kill", "fault: [kill]", "method[1].fault: unknown fault"),
        ("fault: kill", "fautl: kill", "did you mean 'fault' where it says 'fautl'?"),
        ("target: leader", "target: leadr", "method[1].target: unknown target 'leadr'; did you mean 'leader'?"),
        ("target: leader", "target: n9", "method[1]: unknown member 'n9'"),
        ("target: leader", "traget: leader", "method[1].traget: unknown key 'traget'; did you mean 'target'?"),
        ("target: leader", "tagret: leader", "method[1].target: missing"),
        ("for: 5s", "for: 5", "method[1].for: 5 needs a unit, such as 10s"),
        ("for: 5s", "for: 5 parsecs", "method[1].for: '5 parsecs' is not a duration"),
        ("for: 5s", "for: 2h", "method[1].for: must be from 100ms to 1h"),
        ("for: 5s", "for: 5s\n    every: 3s\n    times: 2", "method[1]: every must be longer than for"),
        ("for: 5s", "for: 5s\n    every: 9s", "method[1]: every and times are given together"),
        ("  - wait: 10s\n", "  - wait: 1s\n", "steady-state needs a baseline"),
        ("  - wait: 8s\n", "  - wait: 8s\n    fault: kill\n", "wait and fault stand together"),
        ("  - wait: 8s\n", "  - 8s\n", "method[2]: a step is a mapping with one of wait, fault, parallel, burst"),
        ("  - wait: 8s\n", SEARCH.replace("search: put", "search: putt"), "method[2].search: unknown workload of load"),
        ("  - wait: 8s\n", SEARCH.replace("to: 900/s", "to: 50/s"), "method[2]: to must not be below from"),
        ("  - wait: 8s\n", SEARCH.replace("from: 100/s", "from: 10/s"), "method[2]: a step of 20 calls has no P99"),
        ("  - wait: 8s\n", SEARCH.replace("p99: 50ms", "p99: 1s"), "method[2]: every must be at least 10 × p99"),
        ("  - wait: 8s\n", SEARCH.replace("step: 100/s", "step: 1/s"), "method[2]: more than 200 steps"),
        ("  - wait: 8s\n", SEARCH.replace("p99:", "p9:"), "method[2].p9: unknown key 'p9'; did you mean 'p99'?"),
        ("  - put.p99 <", "  - knee > 5/s\n  - put.p99 <", "steady-state[0]: nothing in the method is a search"),
        ("  - wait: 8s\n", "  - parallel: []\n", "method[2].parallel: "),
        ("  - wait: 8s\n", "  - burst: lease_strom\n    for: 1s\n", "unknown workload 'lease_strom'; did you mean"),
        ("  - wait: 8s\n", "  - parallel: [{wait: 1s}, {wait: 1s}]\n", "only faults can stand under parallel"),
        ("  - wait: 8s\n", "  - wait: 23h\n  - wait: 23h\n", "the whole run would take"),
        ("  - wait: 8s\n", "  - wait: 1s\n" * MAX_STEPS, "method: "),
        ("slo:", "seed: -1\nslo:", "seed: must be greater than or equal to 0"),
        ("slo:", "seed: 1.5\nslo:", "seed: must be"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_path_and_the_choices(file, right: str, wrong: str, says: str) -> None:  # type: ignore[no-untyped-def]
    assert right in VALID
    assert says in problems(file(VALID.replace(right, wrong, 1)))


def test_every_mistake_is_told_at_once_in_the_order_of_the_file(file) -> None:  # type: ignore[no-untyped-def]
    text = VALID
    for right, wrong in [("members: 3", "members: 3, x: 1"), ("300/s", "300"), ("put.p99 <", "p <"), ("leader", "n7")]:
        text = text.replace(right, wrong, 1)
    path = file(text.replace("for: 5s", "for: 5", 1).replace("write.gap", "write.gpa"))
    told = problems(path).splitlines()
    assert [line.split(":")[0] for line in told] == [
        "cluster.x", "load.put.rate", "steady-state[0]", "method[1].for", "slo[0]",
    ]  # fmt: skip
    assert f"({path}:2:42)" in told[0]
    assert f"({path}:11:5)" in told[3]


def test_an_impossible_target_is_told_even_if_other_parts_are_wrong(file) -> None:  # type: ignore[no-untyped-def]
    told = problems(file(VALID.replace("members: 3", "members: 1, x: 1").replace("target: leader", "target: follower")))
    assert "cluster.x: unknown key" in told
    assert "method[1]: 1 member has no follower" in told


def test_a_backend_that_cannot_do_a_fault_is_told() -> None:
    class Frail(Bed):
        def _capabilities(self) -> Iterator[frozenset[str]]:  # type: ignore[override]
            yield frozenset({"cut"})

    kill = FAULTS["kill"].model_validate({"target": "leader", "for": "1s"})  # type: ignore[attr-defined]
    why = Frail(member_names(3), "process").impossible(kill)
    assert why == "backend process cannot do kill here: it lacks restart; it lacks signal"


def test_a_disk_in_memory_cannot_be_slow(file) -> None:  # type: ignore[no-untyped-def]
    kill = "fault: kill\n    target: leader\n    for: 5s"
    full, slow = "fault: full_disk\n    target: n1\n", "fault: disk_io\n    target: n1\n    rate: 64KiB/s\n"
    both = f"{full}    for: 5s\n  - wait: 1s\n  - {slow}    for: 5s"
    assert "exclude each other" in problems(file(VALID.replace(kill, both)))


def test_what_this_machine_cannot_do_is_refused_with_its_reason(file, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(cgroups, "obstacle", lambda capability: f"no cgroup for {capability}; run as root")
    bed._backend.cache_clear()
    cpu = VALID.replace("fault: kill", "fault: cpu\n    limit: 10%")
    said = problems(file(cpu.replace("members: 3", "members: 3, backend: process")))
    bed._backend.cache_clear()
    assert "backend process cannot do cpu here: no cgroup for cpu; run as root" in said


@pytest.mark.parametrize("given", ["nope.yaml", "/nonexistent/x.yaml", "partitoin", "", "\0", "a" * 5000])
def test_a_name_that_leads_nowhere_is_told_with_the_packaged_ones(given: str) -> None:
    told = problems(given)
    assert "no such file" in told and "partition" in told


def test_a_file_wins_over_a_packaged_experiment_of_that_name(file, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    path = Path(file(VALID, "partition.yaml"))
    monkeypatch.chdir(path.parent)
    assert find_experiment("partition.yaml") == Path("partition.yaml")
    assert find_experiment("partition") == packaged_experiments()["partition"]


# ── plans ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_has_every_default_filled_in_and_survives_its_json(file) -> None:  # type: ignore[no-untyped-def]
    plan = make_plan(file(VALID))
    assert plan.load.client == "native" and plan.load.timeout == 2.0 and plan.cluster.backend == "auto"
    assert plan.warmup == 3.0 and plan.drain == 10.0
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert json.loads(plan.model_dump_json())["method"][1]["faults"][0]["fault"]["for"] == "5s"


def test_a_seed_is_drawn_when_nobody_gives_one_and_the_command_line_wins(file) -> None:  # type: ignore[no-untyped-def]
    assert make_plan(file(VALID)).seed != make_plan(file(VALID)).seed
    assert make_plan(file(VALID + "seed: 5\n")).seed == 5
    assert make_plan(file(VALID + "seed: 5\n"), seed=0).seed == 0


def test_the_backend_of_the_command_line_is_held_against_the_table(file) -> None:  # type: ignore[no-untyped-def]
    assert "unknown backend 'moon'" in problems(file(VALID), backend="moon")


def method(file, steps: str) -> Plan:  # type: ignore[no-untyped-def]
    head, _, _ = VALID.partition("method:")
    return make_plan(file(f"{head.replace('steady-state:', 'tags:')}method:\n{steps}"))


def test_phases_are_named_after_what_happens_in_them(file) -> None:  # type: ignore[no-untyped-def]
    phases = make_plan(file(VALID)).phases()
    assert [(phase.name, phase.kind, phase.seconds) for phase in phases] == [
        ("warmup", "warmup", 3.0),
        ("baseline", "baseline", 10.0),
        ("fault:kill", "fault", 5.0),
        ("recovery:kill", "recovery", 8.0),
        ("drain", "drain", 10.0),
    ]
    assert make_plan(file(VALID)).seconds() == 36.0


def test_a_repeated_fault_is_written_out_with_waits_between(file) -> None:  # type: ignore[no-untyped-def]
    plan = method(file, "  - {fault: kill, target: leader, for: 5s, every: 20s, times: 3}\n  - wait: 8s\n")
    assert [(step.name, getattr(step, "for_", None)) for step in plan.method] == [
        ("kill", None), ("recovery:kill", 15.0), ("kill#2", None), ("recovery:kill#2", 15.0), ("kill#3", None),
        ("recovery:kill#3", 8.0),
    ]  # fmt: skip


def test_waits_that_follow_each_other_are_one_phase(file) -> None:  # type: ignore[no-untyped-def]
    plan = method(
        file, "  - wait: 2s\n  - wait: 3s\n  - {fault: pause, target: n1, for: 1s}\n  - wait: 1s\n  - wait: 1s\n"
    )
    assert [phase.seconds for phase in plan.phases()] == [3.0, 5.0, 1.0, 2.0, 10.0]


def test_faults_in_parallel_have_names_of_their_own_and_last_until_the_last_one(file) -> None:  # type: ignore[no-untyped-def]
    steps = "  - {fault: kill, target: n1, for: 1s}\n  - parallel:\n    - {fault: kill, target: n2, for: 3s}\n"
    plan = method(file, steps + "    - {fault: latency, delay: 50ms, for: 4s, after: 2s}\n")
    step = plan.method[1]
    assert isinstance(step, FaultStep)
    assert step.name == "kill+latency"
    assert [(timed.name, timed.after) for timed in step.faults] == [("kill#2", 0.0), ("latency", 2.0)]
    assert plan.phases()[2] == ("fault:kill+latency", "fault", 6.0)


def test_a_burst_is_a_phase_with_its_own_recovery(file) -> None:  # type: ignore[no-untyped-def]
    plan = method(file, "  - {burst: lease_storm, leases: 10, for: 6s, name: storm}\n  - wait: 2s\n")
    burst, wait = plan.method
    assert isinstance(burst, Burst) and burst.workload.kind == "lease_storm"
    assert isinstance(wait, Wait) and wait.name == "recovery:storm"
    assert plan.phases()[1] == ("burst:storm", "burst", 6.0)


def test_a_variable_may_stand_for_a_number(file) -> None:  # type: ignore[no-untyped-def]
    path = file(VALID.replace("members: 3", 'members: "${N:-3}"'))
    assert make_plan(path).cluster.members == 3
    assert make_plan(path, variables={"N": "5"}).cluster.members == 5
    assert "members, not 4" in problems(path, variables={"N": "4"})


def test_promises_of_a_plan_are_what_checkers_read(file) -> None:  # type: ignore[no-untyped-def]
    promises = make_plan(file(VALID), overrides={"drain": "4s"}).promises()
    assert promises.steady_state == ("put.p99 < 100ms",) and promises.slo == ("write.gap < 5s",)
    assert promises.drain_deadline_s == 4.0


# ── what comes with chaoskit ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_packaged_experiments_are_these() -> None:
    assert sorted(packaged_experiments()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_packaged_experiment_is_valid_short_and_says_what_it_shows_and_expects(name: str) -> None:
    plan = make_plan(name)
    assert plan.seconds() - plan.drain <= 45
    assert plan.cluster.version == "3.6.14" and plan.slo and plan.steady_state
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    text = packaged_experiments()[name].read_text()
    assert text.startswith("# What this shows:") and "# Expected:" in text


@pytest.mark.parametrize("version", ["3.5.33", "3.6.14", "3.7.1"])
def test_packaged_experiments_run_on_every_supported_line(version: str) -> None:
    for name in NAMES:
        assert make_plan(name, variables={"VERSION": version}).cluster.version == version


def test_the_steady_p99_of_a_plan_is_the_highest_that_its_steady_state_allows() -> None:
    assert make_plan("partition").promises().steady_p99_s == 0.1


def test_watch_reconnect_can_show_the_other_kind_of_client() -> None:
    plan = make_plan("watch-reconnect", variables={"RECONNECT": "resume"})
    assert plan.load.workloads["watch"].model_dump()["reconnect"] == "resume"


# ── the manual ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_key_of_an_experiment_is_named_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    keys: set[str] = set()

    def collect(schema: object) -> None:
        if isinstance(schema, dict):
            keys.update(schema.get("properties", {}))
            for inner in schema.values():
                collect(inner)
        elif isinstance(schema, list):
            for inner in schema:
                collect(inner)

    collect(Experiment.model_json_schema())
    of_faults = {field.alias for fault in FAULTS.values() for field in fault.model_fields.values()}  # type: ignore[attr-defined]
    of_workloads = {field.alias for spec in WORKLOADS.values() for field in spec.model_fields.values()}  # type: ignore[attr-defined]
    listed_elsewhere = (of_faults | of_workloads) - {"for"}
    missing = {key for key in keys - listed_elsewhere if f"`{key}`" not in page and f"{key}:" not in page}
    assert not missing


def test_the_examples_in_the_docs_are_valid(file) -> None:  # type: ignore[no-untyped-def]
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    examples = [block.split("```")[0] for block in page.split("```yaml\n")[1:]]
    assert examples
    for example in examples:
        make_plan(file(example))


# ── nonsense ─────────────────────────────────────────────────────────────────────────────────────────────────────────

WORDS = st.sampled_from(
    ["title", "cluster", "load", "method", "wait", "fault", "kill", "parallel", "burst", "for", "10s", "leader", "n1",
     "put", "rate", "300/s", "members", "3.6.14", "version", "flags", "slo", "steady-state", "seed", "every", "times",
     "links", "put.p99 < 1s", "lease_storm", "9" * 400 + "s", "9" * 400 + "GiB", "-1", "after", "partition", "groups",
     "watchers"]
)  # fmt: skip
LEAVES = WORDS | st.text(max_size=8) | st.integers() | st.floats() | st.booleans() | st.none()
NONSENSE = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=5),
    max_leaves=25,
)


def plain(text: str) -> object:
    return YAML(typ="safe", pure=True).load(text)


@settings(max_examples=300, deadline=None)
@given(
    NONSENSE,
    st.sampled_from(["", "cluster", "load", "method", "steady-state", "slo", "seed", "title", "tags", "warmup"]),
)
def test_nonsense_is_told_as_mistakes_and_nothing_else(nonsense: object, key: str) -> None:
    experiment = plain(VALID)
    assert isinstance(experiment, dict)
    values = {**experiment, key: nonsense} if key else nonsense
    try:
        Experiment.model_validate(values, context=bed_of(values))  # type: ignore[arg-type]
    except ValidationError as error:
        found = problems_of(error, Document("x.yaml", Scalar("")))
        assert found and all(problem.what for problem in found)


@settings(max_examples=200, deadline=None)
@given(st.lists(NONSENSE, max_size=4))
def test_nonsense_steps_are_told_as_mistakes_and_nothing_else(steps: list[object]) -> None:
    experiment = plain(VALID)
    assert isinstance(experiment, dict)
    base = {"fault": "kill", "target": "leader", "for": "1s"}
    mixed = [{**base, **step} if isinstance(step, dict) else step for step in steps]
    values = {**experiment, "method": [{"wait": "5s"}, *mixed]}
    try:
        Experiment.model_validate(values, context=bed_of(values))  # type: ignore[arg-type]
    except ValidationError as error:
        assert problems_of(error, Document("x.yaml", Scalar("")))
