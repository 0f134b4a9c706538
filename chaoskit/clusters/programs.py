"""The server programs that chaoskit runs: which archive and Go package each is from, and how to ask it for its version.

`run` is the one way binaries are asked and built: its own process group, a deadline, nothing left running behind it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_VERSION = re.compile(r"\d+\.\d+\.\d+(-[a-z0-9.]+)?")
_VERSION_SAID = re.compile(r"\bversion:?\s+v?(" + _VERSION.pattern + r")(?![\w.+-])", re.IGNORECASE)
_ASK_DEADLINE_S = 10.0
_TAIL_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Program:
    """One executable of a server."""

    name: str
    package: str  # the Go main package it is built from
    version_args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Server:
    """What is installed together: one recipe folder, one release archive, one cache folder."""

    name: str
    programs: tuple[Program, ...]
    module: str  # Go module of `programs`, for `go get`
    variable: str  # environment variable that names a file or folder of the user's own
    archive_path: str  # below the release site; {version} and {arch} are filled in
    archive_folder: str  # folder of the programs inside the archive, "" for none
    version_symbol: str = ""  # Go string that the linker sets to the version, where the source does not hold it

    def program(self, name: str) -> Program:
        return next(program for program in self.programs if program.name == name)


SERVERS: dict[str, Server] = {
    "etcd": Server(
        name="etcd",
        programs=(
            Program("etcd", "go.etcd.io/etcd/server/v3", ("--version",)),
            Program("etcdctl", "go.etcd.io/etcd/etcdctl/v3", ("version",)),
            Program("etcdutl", "go.etcd.io/etcd/etcdutl/v3", ("version",)),
        ),
        module="",
        variable="CHAOSKIT_ETCD",
        archive_path="etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz",
        archive_folder="etcd-v{version}-linux-{arch}/",
    ),
    "toxiproxy": Server(
        name="toxiproxy",
        programs=(Program("toxiproxy-server", "github.com/Shopify/toxiproxy/v2/cmd/server", ("--version",)),),
        module="",
        variable="CHAOSKIT_TOXIPROXY",
        archive_path="Shopify/toxiproxy/releases/download/v{version}/toxiproxy_{version}_linux_{arch}.tar.gz",
        archive_folder="",
        version_symbol="github.com/Shopify/toxiproxy/v2.Version",
    ),
}
