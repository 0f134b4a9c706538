"""Where experiments are: a path first, then a packaged experiment of that name."""

from __future__ import annotations

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
    raise InvalidExperiment([Problem("", f"no such file, and {unknown('experiment', name, packaged)}", given[:200])])
