"""One way from what a person gave on the command line to an Experiment or a Plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from chaoskit.errors import InvalidExperiment, Problem
from chaoskit.experiment.bed import bed_of
from chaoskit.experiment.document import MAX_BYTES, Document, parse
from chaoskit.experiment.find import find_experiment
from chaoskit.experiment.model import Experiment
from chaoskit.experiment.overrides import override
from chaoskit.experiment.plan import Plan, resolve
from chaoskit.experiment.problems import problems_of
from chaoskit.experiment.promises import unkeepable
from chaoskit.experiment.variables import substitute
from chaoskit.experiment.welcome import unwelcome

_NOTHING: Mapping[str, str] = {}


def read_experiment(
    given: str, *, variables: Mapping[str, str] = _NOTHING, overrides: Mapping[str, str] = _NOTHING
) -> Experiment:
    """The experiment in a file, or the packaged one of that name. Raises InvalidExperiment with all its mistakes."""
    experiment, _ = _read(find_experiment(given), variables, overrides)
    return experiment


def make_plan(
    given: str,
    *,
    variables: Mapping[str, str] = _NOTHING,
    overrides: Mapping[str, str] = _NOTHING,
    seed: int | None = None,
    backend: str | None = None,
    owned: bool | None = None,
) -> Plan:
    """The experiment with every default filled in; `seed` and `backend` win over what it says.

    `owned`: whether an external cluster may be hurt; None when nothing is going to be carried out.
    """
    if backend is not None:
        overrides = {**overrides, "cluster.backend": backend}
    path = find_experiment(given)
    experiment, document = _read(path, variables, overrides)
    plan = resolve(experiment, name=path.stem, source=str(path), seed=seed)
    if problems := [*unwelcome(experiment, document, owned), *unkeepable(plan, document)]:
        raise InvalidExperiment(problems)
    return plan


def _read(path: Path, variables: Mapping[str, str], overrides: Mapping[str, str]) -> tuple[Experiment, Document]:
    document = parse(_content(path), str(path))
    override(document, overrides)
    values = substitute(document, variables, os.environ)
    try:
        return Experiment.model_validate(values, context=bed_of(values)), document
    except ValidationError as error:
        raise InvalidExperiment(problems_of(error, document)) from None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidExperiment([Problem("", f"cannot be read: {error.strerror}", str(path))]) from None
