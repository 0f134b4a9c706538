"""The server programs that chaoskit runs: where each comes from, and how to ask one for its version.

`run` is how this package asks and builds programs: in a process group of its own, with a deadline, and with nothing
left running when it returns or raises.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VERSION = r"\d+\.\d+\.\d+(?:-[a-z0-9.]+)?"
_ASK_DEADLINE_S = 10.0
_OUTPUT_BYTES = 8000


class Unusable(Exception):
    """One way to a program is closed; says why. `binaries.find` collects these."""


@dataclass(frozen=True, slots=True)
class Program:
    """One executable of a server."""

    name: str
    package: str  # the Go main package that it is built from
    version_args: tuple[str, ...]
    since: tuple[int, int] = (0, 0)  # first minor version of the server that has it


@dataclass(frozen=True, slots=True)
class Server:
    """Programs that are installed together: one recipe folder, one release archive, one folder in the cache."""

    name: str
    programs: tuple[Program, ...]  # the first is the server itself
    variable: str  # environment variable with the user's own file or folder
    archive: str  # path of the release archive below the release site, with {version} and {arch}
    archive_folder: str  # folder of the programs inside the archive, likewise; "" when there is none
    version_symbol: str = ""  # Go string that the linker has to set to the version, where the source does not hold it

    def programs_of(self, version: str) -> tuple[Program, ...]:
        major, minor = (int(part) for part in version.split(".")[:2])
        return tuple(program for program in self.programs if program.since <= (major, minor))


SERVERS: dict[str, Server] = {
    "etcd": Server(
        name="etcd",
        programs=(
            Program("etcd", "go.etcd.io/etcd/server/v3", ("--version",)),
            Program("etcdctl", "go.etcd.io/etcd/etcdctl/v3", ("version",)),
            Program("etcdutl", "go.etcd.io/etcd/etcdutl/v3", ("version",), since=(3, 5)),
        ),
        variable="CHAOSKIT_ETCD",
        archive="etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz",
        archive_folder="etcd-v{version}-linux-{arch}/",
    ),
    "toxiproxy": Server(
        name="toxiproxy",
        programs=(Program("toxiproxy-server", "github.com/Shopify/toxiproxy/v2/cmd/server", ("--version",)),),
        variable="CHAOSKIT_TOXIPROXY",
        archive="Shopify/toxiproxy/releases/download/v{version}/toxiproxy_{version}_linux_{arch}.tar.gz",
        archive_folder="",
        version_symbol="github.com/Shopify/toxiproxy/v2.Version",  # else it says "git"
    ),
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int | None  # None: still running at its deadline, and killed
    spent_s: float
    output: str  # the end of what it printed, both streams


def run(
    command: Sequence[str | Path],
    *,
    deadline_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    every_s: float = 10.0,
    tell: Callable[[float], None] | None = None,
) -> Ended:
    """Run a command to its end or its deadline; `tell` hears the seconds spent, every `every_s`.

    The output goes to a file and not to a pipe: a grandchild that outlives the command would hold a pipe open and us
    with it. Raises OSError when the command cannot be started.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        code: int | None = None
        try:
            while code is None and (spent_s := time.monotonic() - began) < deadline_s:
                try:
                    code = child.wait(timeout=min(every_s, deadline_s - spent_s))
                except subprocess.TimeoutExpired:
                    if tell:
                        tell(time.monotonic() - began)
        finally:
            _kill_group(child)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - _OUTPUT_BYTES))
        text = output.read().decode(errors="replace").strip()
    return Ended(code, time.monotonic() - began, text)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """End whatever is left of the command, its own children too (a Go build has many)."""
    with contextlib.suppress(ProcessLookupError):  # the group outlives its leader while one member is left
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def check_version(program: Program, path: Path, version: str) -> None:
    """Ask the program at `path` for its version. Raises Unusable when it is another one, or not that program."""
    if not path.is_file():
        raise Unusable(f"no file {path}")
    try:
        ended = run([path, *program.version_args], deadline_s=_ASK_DEADLINE_S)
    except OSError as error:
        raise Unusable(f"{path} cannot be run: {error.strerror}") from error
    # "etcd Version: 3.6.14", "etcdctl version: 3.6.14", "toxiproxy-server version 2.12.0"
    says = re.compile(rf"^{re.escape(program.name)} version:? +v?({VERSION})\s*$", re.MULTILINE | re.IGNORECASE)
    said = says.search(ended.output)
    if ended.code is None:
        raise Unusable(f"{path} did not say its version within {_ASK_DEADLINE_S:.0f} s")
    if said is None:
        printed = last_lines(ended.output, 3)
        raise Unusable(f"{path} does not say that it is {program.name}; exit code {ended.code}, printed {printed!r}")
    if said[1] != version:
        raise Unusable(f"{path} is {program.name} {said[1]}, not {version}")


def last_lines(output: str, count: int = 12) -> str:
    """The end of what a command printed, for an error."""
    return "\n".join(output.splitlines()[-count:]) or "nothing"
