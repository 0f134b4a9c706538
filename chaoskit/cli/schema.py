"""`chaoskit schema`: the experiment's format, for editors and other programs."""

from __future__ import annotations

import json
from typing import Any

from chaoskit.experiment import Experiment

_VARIABLE = {"type": "string", "pattern": r"\$\{.+\}"}


def schema() -> None:
    """Print the JSON Schema of an experiment file, with one variant for each fault and workload."""
    print(json.dumps(experiment_schema(), indent=2, ensure_ascii=False))


def experiment_schema() -> dict[str, Any]:
    """Draft 2020-12. Wherever a value has a form of its own, `${NAME}` is allowed instead of it."""
    plain = Experiment.model_json_schema(mode="serialization")  # this mode spells defaults with units
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_with_variables(plain),
        "title": "chaoskit experiment",
    }


def _with_variables(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_variables(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    if "enum" in schema or "pattern" in schema or schema.get("type") in ("integer", "number", "boolean"):
        about = {key: schema[key] for key in ("title", "description", "default") if key in schema}
        return {**about, "anyOf": [{key: schema[key] for key in schema.keys() - about.keys()}, _VARIABLE]}
    return {key: _with_variables(value) for key, value in schema.items()}
