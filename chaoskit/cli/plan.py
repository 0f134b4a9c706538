"""`chaoskit plan`: what a run would do, and when."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, cast

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaoskit.cli import guest
from chaoskit.cli.options import Backend, Json, Overrides, Seed, Variables, read_plan, with_backend
from chaoskit.clusters import EXTERNAL
from chaoskit.clusters.compose import render
from chaoskit.contracts import Workload
from chaoskit.errors import InfrastructureError, InvalidExperiment, Problem
from chaoskit.experiment.plan import Burst, FaultStep, Plan, PlannedStep, Search, TimedFault, Wait
from chaoskit.faults.targets import TARGETS
from chaoskit.figures.knee import KEEPS_UP
from chaoskit.shapes import Shape
from chaoskit.spec import Spec
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names
from chaoskit.units import show_duration, show_rate, show_size

_FIXED = ("followers", "all")  # words that leave nothing to choose but who leads


def plan(
    experiment: Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Path or packaged name.")],
    *,
    seed: Seed = None,
    var: Variables = None,
    set_: Overrides = None,
    backend: Backend = None,
    json_: Json = False,
    compose: Annotated[
        bool, typer.Option("--compose", help="The same cluster as a Compose file on stdout, to start by hand.")
    ] = False,
) -> None:
    """Print the exact schedule of a run without starting anything."""
    if compose:
        print(_compose(read_plan(experiment, seed=seed, variables=var, overrides=set_, backend=backend)), end="")
        return
    planned = read_plan(experiment, seed=seed, variables=var, overrides=set_, backend=backend)
    try:
        planned, chosen = with_backend(planned)
    except InfrastructureError as error:
        chosen = str(error)  # nothing is started here, so a plan can be shown all the same
    if chosen:
        print(chosen, file=sys.stderr)
    if json_:
        print(planned.model_dump_json(indent=2))
    else:
        show(planned, Console(highlight=False, soft_wrap=True))


def _compose(planned: Plan) -> str:
    cluster = planned.cluster
    if cluster.backend == EXTERNAL:
        raise InvalidExperiment([Problem("cluster.backend", "an external cluster is there already", "--compose")])
    system = SYSTEMS[cluster.system](cluster.version)
    try:
        return render(
            system, cluster.version, member_names(cluster.members), cluster.flags, cluster.image, cluster.images
        )
    finally:
        system.close()


def show(planned: Plan, console: Console) -> None:
    """The plan for people."""
    cluster, load = planned.cluster, planned.load
    console.print(Text(planned.title, style="bold"))
    console.print(
        f"{cluster.system} {cluster.version or 'as it is there'}, {cluster.members} members, "
        f"backend {cluster.backend}; "
        f"client {load.client}; seed {planned.seed}; about {show_duration(planned.seconds())}"
    )
    for line in guest.about(planned):
        console.print(Text(f"  guest  {line}"))
    for note in guest.notes(planned):
        console.print(Text(f"  note   {note}"))
    for flag, value in cluster.flags.items():
        console.print(Text(f"  flag   --{flag}={value}"))
    if load.key_size:
        console.print(f"  load   {load.keys} keys of {show_size(load.key_size)}")
    for name, workload in load.workloads.items():
        console.print(Text(f"  load   {name}: {settings(workload)}"))
        if rates := _rates(cast(Workload, workload), planned.warmup):
            console.print(Text(f"  rates  {name}: {rates}"))
    console.print(_schedule(planned))
    for kind, promises in (("steady state", planned.steady_state), ("slo", planned.slo)):
        for promise in promises:
            console.print(Text(f"  {kind}: {promise}"))


def _rates(workload: Workload, warmup_s: float) -> str:
    """The exact schedule of a rate that changes over time; nothing for one that does not."""
    pace = workload.pace()
    return str(pace.after(warmup_s)) if isinstance(pace, Shape) and pace.pieces else ""


def _schedule(planned: Plan) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("at", "for", "phase", "what"):
        table.add_column(heading, no_wrap=heading != "what", justify="right" if heading in ("at", "for") else "left")
    at = 0.0
    whats = ["not judged", *chain.from_iterable(map(_what, planned.method)), "no new calls; watches catch up"]
    for phase, what in zip(planned.phases(), whats, strict=True):
        bound = "≤ " if phase.kind in ("drain", "step") else ""
        table.add_row(show_duration(at), bound + show_duration(phase.seconds), Text(phase.name), Text(what))
        at = round(at + phase.seconds, 6)
    return table


def _what(step: PlannedStep) -> Iterator[str]:
    """What happens in each of its phases."""
    match step:
        case Wait():
            yield "steady state is judged at the end" if step.kind == "baseline" else ""
        case Burst():
            yield f"{step.workload.kind}: {settings(step.workload)}"
        case FaultStep():
            yield "\n".join(map(_fault, step.faults))
        case Search():
            until = f"the search ends at P99 > {show_duration(step.p99)} or goodput < {KEEPS_UP:.0%} of a step"
            yield f"{step.workload} at {show_rate(step.rates[0])}; {until}"
            yield from (f"{step.workload} at {show_rate(rate)}" for rate in step.rates[1:])
            yield f"{step.workload} at its own rate again; not judged"


def _fault(timed: TimedFault) -> str:
    assert isinstance(timed.fault, Spec)
    alone = f"{timed.fault.kind}: {settings(timed.fault)}"
    return f"after {show_duration(timed.after)}: {alone}" if timed.after else alone


def settings(spec: Spec) -> str:
    """The settings that were given or have a default: `target leader (chosen at injection), for 5s`."""
    values = spec.model_dump(mode="json", exclude_none=True)
    return ", ".join(f"{key} {_setting(key, value)}" for key, value in values.items())


def _setting(key: str, value: object) -> str:
    if isinstance(value, list):
        return " ".join(_setting("", item) for item in value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} {_setting(name, item)}' for name, item in value.items())}}}"
    if key == "shape" or (key in ("target", "isolate") and value in TARGETS and value not in _FIXED):
        return f"{value} (chosen at injection)"
    return str(value)
