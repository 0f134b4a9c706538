"""A Plan is one run before it begins: immutable, every default filled in, one seed. It is saved as plan.json.

Faults name whom they mean, such as `leader`; who that is turns out when they are injected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from random import SystemRandom
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, cast

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator

from chaoskit import __version__
from chaoskit.checkers.slo import steady_p99_s
from chaoskit.contracts import Capability, Fault, Promises
from chaoskit.experiment.model import ClusterSpec, Experiment, OnWorkerLoss
from chaoskit.experiment.profiles import PROFILES
from chaoskit.experiment.steps import (
    SETTLE_S,
    BurstItem,
    FaultItem,
    ParallelItem,
    SearchItem,
    WaitItem,
    fault_of,
    workload_of,
)
from chaoskit.faults import FAULTS
from chaoskit.history.records import step_phase
from chaoskit.load.order import Arrivals
from chaoskit.spec import Spec
from chaoskit.units import parse_duration, parse_rate, show_duration, show_rate
from chaoskit.workloads import WORKLOADS

Seconds = Annotated[
    float,
    BeforeValidator(lambda value: parse_duration(value) if isinstance(value, str) else value),
    PlainSerializer(show_duration, return_type=str),
]
"""A float in code, with its unit in plan.json."""

PerSecond = Annotated[
    float,
    BeforeValidator(lambda value: parse_rate(value) if isinstance(value, str) else value),
    PlainSerializer(show_rate, return_type=str),
]
"""The same of a rate."""

PhaseKind = Literal["warmup", "baseline", "fault", "burst", "recovery", "drain", "step"]


class WorkloadSpec(Spec):
    """What the type checker may know of an entry of WORKLOADS in a plan: it is a Spec and has a kind."""

    kind: ClassVar[str]


def _from_table(table: Mapping[str, Any], key: str) -> tuple[PlainValidator, PlainSerializer]:
    """An entry of a table as JSON: its own keys, and which entry it is under `key`."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return table[value[key]].model_validate({name: setting for name, setting in value.items() if name != key})

    def write(value: Any) -> dict[str, Any]:
        return {key: value.kind, **value.model_dump(mode="json", exclude_none=True)}

    return PlainValidator(read), PlainSerializer(write)


AnyFault = Annotated[Fault, *_from_table(FAULTS, "fault")]
AnyWorkload = Annotated[WorkloadSpec, *_from_table(WORKLOADS, "kind")]


class Wait(Spec):
    """Load runs on; the baseline, or what follows a fault or burst."""

    step: Literal["wait"] = "wait"
    name: str
    kind: Literal["baseline", "recovery"]
    for_: Seconds


class TimedFault(Spec):
    """One fault and when it begins, counted from its step."""

    name: str  # unique in the plan
    after: Seconds
    fault: AnyFault


class FaultStep(Spec):
    """One fault, or several that overlap."""

    step: Literal["fault"] = "fault"
    name: str
    faults: tuple[TimedFault, ...]


class Burst(Spec):
    """A further workload for a while."""

    step: Literal["burst"] = "burst"
    name: str
    workload: AnyWorkload
    for_: Seconds


class Search(Spec):
    """One workload's rate raised step by step until it breaks."""

    step: Literal["search"] = "search"
    name: str
    workload: str  # under load
    rates: tuple[PerSecond, ...]  # of the steps
    every: Seconds
    p99: Seconds
    settle: Seconds  # at the old rate, not judged

    def phase(self, rate: float) -> str:
        return step_phase(self.name, rate)


PlannedStep = Wait | FaultStep | Burst | Search


class LoadPlan(Spec):
    """Who loads the cluster and how."""

    workers: int
    on_worker_loss: OnWorkerLoss = Field("inconclusive", alias="on-worker-loss")
    client: str
    keys: int
    key_size: int | None = None  # bytes
    timeout: Seconds
    failover: bool
    arrivals: Arrivals
    workloads: dict[str, AnyWorkload]


class PlannedPhase(NamedTuple):
    """One phase to come, with how long it should take; proofs of faults come on top."""

    name: str
    kind: PhaseKind
    seconds: float


class Plan(Spec):
    """One run, ready to be carried out or written down."""

    name: str  # of the experiment's file, without its suffix
    title: str
    tags: tuple[str, ...]
    seed: int
    chaoskit_version: str
    source: str  # the experiment's file
    cluster: ClusterSpec
    load: LoadPlan
    warmup: Seconds
    steady_state: tuple[str, ...]
    method: tuple[PlannedStep, ...]
    slo: tuple[str, ...]
    drain: Seconds

    def phases(self) -> tuple[PlannedPhase, ...]:
        """In their order, warmup and drain included."""
        return (
            PlannedPhase("warmup", "warmup", self.warmup),
            *chain.from_iterable(map(_phases, self.method)),
            PlannedPhase("drain", "drain", self.drain),
        )

    def needs(self) -> frozenset[Capability]:
        """What its faults ask of the backend."""
        steps = (step for step in self.method if isinstance(step, FaultStep))
        return frozenset().union(*(timed.fault.needs for step in steps for timed in step.faults))

    def on(self, backend: str) -> Self:
        """The same plan on this backend."""
        return self.model_copy(update={"cluster": self.cluster.model_copy(update={"backend": backend})})

    def seconds(self) -> float:
        """How long the run should take, without starting and judging; the drain is often over sooner."""
        return sum(phase.seconds for phase in self.phases())

    def promises(self) -> Promises:
        return Promises(
            steady_state=self.steady_state,
            slo=self.slo,
            drain_deadline_s=self.drain,
            steady_p99_s=steady_p99_s(self.steady_state),
        )


