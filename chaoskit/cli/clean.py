"""`chaoskit clean`: heal and remove what dead runs left."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from chaoskit.clusters import BACKENDS, external_debt, journal
from chaoskit.clusters.procfs import need_linux
from chaoskit.systems import SYSTEMS


def clean(quiet: Annotated[bool, typer.Option("--quiet", help="Only say what could not be removed.")] = False) -> None:
    """Heal and remove what killed runs left: processes, mounts, data, and their keys in external clusters.

    Live runs and foreign things are not touched.
    """
    need_linux()
    console = Console(stderr=True, highlight=False, quiet=quiet)

    def say(line: str) -> None:
        console.print(line, markup=False)

    swept = [line for make in BACKENDS.values() for line in make().sweep(say)]
    swept += external_debt.settle_all(journal.state_dir(), SYSTEMS, say)
    if not swept:
        say("nothing was left behind")
