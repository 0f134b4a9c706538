"""What pydantic found, as people read it: place in the file, what is wrong, and the choices there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from chaoskit.errors import Problem, unknown
from chaoskit.experiment.document import Document, Path
from chaoskit.experiment.model import Experiment
from chaoskit.experiment.steps import ITEMS, LEADING_KEYS, OVERLAPPING_FAULTS
from chaoskit.faults import FAULTS
from chaoskit.shapes import CONSTANT, RATES
from chaoskit.workloads import WORKLOADS

_TABLES: Mapping[str, Mapping[str, Any]] = {"fault": FAULTS, "burst": WORKLOADS}


def problems_of(error: ValidationError, document: Document) -> list[Problem]:
    """One for each mistake, in the order of the file."""
    details = error.errors(include_url=False)
    found = [_problem(each, document) for each in details if not _follows(each, details)]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.line, problem.column))


def _follows(details: ErrorDetails, among: Sequence[ErrorDetails]) -> bool:
    """Whether a list only counts as too short because some of its items are wrong."""
    loc = details["loc"]
    return details["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in among
    )


def _problem(details: ErrorDetails, document: Document) -> Problem:
    loc = details["loc"]
    path: Path = tuple(part for part in loc if not _is_tag(part))
    leading = {"union_tag_invalid": _unknown_kind, "union_tag_not_found": _no_kind}.get(details["type"])
    if leading is not None:
        key, what = leading(details["input"], in_parallel="parallel" in path)
        path = (*path, key) if key else path
    elif details["type"] == "extra_forbidden":
        what = unknown("key", loc[-1], _keys(_model_at(loc[:-1])))
    else:
        what = _sentence(details)
    return document.place(path).problem(path, what)


def _is_tag(part: str | int) -> bool:
    """Whether pydantic put it into the path to say which kind of step or rate it tried."""
    return isinstance(part, str) and (part in ITEMS or part in RATES or part == CONSTANT)


def _unknown_kind(step: Any, *, in_parallel: bool) -> tuple[str, str]:
    key = next(key for key in LEADING_KEYS if key in step)
    if in_parallel and key != "fault":
        return key, f"only faults can stand under parallel, not {key}"
    return key, unknown({"fault": "fault", "burst": "workload"}[key], step[key], _TABLES[key])


def _no_kind(step: Any, *, in_parallel: bool) -> tuple[str, str]:
    words = ("fault",) if in_parallel else LEADING_KEYS
    if not isinstance(step, dict):
        return "", f"a step is a mapping with one of {', '.join(words)}, not {_shown(step)}"
    given = [key for key in LEADING_KEYS if key in step]
    if len(given) > 1:
        return given[1], f"a step is one thing; {' and '.join(given)} stand together"
    near = [(key, match[0]) for key in step if (match := get_close_matches(key, words, n=1))]
    hint = f"; did you mean {near[0][1]!r} where it says {near[0][0]!r}?" if near else ""
    return "", f"a step needs one of {', '.join(words)}{hint}"


def _model_at(loc: Sequence[str | int]) -> type[BaseModel]:
    """The model that reads what stands at this place."""
    model: type[BaseModel] = Experiment
    tagged = {**ITEMS, **RATES, **(OVERLAPPING_FAULTS if "parallel" in loc else {})}
    for part in loc:
        if isinstance(part, int):
            continue
        if part in tagged:
            model = tagged[part]
            continue
        field = next((field for field in model.model_fields.values() if field.alias == part), None)
        model = next(_models_in(field.annotation), model) if field else model
    return model


def _models_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _sentence(details: ErrorDetails) -> str:
    """Pydantic's own message, in the voice of the rest."""
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "missing":
            said = "missing"
        case "literal_error":
            said = unknown("value", value, context["expected"].replace(" or ", ", ").replace("'", "").split(", "))
        case "string_pattern_mismatch":
            said = f"{_shown(value)} does not look like {context['pattern']}"
        case "string_type" if isinstance(value, int | float):
            said = f"must be text; write {_shown(str(value))} in quotes"
        case "model_type" | "model_attributes_type" | "dict_type":
            said = f"must be a mapping of keys and values, not {_shown(value)}"
        case "tuple_type":
            said = f"must be a list, not {_shown(value)}"
        case _:
            said = details["msg"].removeprefix("Value error, ")
    if said.startswith("Input should be "):
        return f"must be {said.removeprefix('Input should be ')}, not {_shown(value)}"
    return said


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
