"""Where a server's binary comes from: one chain of ways, the same for every server.

    explicit path → chaoskit's cache → PATH → official release archive → Go build

The first way that gives a program which *says* the wanted version wins. Only the last two install, into
`<cache>/servers/<server>/<version>/`: made whole in a folder beside it and then renamed, under a lock, so two runs at
once or a killed build never leave half a server behind.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaoskit.clusters import go_builds, releases
from chaoskit.clusters.programs import SERVERS, VERSION, Program, Server, Unusable, check_version
from chaoskit.errors import ServerNotFound

KNOWN_VERSIONS: dict[str, tuple[str, ...]] = {  # server → versions with a recipe, newest last
    "etcd": ("3.5.33", "3.6.14", "3.7.1"),
    "toxiproxy": ("2.12.0",),
}

_WAYS = ("explicit path", "cache", "PATH", "release archive", "Go build")
_LOCK_DEADLINE_S = 3000.0  # a download, a go get and a go build that each end at their own deadline, with room


@dataclass(frozen=True, slots=True)
class Binary:
    """One program on disk that said it has this version."""

    name: str  # "etcd", "etcdctl", "etcdutl", "toxiproxy-server"
    version: str  # "3.6.14"
    path: Path
    source: str  # "explicit" | "cache" | "path" | "release" | "built"


@dataclass(frozen=True, slots=True)
class _Wanted:
    server: Server
    program: Program
    version: str
    home: Path  # folder in the cache that holds, or will hold, this version

    def binary(self, path: Path, source: str) -> Binary:
        return Binary(self.program.name, self.version, path, source)

    def __str__(self) -> str:
        return f"{self.program.name} {self.version}"


def say_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def find(
    name: str,
    version: str,
    *,
    explicit: Path | None = None,
    say: Callable[[str], None] = say_to_stderr,
    cache: Path | None = None,
) -> Binary:
    """The program `name` of exactly this version; may download or build it, which `say` is told about.

    `explicit` (a file, or a folder that holds the program) and the environment variable of the server
    (`CHAOSKIT_ETCD`, `CHAOSKIT_TOXIPROXY`) are orders: when they do not fit, nothing else is tried.
    Raises ServerNotFound, which lists every way, why it failed, and what to do.
    """
    wanted = _wanted(name, version, (cache or cache_dir()).absolute())
    failed: dict[str, str] = {}
    try:
        named = _named(wanted, explicit)
        if named is not None:
            return named
        own = os.environ.get(wanted.server.variable)
        why = f"names only {own}" if own else "is not set"
        failed["explicit path"] = f"none given ({wanted.server.variable} {why})"
    except Unusable as reason:
        failed["explicit path"] = str(reason)
        raise _not_found(wanted, failed) from reason
    for way, look in (("cache", _cached), ("PATH", _on_path)):
        try:
            return look(wanted)
        except Unusable as reason:
            failed[way] = str(reason)
    try:
        with _installing(wanted, say) as work:
            return _install(wanted, work, failed, say)
    except (Unusable, OSError) as reason:
        for way in _WAYS[3:]:
            failed.setdefault(way, str(reason))
        raise _not_found(wanted, failed) from reason


def cached(server: str, version: str, cache: Path | None = None) -> Path | None:
    """The program of a server ("etcd", "toxiproxy") if the cache has a good one; gets nothing, for reports."""
    wanted = _wanted(SERVERS[server].programs[0].name, version, (cache or cache_dir()).absolute())
    try:
        return _cached(wanted).path
    except Unusable:
        return None


def cache_dir() -> Path:
    """`$CHAOSKIT_CACHE`, else `$XDG_CACHE_HOME/chaoskit`, else `~/.cache/chaoskit`."""
    own = os.environ.get("CHAOSKIT_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "chaoskit"


def recipes_dir() -> Path:
    """The folder of recipes, `<server>/<version>/`: inside an installed package, else `docker/` of the checkout."""
    packaged = Path(__file__).parents[1] / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "docker"


def _wanted(name: str, version: str, cache: Path) -> _Wanted:
    """What is asked for. Raises ServerNotFound for a name or a version that cannot exist."""
    programs = {program.name: (server, program) for server in SERVERS.values() for program in server.programs}
    if name not in programs:
        raise ServerNotFound(f"chaoskit knows no program {name!r}; there are {', '.join(programs)}")
    server, program = programs[name]
    if not re.fullmatch(VERSION, version, re.ASCII):  # it becomes a path and an argument
        known = ", ".join(KNOWN_VERSIONS[server.name])
        raise ServerNotFound(f"{version!r} is no version of {name}; write one like {known}")
    if program not in server.programs_of(version):
        first = ".".join(str(part) for part in program.since)
        raise ServerNotFound(f"{server.name} {version} has no {name}; it came with {first}")
    return _Wanted(server, program, version, cache / "servers" / server.name / version)


def _named(wanted: _Wanted, explicit: Path | None) -> Binary | None:
    """The program at the path that the user gave; None when none was given, or a server's file without this tool."""
    variable = wanted.server.variable
    given = explicit or (Path(os.environ[variable]) if os.environ.get(variable) else None)
    if given is None:
        return None
    origin = "given" if explicit else f"from {variable}"
    path = given.expanduser().absolute()
    if path.is_dir():
        of_version = path / wanted.version / wanted.program.name  # a folder with one folder per version
        path = of_version if of_version.is_file() else path / wanted.program.name
    elif explicit is None and wanted.program is not wanted.server.programs[0]:
        path = path.with_name(wanted.program.name)  # the variable names the server; its tools may lie beside it
        if not path.is_file():
            return None
    try:
        check_version(wanted.program, path, wanted.version)
    except Unusable as reason:
        raise Unusable(f"{reason} ({origin})") from reason
    return wanted.binary(path, "explicit")


