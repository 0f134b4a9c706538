"""From a YAML file to a Plan: the only place that sees all tables.

`document` reads YAML with positions, `variables` and `overrides` change it, `model` and `steps` say what is valid,
`problems` says what is not, `plan` is one run with every default filled in, `find` knows where experiments are.
"""

from chaoskit.experiment.find import find_experiment, packaged_experiments
from chaoskit.experiment.model import Experiment
from chaoskit.experiment.plan import Plan, resolve
from chaoskit.experiment.read import make_plan, read_experiment

__all__ = [
    "Experiment",
    "Plan",
    "find_experiment",
    "make_plan",
    "packaged_experiments",
    "read_experiment",
    "resolve",
]
