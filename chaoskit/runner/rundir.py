"""The directory of one run: `<base>/<experiment>/<UTC time>/`, with `latest` beside it. Every path of it is named here.

`reports/README.md` explains the files to people.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from pydantic import ValidationError

from chaoskit.contracts import Promises
from chaoskit.errors import InvalidExperiment, Problem, unknown
from chaoskit.experiment.plan import Plan
from chaoskit.history import History
from chaoskit.history import load as load_history
from chaoskit.history.shards import SUFFIX
from chaoskit.reporters.files import write_atomically
from chaoskit.runner.judge import RunIdentity

LATEST = "latest"

_STAMP = "%Y-%m-%dT%H-%M-%SZ"
_COLLISIONS = 1000


class RunDir:
    """Paths only, but for `create` and the identity file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan = path / "plan.json"
        self.identity = path / "identity.json"
        self.history = path / "history"
        self.logs = path / "logs"
        self.results = path / "results.json"

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def create(cls, base: Path, name: str, now: datetime) -> RunDir:
        """Make the directory and point `latest` at it. Raises InvalidExperiment when `base` cannot be written."""
        folder = base / (re.sub(r"[^\w.-]+", "-", name).strip(".-") or "experiment")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = _new_folder(folder, now.astimezone(UTC).strftime(_STAMP))
            _point(folder / LATEST, path.name)
        except OSError as error:
            raise _refused(
                f"cannot make a run directory in {folder}: {error.strerror}; --out names another place"
            ) from error
        run = cls(path)
        run.history.mkdir()
        run.logs.mkdir()
        return run

    @classmethod
    def find(cls, text: str, base: Path) -> RunDir:
        """The run that a person means: a path, `latest`, an experiment's name or `<name>/<time>`.

        Raises InvalidExperiment that lists the runs there are.
        """
        for folder in (Path(text), base / text, base / text.removesuffix(".yaml")):
            if run := _run_at(folder):
                return run
        runs = _latest_runs(base)
        if text == LATEST and runs:
            return cls(max(runs.values(), key=lambda path: path.name))
        raise _refused(_no_run(text, base, runs))

    def has_history(self) -> bool:
        return any(self.history.glob(f"*{SUFFIX}"))

    def write_identity(self, identity: RunIdentity) -> None:
        """Say who this run is and how it ended; `load` reads it."""
        write_atomically(self.identity, msgspec.json.format(msgspec.json.encode(identity), indent=2).decode() + "\n")

    def load(self) -> tuple[History, Promises, RunIdentity]:
        """All that judging needs. Raises InvalidExperiment that names what is missing or damaged."""
        missing = [path.name for path in (self.plan, self.identity) if not path.is_file()]
        if not self.has_history():
            missing.append(f"{self.history.name}/*{SUFFIX}")
        if missing:
            raise _refused(f"{self} cannot be judged, the run did not get that far: {', '.join(missing)} missing")
        return load_history(self.history), self._plan().promises(), self._identity()

    def _plan(self) -> Plan:
        try:
            return Plan.model_validate_json(self.plan.read_bytes())
        except (OSError, ValidationError, LookupError) as error:
            raise _refused(f"{self.plan} is damaged or of another version of chaoskit: {_first_line(error)}") from error

    def _identity(self) -> RunIdentity:
        try:
            return msgspec.json.decode(self.identity.read_bytes(), type=RunIdentity)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _refused(f"{self.identity} is damaged: {_first_line(error)}") from error


def _new_folder(folder: Path, stamp: str) -> Path:
    """Two runs in one second get `…Z` and `…Z-2`; mkdir decides who was first."""
    for attempt in range(1, _COLLISIONS):
        path = folder / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise FileExistsError(17, f"{_COLLISIONS} runs began in one second")


def _point(link: Path, target: str) -> None:
    """Replace a symbolic link in one step, so that it always leads somewhere."""
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)


def _run_at(folder: Path) -> RunDir | None:
    """A run directory itself, or the latest of an experiment's folder."""
    for path in (folder, folder / LATEST):
        try:
            if any((path / file).is_file() for file in ("plan.json", "results.json")):
                return RunDir(path.resolve() if path.name == LATEST else path)
        except (OSError, ValueError):  # a name that no file can have
            return None
    return None


def _no_run(text: str, base: Path, runs: Iterable[str]) -> str:
    if not runs:
        return f"no run {text[:200]!r}: {base} holds none; `chaoskit run` makes one, --out names another place"
    if os.path.isdir(text):  # noqa: PTH112  Path.is_dir raises for a name that is too long
        return (
            f"{text} holds no run, neither plan.json nor results.json is in it; there are: {', '.join((LATEST, *runs))}"
        )
    return f"{unknown('run', text, [LATEST, *runs])}, or the path of a run directory"


def _latest_runs(base: Path) -> dict[str, Path]:
    """Experiment → its latest run."""
    return {link.parent.name: link.resolve() for link in _links(base) if _run_at(link)}


def _links(base: Path) -> Iterable[Path]:
    return sorted(base.glob(f"*/{LATEST}")) if base.is_dir() else ()


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first, *others = error.errors(include_url=False, include_input=False)
        where = ".".join(map(str, first["loc"]))
        return f"{where}{': ' * bool(where)}{first['msg']}" + f" (and {len(others)} more)" * bool(others)
    return (str(error).splitlines() or [type(error).__name__])[0]


def _refused(what: str) -> InvalidExperiment:
    return InvalidExperiment([Problem(where="", what=what)])
