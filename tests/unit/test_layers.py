"""The house has floors: imports point down, and parts of one floor never import each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PACKAGE = Path(__file__).parents[2] / "chaoskit"

FLOORS = (
    {"access", "errors", "units", "spec", "shapes", "topology", "verdict"},
    {"history"},
    {"results"},
    {"contracts"},
    {"figures"},
    {"clusters", "systems", "faults", "load", "workloads", "checkers", "reporters"},
    {"experiment"},
    {"runner"},
    {"cli", "locustfile"},
)
FLOOR_OF = {part: number for number, floor in enumerate(FLOORS) for part in floor}
ALONE = {part for floor in FLOORS[4:] for part in floor}
"""Parts that never import a neighbour on their own floor; the nouns below may lean on each other without a cycle."""


def broken_rules(part: str, source: str) -> list[str]:
    """What the imports of one module of `part` break, one sentence each."""
    return [
        f"{part} imports {imported}"
        for imported in sorted(imported_parts(source))
        if imported != part
        and imported in FLOOR_OF
        and (FLOOR_OF[imported] > FLOOR_OF[part] or (FLOOR_OF[imported] == FLOOR_OF[part] and part in ALONE))
    ]


def imported_parts(source: str) -> set[str]:
    names: set[str] = set()
    for item in ast.walk(ast.parse(source)):
        if isinstance(item, ast.Import):
            names.update(alias.name for alias in item.names)
        elif isinstance(item, ast.ImportFrom):
            assert not item.level, "relative imports hide the part they reach"
            module = item.module or ""
            names.update([f"{module}.{alias.name}" for alias in item.names] if module == "chaoskit" else [module])
    return {name.split(".")[1] for name in names if name.startswith("chaoskit.")}


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part not in {"__init__", "__main__"}:
            found.append((part, path))
    return found


@pytest.mark.parametrize(("part", "path"), modules(), ids=lambda value: str(value).removeprefix(str(PACKAGE) + "/"))
def test_imports_point_down(part: str, path: Path) -> None:
    assert broken_rules(part, path.read_text()) == []


def test_every_part_has_a_floor() -> None:
    assert {part for part, _ in modules()} == set(FLOOR_OF)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("faults", "from chaoskit.runner.scene import ClusterScene"),
        ("faults", "import chaoskit.clusters.process"),
        ("checkers", "from chaoskit import reporters"),
        ("contracts", "def late():\n    from chaoskit.figures import compute"),
        ("load", "from chaoskit.workloads import WORKLOADS"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_caught(part: str, source: str) -> None:
    assert broken_rules(part, source)


def test_the_controller_never_imports_locust_or_gevent() -> None:
    """`import locust` patches sockets and time for the whole process, so only the worker's side may."""
    worker_side = ("locustfile.py", "load/worker/", "systems/etcd/clients/")
    paths = [path.relative_to(PACKAGE).as_posix() for _, path in modules()]
    offenders = [
        path
        for path in paths
        if not path.startswith(worker_side) and {"locust", "gevent"} & top_level_imports((PACKAGE / path).read_text())
    ]
    assert offenders == []


def top_level_imports(source: str) -> set[str]:
    """First part of every imported name, wherever the import stands."""
    names: set[str] = set()
    for item in ast.walk(ast.parse(source)):
        if isinstance(item, ast.Import):
            names.update(alias.name for alias in item.names)
        elif isinstance(item, ast.ImportFrom):
            names.add(item.module or "")
    return {name.split(".")[0] for name in names}
