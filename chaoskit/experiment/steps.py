"""What a method is made of, as YAML: wait, fault, parallel, burst. One kind of step for each fault and workload.

A fault's step has the fault's own keys and the keys of its place in the method, so the models are put together from the
tables; that is also what gives `chaoskit schema` one variant for each fault.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, Union, cast

from pydantic import Discriminator, Field, Tag, ValidationInfo, create_model, model_validator

from chaoskit.contracts import Fault, Workload
from chaoskit.experiment.bed import Bed
from chaoskit.faults import FAULTS
from chaoskit.spec import Spec
from chaoskit.units import Duration, parse_duration, within
from chaoskit.workloads import WORKLOADS

LEADING_KEYS = ("wait", "fault", "parallel", "burst")

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


ITEMS: dict[str, type[Spec]] = {"wait step": WaitItem, "parallel step": ParallelItem, **FAULT_ITEMS, **BURST_ITEMS}
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
    raise AssertionError(f"{type(step).__name__} is no step")
