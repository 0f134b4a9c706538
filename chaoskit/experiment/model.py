"""The experiment as people write it: every key, its unit, its default and its limit. Nothing is drawn here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from chaoskit.checkers import slo
from chaoskit.clusters import AUTO, BACKENDS
from chaoskit.contracts import ImageSource, Workload
from chaoskit.errors import unknown
from chaoskit.experiment.bed import DEFAULT_BACKEND, DEFAULT_MEMBERS, SIZES
from chaoskit.experiment.steps import Step, WaitItem, seconds_of
from chaoskit.spec import Spec
from chaoskit.systems import SYSTEMS
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.units import Duration, parse_duration, show_duration, show_rate, within
from chaoskit.workloads import WORKLOADS

MAX_STEPS = 200
MAX_RATE_PER_S = 100_000.0
MAX_CLIENTS = 20_000
MAX_SECONDS = 24 * 3600.0
LEAST_BASELINE_S = 3.0


EVERY_OPERATION = sorted({operation for workload in WORKLOADS.values() for operation in workload.operations})


def _entry_of(what: str, table: Iterable[str]) -> Any:
    """A word that is in this table."""

    def check(word: str) -> str:
        if word not in table:
            raise ValueError(unknown(what, word, table))
        return word

    return Annotated[str, AfterValidator(check), WithJsonSchema({"enum": sorted(table)})]


def _flag_text(value: Any) -> Any:
    """What etcd reads: YAML's numbers and booleans as it spells them."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _promise(text: str) -> str:
    slo.parse(text, EVERY_OPERATION)
    return text


