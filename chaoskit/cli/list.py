"""`chaoskit list`: what there is to use, straight from the tables. Docstrings are the manual."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from inspect import getdoc
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chaoskit.checkers import CHECKERS
from chaoskit.cli.options import Json
from chaoskit.clusters import BACKENDS
from chaoskit.experiment import packaged_experiments
from chaoskit.faults import FAULTS
from chaoskit.faults.targets import TARGETS
from chaoskit.spec import Spec
from chaoskit.systems.etcd.clients import CLIENTS
from chaoskit.workloads import WORKLOADS


@dataclass(frozen=True, slots=True)
class Key:
    """One YAML key of an entry."""

    name: str
    form: str  # choices, or an example
    default: str | None  # None: it has to be given
    manual: str


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    manual: str
    keys: tuple[Key, ...] = ()
    example: str = ""


class What(StrEnum):
    """The tables there are."""

    FAULTS = "faults"
    WORKLOADS = "workloads"
    CHECKERS = "checkers"
    EXPERIMENTS = "experiments"
    BACKENDS = "backends"
    CLIENTS = "clients"


def list_(
    what: Annotated[What, typer.Argument(help="Which table.")],
    json_: Json = False,
) -> None:
    """List what there is, with its manual and every setting."""
    entries = entries_of(what)
    if json_:
        print(json.dumps([asdict(entry) for entry in entries], indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    for entry in entries:
        _show(entry, console)
    if what is What.FAULTS:
        _show(_targets(), console)


def _targets() -> Entry:
    words = tuple(Key(word, "", "", manual) for word, manual in TARGETS.items())
    return Entry("targets", "Chosen when the fault is injected; names such as n2 are targets as well.", words)


def entries_of(what: What) -> list[Entry]:
    """The table's entries, in its order."""
    if what is What.EXPERIMENTS:
        return [Entry(name, _comment(path)) for name, path in packaged_experiments().items()]
    tables: dict[What, Mapping[str, object]] = {
        What.FAULTS: FAULTS,
        What.WORKLOADS: WORKLOADS,
        What.CHECKERS: CHECKERS,
        What.BACKENDS: {name: make() for name, make in BACKENDS.items()},
        What.CLIENTS: {name: make() for name, make in CLIENTS.items()},
    }
    return [Entry(name, _manual(entry), _keys(entry), _example(what, name)) for name, entry in tables[what].items()]


def _manual(entry: object) -> str:
    manual = getdoc(entry) or ""
    if not (isinstance(entry, type) and hasattr(entry, "needs")):
        return manual
    backends = {name: make() for name, make in BACKENDS.items()}
    offering = [name for name, backend in backends.items() if entry.needs <= backend.capabilities]
    why_not = [
        f"Not {name} here: {why}."
        for name, backend in backends.items()
        for need, why in backend.obstacles.items()
        if need in entry.needs
    ]
    return "\n\n".join((manual, f"Backends: {', '.join(offering) or 'none'}.", *why_not))


def _comment(experiment: Path) -> str:
    """The lines that an experiment's file begins with: what it shows."""
    lines = takewhile(lambda line: line.startswith("#"), experiment.read_text(encoding="utf-8").splitlines())
    return "\n".join(line.removeprefix("#").strip() for line in lines)


def _example(what: What, name: str) -> str:
    """A fault's step of a method, in one line."""
    if what is not What.FAULTS:
        return ""
    keys = {"fault": name, **FAULTS[name].example}
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"


def _keys(entry: object) -> tuple[Key, ...]:
    if not (isinstance(entry, type) and issubclass(entry, Spec)):
        return ()
    schema = entry.model_json_schema(mode="serialization")  # this mode spells defaults with units
    required = schema.get("required", ())
    return tuple(
        Key(name, _form(about), None if name in required else _default(about), about.get("description", ""))
        for name, about in schema["properties"].items()
    )


def _form(about: dict[str, Any]) -> str:
    """What may be written: choices, examples, or the kind of value."""
    if "enum" in about:
        return " | ".join(map(str, about["enum"]))
    if "examples" in about:
        return "such as " + " or ".join(json.dumps(one).replace('"', "") for one in about["examples"])
    if variants := about.get("anyOf"):
        return " | ".join(filter(None, map(_form, variants)))
    if about.get("type") == "array":
        return "a list" + (f", each {inner}" if (inner := _form(about.get("items", {}))) else "")
    return {"integer": "a number"}.get(about.get("type", ""), "")


def _default(about: dict[str, Any]) -> str:
    default = about.get("default")
    return "" if default is None else f"{default} unless given"


def _show(entry: Entry, console: Console) -> None:
    console.print(Text(entry.name, style="bold"))
    console.print(Padding(Text(_flowing(entry.manual)), (0, 0, 0, 2)))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for key in entry.keys:
        facts = ", ".join(filter(None, (key.form, "required" if key.default is None else key.default)))
        manual = Text(_flowing(key.manual))
        table.add_row(Text(key.name, style="cyan"), manual.append(f" [{facts}]", style="dim") if facts else manual)
    if entry.keys:
        console.print(Padding(table, (0, 0, 0, 4)))
    if entry.example:
        console.print(Padding(Text(f"- {entry.example}", style="dim"), (0, 0, 0, 4)))
    console.print()


def _flowing(text: str) -> str:
    """Paragraphs as one line each, so that they wrap at the reader's width."""
    return "\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
