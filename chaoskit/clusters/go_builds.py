"""A server built from Go modules: from its recipe, or on the fly for a version that has none.

A recipe is a Go module that names the programs as its tools, with a committed `go.sum`. `go install …@version` would be
shorter, but etcd's own go.mod has replace directives, which it refuses. Everything is done in a copy: an installed
recipe is never written to.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from chaoskit.clusters.programs import Program, Server, Unusable, last_lines, run

_DEADLINE_S = 900.0  # 30-65 s on two cores; ten times that on a slow machine with a cold module cache
_TOOL_LINES_SINCE = "1.24"  # first Go that knows tool dependencies; `go get` raises it to what the server needs


def build(
    server: Server,
    version: str,
    *,
    recipe: Path,
    work: Path,
    into: Path,
    say: Callable[[str], None],
    every_s: float = 10.0,
) -> None:
    """Build every program of the server into the empty folder `into`, using the empty folder `work`.

    `say` hears how long it has taken, every `every_s`. Raises Unusable with the end of Go's own words.
    """
    found = shutil.which("go")
    if found is None:
        raise Unusable("there is no go on PATH")
    go = Path(found).absolute()
    programs = server.programs_of(version)
    what = f"{server.name} {version}"
    if (recipe / "go.mod").is_file():
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(recipe / name, work / name)
        mode = "-mod=readonly"  # so that the committed go.sum holds
    else:
        mode = "-mod=mod"
        (work / "go.mod").write_text(f"module chaoskit/docker\n\ngo {_TOOL_LINES_SINCE}\n")
        say(f"{what} has no recipe: asking the Go module proxy for it …")
        wanted = [f"{program.package}@v{version}" for program in programs]
        _go(go, ["get", "-tool", *wanted], cwd=work, doing=f"fetching {what}", say=say, every_s=every_s)
    say(f"building {what} with Go (one time, about a minute) …")
    flags = "-s -w" + (f" -X {server.version_symbol}={version}" if server.version_symbol else "")
    packages = [program.package for program in programs]
    # -buildvcs=false: the cache may lie inside somebody's git work tree
    options = [mode, "-buildvcs=false", "-trimpath", "-ldflags", flags, "-o", f"{into}{os.sep}"]
    spent_s = _go(go, ["build", *options, *packages], cwd=work, doing=f"building {what}", say=say, every_s=every_s)
    for program in programs:
        (into / _output_name(program)).rename(into / program.name)
    say(f"{what} built in {spent_s:.0f} s")


def _go(go: Path, args: Sequence[str], *, cwd: Path, doing: str, say: Callable[[str], None], every_s: float) -> float:
    """Seconds that one go command took. The user's own Go settings (proxy, caches, toolchain) are kept."""
    ended = run(
        [go, *args],
        deadline_s=_DEADLINE_S,
        cwd=cwd,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        every_s=every_s,
        tell=lambda spent_s: say(f"{doing}: {spent_s:.0f} s so far"),
    )
    if ended.code is None:
        raise Unusable(f"go {args[0]} was stopped after {ended.spent_s:.0f} s; it printed: {last_lines(ended.output)}")
    if ended.code:
        raise Unusable(f"go {args[0]} failed with exit code {ended.code}: {last_lines(ended.output)}")
    return ended.spent_s


def _output_name(program: Program) -> str:
    """What `go build -o folder/` calls it: the last part of the package path that is not a major version."""
    head, _, last = program.package.rpartition("/")
    return head.rpartition("/")[2] if last.startswith("v") and last[1:].isdigit() else last
