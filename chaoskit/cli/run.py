"""`chaoskit run`: carry out experiments, one after the other, and report each."""

from __future__ import annotations

import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from chaoskit.cli.live import narrator
from chaoskit.cli.options import Backend, Overrides, Owned, Seed, Variables, read_plan, with_backend
from chaoskit.cli.remote import DEFAULT_LISTEN, Listen, RemoteWorkers, TokenFile, elsewhere_of, reachable
from chaoskit.cli.show import show_results
from chaoskit.cli.web_ui import WebUi, check_port
from chaoskit.clusters import BACKENDS
from chaoskit.clusters.procfs import need_linux
from chaoskit.errors import InvalidExperiment, Problem
from chaoskit.experiment.place import access_of
from chaoskit.experiment.plan import FaultStep, Plan
from chaoskit.results import Results
from chaoskit.runner import environment
from chaoskit.runner.conclude import conclude
from chaoskit.runner.judge import RunIdentity
from chaoskit.runner.order import Elsewhere
from chaoskit.runner.run import run as carry_out
from chaoskit.runner.rundir import RunDir
from chaoskit.runner.stop import Stop
from chaoskit.verdict import ExitCode, worst_exit


def run(
    experiments: Annotated[
        list[str], typer.Argument(metavar="EXPERIMENT…", help="Path, or name of a packaged experiment.")
    ],
    seed: Seed = None,
    var: Variables = None,
    set_: Overrides = None,
    backend: Backend = None,
    out: Annotated[Path, typer.Option("--out", help="Where run directories go.")] = Path("reports"),
    json_: Annotated[bool, typer.Option("--json", help="Print results.json of each run on stdout.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No live view; only the summary, or only JSON with --json.")
    ] = False,
    owned: Owned = False,
    remote_workers: RemoteWorkers = 0,
    listen: Listen = DEFAULT_LISTEN,
    token_file: TokenFile = None,
    web_ui: WebUi = None,
) -> None:
    """Run experiments on a real cluster, and say what each cost.

    All files are read and checked before the first one starts. The exit code is the worst of all runs.
    """
    need_linux()
    plans = [
        read_plan(name, seed=seed, variables=var, overrides=set_, backend=backend, owned=owned) for name in experiments
    ]
    _check_secrets(plans)
    elsewhere = elsewhere_of(plans, remote_workers, listen, token_file)
    plans = [reachable(plan, elsewhere) for plan in plans]
    if web_ui is not None:
        check_port(web_ui)
    stop = Stop()
    codes = []
    with stop.on_signals():
        for plan, chosen in map(with_backend, plans):
            if chosen:
                print(chosen, file=sys.stderr)
            if stop.requested:
                break
            results, rundir = _run_one(plan, out, quiet, stop, elsewhere, web_ui or 0)
            codes.append(results.exit_code)
            show_results(results, rundir, as_json=json_, quiet=quiet)
    raise typer.Exit(worst_exit(codes or [ExitCode.INTERRUPTED]))


def _check_secrets(plans: list[Plan]) -> None:
    """Certificates, keys and passwords have to be here before the first run starts. Raises InvalidExperiment."""
    problems = [Problem("cluster", what, plan.source) for plan in plans for what in access_of(plan.cluster).missing()]
    if problems:
        raise InvalidExperiment(problems)


def _run_one(
    plan: Plan, out: Path, quiet: bool, stop: Stop, elsewhere: Elsewhere | None, web_ui_port: int
) -> tuple[Results, RunDir]:
    now = datetime.now(UTC)
    rundir = RunDir.create(out, plan.name, now)
    run_id = f"{now:%m%d%H%M%S}-{secrets.token_hex(3)}"
    rundir.plan.write_text(plan.model_dump_json(indent=2, by_alias=True))
    identity = RunIdentity(
        experiment=plan.name,
        title=plan.title,
        run_id=run_id,
        started_at=now.isoformat(timespec="seconds"),
        seed=plan.seed,
        environment=environment.describe(rundir.path)
        | {"etcd": plan.cluster.version, "backend": _backend(plan.cluster.backend)},
        infra_failed="the run was ended before it could conclude",
        planned_faults=_fault_names(plan),
    )
    rundir.write_identity(identity)  # so that what a killed run recorded can still be judged
    told = narrator(quiet, sys.stderr)
    ending = carry_out(plan, rundir, run_id, told, stop, {}, elsewhere=elsewhere, web_ui_port=web_ui_port)
    return conclude(plan.promises(), rundir, identity, ending), rundir


def _backend(name: str) -> str:
    backend = BACKENDS[name]()
    return name if backend.missing() else f"{name}: {backend.about()}"


def _fault_names(plan: Plan) -> tuple[str, ...]:
    return tuple(timed.name for step in plan.method if isinstance(step, FaultStep) for timed in step.faults)
