"""The experiment as people write it: every key, its unit, its default and its limit. Resolving fills in what was left out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, create_model, field_validator, model_validator

from chaoskit.checkers import slo
from chaoskit.clusters import BACKENDS
from chaoskit.contracts import Workload
from chaoskit.errors import unknown
from chaoskit.experiment.bed import DEFAULT_BACKEND
from chaoskit.experiment.steps import Step, WaitStep, seconds_of
from chaoskit.experiment.tables import CLIENTS, SYSTEMS, WORKLOADS
from chaoskit.spec import Spec
from chaoskit.units import Duration, parse_duration, within
