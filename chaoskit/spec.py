"""The base of everything that has a YAML form: frozen, unknown keys refused, `for_` in code is `for` in YAML."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


def _yaml_key(field: str) -> str:
    return field.rstrip("_")


class Spec(BaseModel):
    """A part's settings. Its docstring is its manual, its fields are its YAML keys, both shown by `chaoskit list`.

    A field that would be a Python keyword ends in an underscore and loses it in YAML (`for_` is `for`).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=_yaml_key,
        populate_by_name=True,
        serialize_by_alias=True,
        validate_default=False,
        use_attribute_docstrings=True,
    )