Slo = Annotated[str, Field(max_length=200), AfterValidator(_promise)]
FlagValue = Annotated[
    str,
    BeforeValidator(_flag_text),
    Field(max_length=1000),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


class ClusterSpec(Spec):
    """The cluster under test; it is built for this run and removed after it."""

    system: _entry_of("system", SYSTEMS) = "etcd"  # type: ignore[valid-type]  # the choices are a table
    """What the members run."""
    version: str = Field(max_length=40, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z.]+)?$")
    """All three numbers, such as "3.6.14"."""
    members: int = Field(DEFAULT_MEMBERS, strict=True, json_schema_extra={"enum": list(SIZES)})
    """1, 3, 5 or 7; their names are n1, n2, …"""
    backend: _entry_of("backend", (AUTO, *BACKENDS)) = DEFAULT_BACKEND  # type: ignore[valid-type]
    """Where the members live; auto: in containers if a Docker daemon answers, else processes."""
    images: ImageSource = "auto"
    """Where containers' images come from: the project's own, built from local binaries, or what is quickest."""
    image: str = Field("", max_length=300, pattern=r"^([\w.-]+(:[0-9]+)?/)?[\w./-]*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$")
    """An image of your own for the members, such as my-registry/etcd:tag; it has to hold the version above."""
    flags: dict[str, FlagValue] = Field({}, max_length=100)
    """Further command-line flags of each member, without the dashes: {snapshot-count: 1000}."""

    @field_validator("members")
    @classmethod
    def _odd_size(cls, members: int) -> int:
        if members not in SIZES:
            raise ValueError(f"a cluster has {', '.join(map(str, SIZES))} members, not {members}")
        return members

    @field_validator("version")
    @classmethod
    def _known_version(cls, version: str, info: ValidationInfo) -> str:
        if "system" in info.data:
            SYSTEMS[info.data["system"]](version).close()
        return version

    @field_validator("flags")
    @classmethod
    def _allowed_flags(cls, flags: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if not flags or not {"system", "version"} <= info.data.keys():
            return flags
        system = SYSTEMS[info.data["system"]](info.data["version"])
        refused = system.refused_flags(flags)
        system.close()
        if refused:
            raise ValidationError.from_exception_data("flags", [_refusal(*each) for each in refused.items()])
        return flags


def _refusal(flag: str, why: str) -> InitErrorDetails:
    return {"type": PydanticCustomError("flag", "{why}", {"why": why}), "loc": (flag,), "input": flag}


class _Load(Spec):
    """Who loads the cluster and how, beside the workloads themselves."""

    workers: int = Field(1, ge=1, strict=True)
    """Processes that make load; only 1 for now."""
    client: _entry_of("client", CLIENTS) = "native"  # type: ignore[valid-type]
    """The library that carries the calls."""
    keys: int = Field(1000, ge=1, le=1_000_000, strict=True)
    """How many keys put, read and watch share."""
    timeout: Annotated[Duration, within("10ms", "60s", parse_duration)] = 2.0
    """Deadline of each call, from when it is sent."""
    failover: bool = Field(True, strict=True)
    """After a failed or unknown call the next one goes to the next member; without, clients stay where they are."""
    arrivals: Literal["uniform", "poisson"] = "uniform"
    """How due times of a rate lie: evenly, or like independent people."""

    @field_validator("workers")
    @classmethod
    def _one_worker(cls, workers: int) -> int:
        if workers > 1:
            raise ValueError("more than one load worker is not supported yet; write 1")
        return workers

    def workloads(self) -> dict[str, Workload]:
        """Those that were given."""
        return {name: getattr(self, name) for name in WORKLOADS if getattr(self, name) is not None}

    @model_validator(mode="after")
    def _something_bounded(self) -> Self:
        given = self.workloads().values()
        if not given:
            raise ValueError(f"there is no workload; give at least one of {', '.join(WORKLOADS)}")
        rate = sum(workload.rate_per_s() or 0 for workload in given)
        if rate > MAX_RATE_PER_S:
            raise ValueError(f"{show_rate(rate)} in all is too much; at most {show_rate(MAX_RATE_PER_S)}")
        clients = sum(workload.clients() for workload in given)
        if clients > MAX_CLIENTS:
            raise ValueError(f"{clients} simulated clients in all are too many; at most {MAX_CLIENTS}")
        return self


# None stands for "not given" and is no value that a file can write, so `put:` with nothing behind it is an error.
Load = create_model(
    "Load",
    __base__=_Load,
    __doc__=_Load.__doc__,
    **{kind: (workload, None) for kind, workload in WORKLOADS.items()},  # type: ignore[call-overload]
)


class Experiment(Spec):
    """One experiment: a cluster, its load, what is done to it, and what is expected."""

    title: str = Field(min_length=1, max_length=200)
    """One line for people."""
    tags: tuple[Annotated[str, Field(max_length=40)], ...] = Field((), max_length=20)
    """Words to find it by."""
    cluster: ClusterSpec
    """The cluster under test."""
    load: Load
    """The load on it, from the beginning to the end."""
    warmup: Annotated[Duration, within("0s", "10m", parse_duration)] = 3.0
    """Load before the baseline; not judged."""
    steady_state: tuple[Slo, ...] = Field((), alias="steady-state", max_length=100)
    """What the baseline must hold, or nothing is injected: put.p99 < 100ms."""
    method: tuple[Step, ...] = Field(min_length=1, max_length=MAX_STEPS)
    """What happens, one step after the other."""
    slo: tuple[Slo, ...] = Field((), max_length=100)
    """What the run must hold: watch.lost == 0."""
    drain: Annotated[Duration, within("100ms", "10m", parse_duration)] = 10.0
    """After the last step: how long calls in flight and watches may take to finish."""
    seed: int | None = Field(None, ge=0, lt=2**63, strict=True)
    """Source of every random choice; drawn and printed when it is not given."""

    @property
    def workloads(self) -> dict[str, Workload]:
        return cast(_Load, self.load).workloads()

    @model_validator(mode="after")
    def _has_a_baseline(self) -> Self:
        baseline = 0.0
        for step in self.method:
            if not isinstance(step, WaitItem):
                break
            baseline += step.wait
        if self.steady_state and baseline < LEAST_BASELINE_S:
            least = show_duration(LEAST_BASELINE_S)
            raise ValueError(f"steady-state needs a baseline: the method has to begin with a wait of at least {least}")
        return self

    @model_validator(mode="after")
    def _ends_some_day(self) -> Self:
        seconds = self.warmup + sum(map(seconds_of, self.method)) + self.drain
        if seconds > MAX_SECONDS:
            raise ValueError(f"the whole run would take {show_duration(seconds)}; at most {show_duration(MAX_SECONDS)}")
        return self
