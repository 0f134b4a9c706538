"""Options that several verbs share, and how they become a Plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from chaoskit.clusters import AUTO, BACKENDS, choose
from chaoskit.errors import InvalidExperiment, Problem, unknown
from chaoskit.experiment import Plan, make_plan
from chaoskit.experiment.welcome import OWNER_OPTION

Variables = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="NAME=VALUE", help="Value of ${NAME} in the experiment; can be given again."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Replace one value: cluster.members=5, method[1].for=3s."),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Instead of the experiment's own.")]
Backend = Annotated[str | None, typer.Option("--backend", help="Instead of the experiment's own.")]
Owned = Annotated[
    bool,
    typer.Option(OWNER_OPTION, help="Allow faults and bursts on a cluster of backend external."),
]
Json = Annotated[bool, typer.Option("--json", help="For machines, on stdout.")]


def read_plan(
    given: str,
    *,
    seed: int | None = None,
    variables: Sequence[str] | None = None,
    overrides: Sequence[str] | None = None,
    backend: str | None = None,
    owned: bool | None = None,
) -> Plan:
    """The plan of an experiment, by path or name. Raises InvalidExperiment with all its mistakes."""
    if backend is not None and backend not in (AUTO, *BACKENDS):
        raise InvalidExperiment([Problem("--backend", unknown("backend", backend, (AUTO, *BACKENDS)))])
    return make_plan(
        given,
        variables=pairs("--var", variables, "NAME=value"),
        overrides=pairs("--set", overrides, "path=value"),
        seed=seed,
        backend=backend,
        owned=owned,
    )


def with_backend(plan: Plan) -> tuple[Plan, str]:
    """The plan with `auto` replaced by what it means on this machine, and one line that says why."""
    if plan.cluster.backend != AUTO:
        return plan, ""
    name, why = choose(plan.needs())
    return plan.on(name), f"backend {name}: {why}"


def pairs(option: str, given: Sequence[str] | None, form: str) -> dict[str, str]:
    """`A=b` as A → b. Raises InvalidExperiment that names the option."""
    split = [text.partition("=") for text in given or ()]
    problems = [Problem("", f"{name!r} is not {form}", option) for name, equals, _ in split if not equals or not name]
    if problems:
        raise InvalidExperiment(problems)
    return {name: value for name, _, value in split}
