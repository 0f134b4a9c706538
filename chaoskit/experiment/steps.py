"""What a method is made of, as YAML: wait, fault, parallel, burst, search. One kind of step a fault and a workload.

A fault's step has the fault's own keys and the keys of its place in the method, so the models are put together from the
tables; that is also what gives `chaoskit schema` one variant for each fault.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, Union, cast

from pydantic import Discriminator, Field, Tag, ValidationInfo, create_model, model_validator

from chaoskit.contracts import Capability, Fault, Workload
from chaoskit.experiment.bed import Bed
from chaoskit.faults import FAULTS
from chaoskit.shapes import stairs
from chaoskit.spec import Spec
from chaoskit.units import Duration, Rate, parse_duration, parse_rate, within
from chaoskit.workloads import WORKLOADS

LEADING_KEYS = ("wait", "fault", "parallel", "burst", "search")
SETTLE_S = 2.0  # after a search, at the old rate: what the last step left behind is nobody's figure
LEAST_CALLS = 100  # in one step of a search, or it has no P99
LIMITS_IN_A_STEP = 10  # a queue that grows all through a shorter step could stay within the limit

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.+-]{0,39}$")]
Hours = within("100ms", "24h", parse_duration)


class WaitItem(Spec):
    """Let load run. Before the first fault this is the baseline, after a fault or burst it is its recovery."""

    wait: Annotated[Duration, Hours]
    """How long."""


class _Injected(Spec):
    """What every fault in a method has beside its own keys."""

    fault: str
    """Which fault: `chaoskit list faults`."""
    name: Name | None = None
    """How phases and reports call it; the fault's kind if it is not given."""

    @model_validator(mode="after")
    def _possible(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, Bed) and (why := info.context.impossible(cast(Fault, self))):
            raise ValueError(why)
        return self


class FaultItem(_Injected):
    """Do one fault, prove it, hold it for its time, undo it, prove that."""

    every: Annotated[Duration, Hours] | None = None
    """Repeat: from one beginning to the next. Load runs on in between."""
    times: int | None = Field(None, ge=2, le=100, strict=True)
    """Repeat: how often in all."""

    @model_validator(mode="after")
    def _repeats_apart(self) -> Self:
        if (self.every is None) != (self.times is None):
            raise ValueError("every and times are given together or not at all")
        if self.every is not None and self.every <= cast(Fault, self).for_:
            raise ValueError("every must be longer than for: it counts from one beginning to the next")
        return self


class OverlappingFault(_Injected):
    """One of several faults that overlap."""

    after: Annotated[Duration, within("0s", "24h", parse_duration)] = 0.0
    """How long after the step's beginning."""


class BurstItem(Spec):
    """Run one more workload for a while, on top of the load."""

    burst: str
    """Which workload: `chaoskit list workloads`."""
    name: Name | None = None
    """How phases and reports call it; the workload's kind if it is not given."""
    for_: Annotated[Duration, Hours]
    """How long."""


class SearchItem(Spec):
    """Raise a workload's rate step by step until it breaks: until the response P99 of a step is over the limit, or less
    than 90 % of what it offered was acknowledged within it. The knee is the rate of the last step that held. Then the
    workload goes back to its own rate."""

    search: str
    """Whose rate is raised: a workload under load with a constant rate."""
    name: Name | None = None
    """How phases and reports call it; knee if it is not given."""
    from_: Annotated[Rate, within("1/s", "100000/s", parse_rate)]
    """The first step's rate; the workload's own is left for it."""
    step: Annotated[Rate, within("1/s", "100000/s", parse_rate)]
    """How much each step adds."""
    to: Annotated[Rate, within("1/s", "100000/s", parse_rate)]
    """The last step's rate, if all before it hold."""
    every: Annotated[Duration, within("1s", "10m", parse_duration)]
    """How long each step lasts."""
    p99: Annotated[Duration, within("1ms", "10s", parse_duration)]
    """What the response P99 of a step may be."""

    def rates_per_s(self) -> tuple[float, ...]:
        """Of all steps."""
        return stairs(self.from_, self.step, self.to)

    @model_validator(mode="after")
    def _steps_can_be_judged(self) -> Self:
        if self.to < self.from_:
            raise ValueError("to must not be below from: a search goes upwards")
        if (calls := self.from_ * self.every) < LEAST_CALLS:
            raise ValueError(
                f"a step of {calls:g} calls has no P99; raise from or every to at least {LEAST_CALLS} calls"
            )
        if self.every < LIMITS_IN_A_STEP * self.p99:
            raise ValueError(
                f"every must be at least {LIMITS_IN_A_STEP} × p99, or a queue that grows could pass for slow answers"
            )
        self.rates_per_s()  # refuses too many
        return self


