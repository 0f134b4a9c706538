"""`chaoskit plan`: what a run would do, and when."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chaoskit.cli.options import Backend, Json, Overrides, Seed, Variables, read_plan, with_backend
from chaoskit.clusters.compose import render
from chaoskit.experiment.plan import Burst, FaultStep, Plan, TimedFault, Wait
from chaoskit.faults.targets import TARGETS
from chaoskit.spec import Spec
from chaoskit.systems import SYSTEMS
from chaoskit.topology import member_names
from chaoskit.units import show_duration

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
    planned, chosen = with_backend(read_plan(experiment, seed=seed, variables=var, overrides=set_, backend=backend))
    if chosen:
        print(chosen, file=sys.stderr)
    if json_:
        print(planned.model_dump_json(indent=2))
    else:
        show(planned, Console(highlight=False, soft_wrap=True))


def _compose(planned: Plan) -> str:
    cluster = planned.cluster
    system = SYSTEMS[cluster.system](cluster.version)
    try:
        return render(system, cluster.version, member_names(cluster.members), cluster.flags, cluster.image)
    finally:
        system.close()


def show(planned: Plan, console: Console) -> None:
    """The plan for people."""
    cluster, load = planned.cluster, planned.load
    console.print(Text(planned.title, style="bold"))
    console.print(
        f"{cluster.system} {cluster.version}, {cluster.members} members, backend {cluster.backend}; "
        f"client {load.client}; seed {planned.seed}; about {show_duration(planned.seconds())}"
    )
    for flag, value in cluster.flags.items():
        console.print(Text(f"  flag   --{flag}={value}"))
    for name, workload in load.workloads.items():
        console.print(Text(f"  load   {name}: {settings(workload)}"))
    console.print(_schedule(planned))
    for kind, promises in (("steady state", planned.steady_state), ("slo", planned.slo)):
        for promise in promises:
            console.print(Text(f"  {kind}: {promise}"))


def _schedule(planned: Plan) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("at", "for", "phase", "what"):
        table.add_column(heading, no_wrap=heading != "what", justify="right" if heading in ("at", "for") else "left")
    at = 0.0
    whats = [("not judged",), *(tuple(_what(step)) for step in planned.method), ("no new calls; watches catch up",)]
    for phase, what in zip(planned.phases(), whats, strict=True):
        bound = "≤ " if phase.kind == "drain" else ""
        table.add_row(show_duration(at), bound + show_duration(phase.seconds), Text(phase.name), Text("\n".join(what)))
        at = round(at + phase.seconds, 6)
    return table


def _what(step: Wait | FaultStep | Burst) -> Iterator[str]:
    match step:
        case Wait():
            yield "steady state is judged at the end" if step.kind == "baseline" else ""
        case Burst():
            yield f"{step.workload.kind}: {settings(step.workload)}"
        case FaultStep():
            yield from map(_fault, step.faults)


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
        return " ".join(map(str, value))
    if key == "shape" or (key in ("target", "isolate") and value in TARGETS and value not in _FIXED):
        return f"{value} (chosen at injection)"
    return str(value)
