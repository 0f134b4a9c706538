"""Where experiments are: a path first, then a packaged experiment of that name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from chaoskit.errors import InvalidExperiment, Problem, unknown

_SUFFIXES = (".yaml", ".yml")


def packaged_experiments() -> dict[str, Path]:
    """Name → file of the experiments that come with chaoskit."""
    folder = Path(__file__).parents[1] / "experiments"
    if not folder.is_dir():  # in a checkout they stand beside the package
        folder = Path(__file__).parents[2] / "experiments"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_experiment(given: str) -> Path:
    """Raises InvalidExperiment when there is neither such a file nor such a name."""
    packaged = packaged_experiments()
    name = given.removesuffix(".yaml")
    try:
        if Path(given).is_file():
            return Path(given)
    except (OSError, ValueError):  # a name that no file can have
        pass
    if name in packaged:
        return packaged[name]
    raise InvalidExperiment([Problem("", _why_not(given, name, packaged), given[:200])])


def _why_not(given: str, name: str, packaged: Iterable[str]) -> str:
    if not os.path.isdir(given):  # noqa: PTH112  Path.is_dir raises for a name that is too long
        return f"no such file, and {unknown('experiment', name, packaged)}"
    inside = sorted(path.name for path in Path(given).iterdir() if path.suffix in _SUFFIXES)
    return f"is a folder, not an experiment; in it are: {', '.join(inside) or 'no .yaml files'}"
