"""`--set path=value`: one value of the file replaced from the command line, before variables and validation."""

from __future__ import annotations

import re
from collections.abc import Mapping

from chaoskit.errors import InvalidExperiment, Problem
from chaoskit.experiment.document import MAX_DEPTH, Document, Path, Place, Tree, parse

_PART = re.compile(r"([^.\[\]]+)|\[([0-9]{1,6})\]")


def override(document: Document, overrides: Mapping[str, str]) -> None:
    """Set every path to its value, which is read as YAML. Raises InvalidExperiment that names each bad option."""
    problems: list[Problem] = []
    for path, text in overrides.items():
        option = f"--set {path}"
        try:
            value = parse(text.encode(), option).root
            _set(document, _read_path(path), value, Place(option))
        except InvalidExperiment as error:
            problems += error.problems
        except ValueError as error:
            problems.append(Problem("", str(error), option))
    if problems:
        raise InvalidExperiment(problems)


def _read_path(text: str) -> Path:
    parts = list(_PART.finditer(text))
    spelled = "".join(match[0] if match[2] else f".{match[0]}" for match in parts).removeprefix(".")
    if not 0 < len(parts) <= MAX_DEPTH or spelled != text:
        raise ValueError(f"{text[:80]!r} is no path; write one such as cluster.members or method[1].for")
    return tuple(int(match[2]) if match[2] else match[1] for match in parts)


def _set(document: Document, path: Path, value: Tree, place: Place) -> None:
    around = document.root
    for part in path[:-1]:
        around = _inside(around, part)
    last = path[-1]
    _inside(around, last)
    around[last] = value  # type: ignore[index]  # _inside has checked that the part fits
    for inner in [known for known in document.places if known[: len(path)] == path]:
        del document.places[inner]
    document.places[path] = place


def _inside(around: Tree, part: str | int) -> Tree:
    """The value at this part; a new mapping where a key is missing. Raises ValueError where it cannot be."""
    if isinstance(part, int):
        if not isinstance(around, list) or part >= len(around):
            size = len(around) if isinstance(around, list) else 0
            raise ValueError(f"there is no item [{part}]; the list has {size}")
        return around[part]
    if not isinstance(around, dict):
        raise ValueError(f"there is no key {part[:80]!r}: what is around it is no mapping")
    return around.setdefault(part, {})