def _cached(wanted: _Wanted) -> Binary:
    path = wanted.home / wanted.program.name
    check_version(wanted.program, path, wanted.version)
    return wanted.binary(path, "cache")


def _on_path(wanted: _Wanted) -> Binary:
    """The first program on PATH that has the wanted version, even behind one that has another."""
    passed_over = []
    for folder in dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep)):
        path = Path(folder) / wanted.program.name
        if not path.is_absolute() or not os.access(path, os.X_OK) or path.is_dir():
            continue
        try:
            check_version(wanted.program, path, wanted.version)
        except Unusable as reason:
            passed_over.append(str(reason))
        else:
            return wanted.binary(path, "path")
    raise Unusable("; ".join(passed_over) or f"there is no {wanted.program.name} on PATH")


@contextmanager
def _installing(wanted: _Wanted, say: Callable[[str], None]) -> Iterator[Path]:
    """An empty work folder beside the server's home, for the only process that may install it."""
    parent = wanted.home.parent
    parent.mkdir(parents=True, exist_ok=True)
    with locked(parent / f".{wanted.version}.lock", f"{wanted.server.name} {wanted.version}", say):
        # whoever made these is dead, or it would hold the lock; "+" cannot be in a version, so they are this version's
        for stale in parent.glob(f".{wanted.version}+*.tmp"):
            shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{wanted.version}+", suffix=".tmp", dir=parent, ignore_cleanup_errors=True
        ) as work:
            yield Path(work)


@contextmanager
def locked(path: Path, what: str, say: Callable[[str], None], deadline_s: float = _LOCK_DEADLINE_S) -> Iterator[None]:
    """Hold the lock on `path`; the kernel lets go of it however we die. Raises Unusable at the deadline."""
    began, told = time.monotonic(), False
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not told:
                    told = True
                    say(f"another chaoskit is building {what}, waiting …")
                if time.monotonic() - began > deadline_s:
                    raise Unusable(f"another chaoskit has held {path} for more than {deadline_s:g} s") from error
                time.sleep(0.1)
        yield


def _install(wanted: _Wanted, work: Path, failed: dict[str, str], say: Callable[[str], None]) -> Binary:
    """Download or build the server, then rename it into place. Raises Unusable when neither works."""
    try:
        return _cached(wanted)  # another run has finished it while we waited
    except Unusable:
        pass
    server, version = wanted.server, wanted.version
    recipe = recipes_dir() / server.name / version

    def download(work: Path, into: Path) -> None:
        releases.install(server, version, work=work, into=into, say=say)

    def build(work: Path, into: Path) -> None:
        go_builds.build(server, version, recipe=recipe, work=work, into=into, say=say)

    for way, source, make in (("release archive", "release", download), ("Go build", "built", build)):
        scratch, new = work / source / "scratch", work / source / "new"
        scratch.mkdir(parents=True)
        new.mkdir()
        try:
            make(scratch, new)
            for program in server.programs_of(version):
                check_version(program, new / program.name, version)
        except (Unusable, OSError) as reason:
            failed[way] = str(reason)
            continue
        if wanted.home.exists():  # broken, or _cached would have returned it
            say(f"replacing the cached {server.name} {version}: {failed['cache']}")
            wanted.home.rename(work / "broken")
        new.rename(wanted.home)
        return wanted.binary(wanted.home / wanted.program.name, source)
    raise Unusable("no way to install it worked")


def _not_found(wanted: _Wanted, failed: dict[str, str]) -> ServerNotFound:
    server = wanted.server
    ways = (f"  {way}: {failed.get(way, 'not tried, because a path was given')}" for way in _WAYS)
    indented = (line.replace("\n", "\n      ") for line in ways)
    known = ", ".join(KNOWN_VERSIONS[server.name])
    return ServerNotFound(
        f"{wanted} was not found. Ways, in their order:\n"
        + "\n".join(indented)
        + f"\nOne of these helps: set {server.variable} to a file or folder with {wanted}; put it on PATH; "
        f"let this machine reach {releases.SITE}, or a mirror of it named in {releases.SITE_VARIABLE}; "
        f"install a current Go, and let it reach a module proxy; or ask for a version with a recipe ({known})."
    )