def resolve(experiment: Experiment, *, name: str, source: str = "", seed: int | None = None) -> Plan:
    """Fill in everything that the experiment leaves open. `seed` wins over the experiment's own."""
    load = experiment.load
    return Plan(
        name=name,
        title=experiment.title,
        tags=experiment.tags,
        seed=next(given for given in (seed, experiment.seed, SystemRandom().randrange(2**32)) if given is not None),
        chaoskit_version=__version__,
        source=source,
        cluster=experiment.cluster,
        load=LoadPlan(
            workers=load.workers,
            on_worker_loss=load.on_worker_loss,
            client=load.client,
            keys=load.keys,
            key_size=load.key_size,
            timeout=load.timeout,
            failover=load.failover,
            arrivals=load.arrivals,
            workloads=cast(dict[str, WorkloadSpec], experiment.workloads),
        ),
        warmup=experiment.warmup,
        steady_state=experiment.steady_state,
        method=tuple(_merged(_planned(experiment.method))),
        slo=(*experiment.slo, *(PROFILES[load.profile].promises() if load.profile else ())),
        drain=experiment.drain,
    )


def _planned(method: Sequence[Spec]) -> Iterator[PlannedStep]:
    """Repetitions written out, every step and fault with a name of its own."""
    names = _Names()
    before = ""
    for item in method:
        if isinstance(item, WaitItem):
            yield _wait(before, item.wait)
            continue
        for step in _steps(item, names):
            yield step
            before = step.name


def _steps(item: Spec, names: _Names) -> Iterator[PlannedStep]:
    match item:
        case FaultItem():
            yield from _repeated(item, names)
        case ParallelItem():
            yield _parallel(item, names)
        case BurstItem():
            workload = cast(WorkloadSpec, workload_of(item))
            yield Burst(name=names.new(item.name or item.burst), workload=workload, for_=item.for_)
        case SearchItem():
            yield Search(
                name=names.new(item.name or "knee"), workload=item.search, rates=item.rates_per_s(),
                every=item.every, p99=item.p99, settle=SETTLE_S,
            )  # fmt: skip


def _repeated(item: FaultItem, names: _Names) -> Iterator[PlannedStep]:
    """Once, or several times with waits in between, so that it begins anew every so often."""
    fault = fault_of(item)
    name = ""
    for _ in range(item.times or 1):
        if name:
            yield _wait(name, (item.every or 0.0) - fault.for_)
        name = names.new(item.name or item.fault)
        yield FaultStep(name=name, faults=(TimedFault(name=name, after=0.0, fault=fault),))


def _parallel(item: ParallelItem, names: _Names) -> FaultStep:
    name = names.new(item.name or "+".join(one.fault for one in item.parallel))
    faults = [
        TimedFault(name=names.new(one.name or one.fault), after=one.after, fault=fault_of(one)) for one in item.parallel
    ]
    return FaultStep(name=name, faults=tuple(faults))


def _wait(before: str, seconds: float) -> Wait:
    """Nothing before it: the baseline. Else the recovery from what was before it."""
    if before:
        return Wait(name=f"recovery:{before}", kind="recovery", for_=seconds)
    return Wait(name="baseline", kind="baseline", for_=seconds)


def _merged(steps: Iterator[PlannedStep]) -> Iterator[PlannedStep]:
    """Waits that follow each other are one phase."""
    waiting: Wait | None = None
    for step in steps:
        if isinstance(step, Wait):
            waiting = step.model_copy(update={"for_": step.for_ + (waiting.for_ if waiting else 0.0)})
            continue
        if waiting:
            yield waiting
            waiting = None
        yield step
    if waiting:
        yield waiting


def _phases(step: PlannedStep) -> Iterator[PlannedPhase]:
    match step:
        case Wait():
            yield PlannedPhase(step.name, step.kind, step.for_)
        case Burst():
            yield PlannedPhase(f"burst:{step.name}", "burst", step.for_)
        case FaultStep():
            yield PlannedPhase(f"fault:{step.name}", "fault", max(t.after + t.fault.for_ for t in step.faults))
        case Search():
            for rate in step.rates:
                yield PlannedPhase(step.phase(rate), "step", step.every)
            yield PlannedPhase(f"settle:{step.name}", "step", step.settle)


class _Names:
    """`kill`, then `kill#2`: no two steps or faults of a plan share a name."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def new(self, name: str) -> str:
        self._given[name] += 1
        count = self._given[name]
        return name if count == 1 else f"{name}#{count}"
