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
from chaoskit.clusters import AUTO, BACKENDS, EXTERNAL
from chaoskit.contracts import ImageSource, Workload
from chaoskit.errors import unknown
from chaoskit.experiment.bed import DEFAULT_BACKEND, DEFAULT_MEMBERS, SIZES
from chaoskit.experiment.external import (
    MAX_ENDPOINTS,
    AuthSpec,
    Endpoint,
    TlsSpec,
    ToxiproxySpec,
    misplaced,
    read_endpoints,
    strange_link,
    wrong_endpoints,
)
from chaoskit.experiment.profiles import PROFILES
from chaoskit.experiment.steps import SearchItem, Step, WaitItem, needs_of, seconds_of
from chaoskit.shapes import Shape
from chaoskit.spec import Spec
from chaoskit.systems import SYSTEMS
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.units import Duration, Size, parse_duration, parse_size, show_duration, show_rate, within
from chaoskit.workloads import WORKLOADS

MAX_STEPS = 200
MAX_RATE_PER_S = 100_000.0
MAX_CLIENTS = 20_000
MAX_WORKERS = 64
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


OnWorkerLoss = Literal["inconclusive", "redistribute"]
"""What becomes of a run that loses one of several load workers."""


class ClusterSpec(Spec):
    """The cluster under test: built for this run and removed after it, or with backend external one of your own."""

    system: _entry_of("system", SYSTEMS) = "etcd"  # type: ignore[valid-type]  # the choices are a table
    """What the members run."""
    backend: _entry_of("backend", (AUTO, *BACKENDS)) = DEFAULT_BACKEND  # type: ignore[valid-type]
    """Where the members live; auto: in containers if a Docker daemon answers, else processes; external: a cluster of
    your own that is there already."""
    version: str = Field("", validate_default=True, max_length=40, pattern=r"^([0-9]+\.[0-9]+\.[0-9]+(-[0-9a-z.]+)?)?$")
    """All three numbers, such as "3.6.14". Of an external cluster it is what has to be there; anything unless said."""
    members: int = Field(DEFAULT_MEMBERS, strict=True, json_schema_extra={"enum": list(SIZES)})
    """1, 3, 5 or 7; their names are n1, n2, … Of an external cluster it is as many as there are endpoints."""
    endpoints: Annotated[tuple[Endpoint, ...], BeforeValidator(read_endpoints)] = Field(
        (), validate_default=True, max_length=MAX_ENDPOINTS
    )
    """Of an external cluster: each member's client URL, as a list or with commas between; n1 is the first."""
    tls: TlsSpec | None = None
    """Of an external cluster: certificates. https:// alone trusts the authorities of this machine."""
    auth: AuthSpec | None = None
    """Of an external cluster with authentication: who we are."""
    toxiproxy: ToxiproxySpec | None = None
    """Of an external cluster: a Toxiproxy in front of its members, for faults on links."""
    images: ImageSource = "auto"
    """Where containers' images come from: the project's own, built from local binaries, or what is quickest."""
    image: str = Field("", max_length=300, pattern=r"^([\w.-]+(:[0-9]+)?/)?[\w./-]*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$")
    """An image of your own for the members, such as my-registry/etcd:tag; it has to hold the version above."""
    flags: dict[str, FlagValue] = Field({}, max_length=100)
    """Further command-line flags of each member, without the dashes: {snapshot-count: 1000}."""

    @model_validator(mode="before")
    @classmethod
    def _one_member_for_each_endpoint(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("backend") == EXTERNAL and "members" not in values:
            endpoints = read_endpoints(values.get("endpoints"))
            return {**values, "members": len(endpoints)} if isinstance(endpoints, list) and endpoints else values
        return values

    @field_validator("members")
    @classmethod
    def _odd_size(cls, members: int, info: ValidationInfo) -> int:
        if members not in SIZES and info.data.get("backend") != EXTERNAL:
            raise ValueError(f"a cluster has {', '.join(map(str, SIZES))} members, not {members}")
        return members

    @field_validator("endpoints", "tls", "auth", "toxiproxy", "flags", "image")
    @classmethod
    def _in_its_place(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        if "backend" in info.data and (why := misplaced(info.field_name, value, info.data["backend"])):
            raise ValueError(why)
        return value

    @field_validator("endpoints")
    @classmethod
    def _of_one_cluster(cls, endpoints: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "backend" in info.data and (why := wrong_endpoints(endpoints, info.data["backend"])):
            raise ValueError(why)
        members = info.data.get("members")
        if endpoints and members and members != len(endpoints):
            raise ValueError(f"there are {len(endpoints)} for {members} members; members needs not be given")
        return endpoints

    @field_validator("tls")
    @classmethod
    def _of_secure_endpoints(cls, tls: TlsSpec | None, info: ValidationInfo) -> TlsSpec | None:
        if tls and any(endpoint.startswith("http://") for endpoint in info.data.get("endpoints", ())):
            raise ValueError("the endpoints are http://; write https://")
        return tls

    @field_validator("toxiproxy")
    @classmethod
    def _of_these_members(cls, toxiproxy: ToxiproxySpec | None, info: ValidationInfo) -> ToxiproxySpec | None:
        endpoints = info.data.get("endpoints")
        if toxiproxy and endpoints and (why := strange_link(toxiproxy, endpoints)):
            raise ValueError(why)
        return toxiproxy

    @field_validator("version")
    @classmethod
    def _known_version(cls, version: str, info: ValidationInfo) -> str:
        if not version and info.data.get("backend", EXTERNAL) != EXTERNAL:
            raise PydanticCustomError("missing", "missing")
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


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _wrong_search(number: int, name: str, why: str) -> InitErrorDetails:
    error = PydanticCustomError("search", "{why}", {"why": why})
    return {"type": error, "loc": ("method", number, "search"), "input": name}


class _Load(Spec):
    """Who loads the cluster and how, beside the workloads themselves."""

    workers: int = Field(1, ge=1, le=MAX_WORKERS, strict=True)
    """Processes that share the load; `chaoskit run --remote-workers` has some of them on other machines."""
    on_worker_loss: OnWorkerLoss = Field("inconclusive", alias="on-worker-loss")
    """When one of several dies or falls silent: end the run early and call it inconclusive, or have the others do its
    share from then on. Without any worker left the run ends with an error."""
    client: _entry_of("client", CLIENTS) = "native"  # type: ignore[valid-type]
    """The library that carries the calls."""
    profile: _entry_of("profile", PROFILES) | None = None  # type: ignore[valid-type]
    """Instead of put: the writes of `etcdctl check perf`, and its pass rule under slo."""
    keys: int = Field(1000, ge=1, le=1_000_000, strict=True)
    """How many keys put, read and watch share."""
    key_size: Annotated[Size, within("64B", "1KiB", parse_size)] | None = None
    """How long each of these keys is; some 40 bytes if it is not given."""
    timeout: Annotated[Duration, within("10ms", "60s", parse_duration)] = 2.0
    """Deadline of each call, from when it is sent."""
    failover: bool = Field(True, strict=True)
    """After a failed or unknown call the next one goes to the next member; without, clients stay where they are."""
    arrivals: Literal["uniform", "poisson"] = "uniform"
    """How due times of a rate lie: evenly, or like independent people."""

    def workloads(self) -> dict[str, Workload]:
        """Those that were given."""
        return {name: getattr(self, name) for name in WORKLOADS if getattr(self, name) is not None}

    @model_validator(mode="before")
    @classmethod
    def _as_the_profile_has_it(cls, given: Any) -> Any:
        profile = PROFILES.get(given["profile"]) if isinstance(given, dict) and _is_text(given.get("profile")) else None
        if profile is None:
            return given
        if "put" in given:
            raise ValueError("a profile brings its own put; leave out one of them")
        return {**profile.load(), **given}

    @model_validator(mode="after")
    def _something_bounded(self) -> Self:
        given = self.workloads().values()
        if not given:
            raise ValueError(f"there is no workload; give at least one of {', '.join(WORKLOADS)}")
        paces = [workload.pace() for workload in given]
        rate = sum(pace.peak_per_s for pace in paces if isinstance(pace, Shape))
        if rate > MAX_RATE_PER_S:
            raise ValueError(f"{show_rate(rate)} in all is too much; at most {show_rate(MAX_RATE_PER_S)}")
        clients = sum(workload.clients() for workload in given)
        if clients > MAX_CLIENTS:
            raise ValueError(f"{clients} simulated clients in all are too many; at most {MAX_CLIENTS}")
        if self.workers > (most := max(workload.clients() for workload in given)):
            raise ValueError(f"{self.workers} workers are too many: the largest workload has {most} clients to divide")
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
    def _one_kind_of_disk(self) -> Self:
        if frozenset({"disk", "disk_io"}) <= frozenset().union(*map(needs_of, self.method)):
            raise ValueError(
                "full_disk and disk_io exclude each other: a data disk that can be filled lives in memory, where "
                "nothing is slow; make two experiments of it"
            )
        return self

    @model_validator(mode="after")
    def _searches_what_has_a_rate(self) -> Self:
        wrong = [
            _wrong_search(number, step.search, why)
            for number, step in enumerate(self.method)
            if isinstance(step, SearchItem) and (why := self._not_searchable(step.search))
        ]
        if wrong:
            raise ValidationError.from_exception_data("method", wrong)
        return self

    def _not_searchable(self, name: str) -> str | None:
        workload = self.workloads.get(name)
        if workload is None:
            return unknown("workload of load", name, self.workloads)
        pace = workload.pace()
        if isinstance(pace, Shape) and not pace.pieces:
            return None
        return f"{name} has no constant rate that a search could leave and come back to"

    @model_validator(mode="after")
    def _ends_some_day(self) -> Self:
        seconds = self.warmup + sum(map(seconds_of, self.method)) + self.drain
        if seconds > MAX_SECONDS:
            raise ValueError(f"the whole run would take {show_duration(seconds)}; at most {show_duration(MAX_SECONDS)}")
        return self