def _variants(base: type[Spec], key: str, table: dict[str, Any]) -> dict[str, type[Spec]]:
    """Tag → a model with the keys of the base and of the table's entry; `key` names the entry."""
    return {
        f"{key} {kind}": create_model(
            f"{entry.__name__}{base.__name__}",
            __base__=(base, entry),
            __doc__=entry.__doc__,
            **{key: (Literal[kind], ...)},  # type: ignore[call-overload]  # the choice comes from the table
        )
        for kind, entry in table.items()
    }


FAULT_ITEMS = _variants(FaultItem, "fault", FAULTS)
OVERLAPPING_FAULTS = _variants(OverlappingFault, "fault", FAULTS)
BURST_ITEMS = _variants(BurstItem, "burst", WORKLOADS)


def _tag(value: Any) -> str | None:
    """Which model reads this step; None when it is no step at all."""
    given = [key for key in LEADING_KEYS if key in value] if isinstance(value, dict) else []
    if len(given) != 1:
        return None
    key = given[0]
    return f"{key} {str(value[key])[:80]}" if key in ("fault", "burst") else f"{key} step"


def _one_of(models: dict[str, type[Spec]]) -> Any:
    tagged = tuple(Annotated[model, Tag(tag)] for tag, model in models.items())
    return Annotated[_union(tagged), Discriminator(_tag)]


def _union(types: tuple[Any, ...]) -> Any:
    return Union[types]  # noqa: UP007  the members come from the tables


class ParallelItem(Spec):
    """Several faults that overlap; the step lasts until the last of them is undone."""

    parallel: tuple[_one_of(OVERLAPPING_FAULTS), ...] = Field(min_length=2, max_length=10)  # type: ignore[valid-type]
    """The faults, each with an `after` of its own."""
    name: Name | None = None
    """How phases and reports call it; the faults' kinds with + if it is not given."""


ITEMS: dict[str, type[Spec]] = {
    "wait step": WaitItem,
    "parallel step": ParallelItem,
    "search step": SearchItem,
    **FAULT_ITEMS,
    **BURST_ITEMS,
}
Step = _one_of(ITEMS)


def fault_of(step: _Injected) -> Fault:
    """The fault alone."""
    return cast(Fault, _part(FAULTS[step.fault], step))


def workload_of(step: BurstItem) -> Workload:
    """The workload alone."""
    return cast(Workload, _part(WORKLOADS[step.burst], step))


def _part(kind: Any, whole: Spec) -> Spec:
    """What of the whole belongs to this kind; it has been validated as a part of the whole."""
    assert issubclass(kind, Spec)
    given = {name: getattr(whole, name) for name in kind.model_fields if name in whole.model_fields_set}
    return cast(Spec, kind.model_construct(**given))


def needs_of(step: Spec) -> frozenset[Capability]:
    """What its faults ask of the backend."""
    match step:
        case FaultItem():
            return cast(Fault, step).needs
        case ParallelItem():
            return frozenset().union(*(item.needs for item in step.parallel))
    return frozenset()


def seconds_of(step: Spec) -> float:
    """How long a step lasts, proofs not counted."""
    match step:
        case WaitItem():
            return step.wait
        case ParallelItem():
            return max(float(item.after + item.for_) for item in step.parallel)
        case FaultItem():
            return ((step.times or 1) - 1) * (step.every or 0.0) + cast(Fault, step).for_
        case BurstItem():
            return step.for_
        case SearchItem():
            return len(step.rates_per_s()) * step.every + SETTLE_S
    raise AssertionError(f"{type(step).__name__} is no step")
