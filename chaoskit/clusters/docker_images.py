"""Where a server's image comes from: what is here, what a registry has, what can be built from our own binaries.

    image: my-registry/etcd:tag    that one, pulled if it is not here
    images: pull                   the project's official image
    images: build                  from scratch around the binaries of the look-up chain (binaries.py, docker/)
    images: auto                   official or built if one is here; else official; else built

The official images are named by their tag: no digest of them is pinned here, so the one that was pulled is reported.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from docker.errors import BuildError, ImageNotFound

from chaoskit.clusters import binaries
from chaoskit.clusters.docker_daemon import Daemon
from chaoskit.clusters.programs import SERVERS
from chaoskit.contracts import ImageSource, Say
from chaoskit.errors import BedLost, InfrastructureError

OFFICIAL = {
    "etcd": "gcr.io/etcd-development/etcd:v{version}",
    "toxiproxy": "ghcr.io/shopify/toxiproxy:{version}",
}
_BUILT = "chaoskit/{server}:{version}"
_IN_MEMORY = 1 << 20


def image_for(
    daemon: Daemon, server: str, version: str, *, images: ImageSource, explicit: str, binary: Path | None, say: Say
) -> str:
    """A reference that containers can be made of. Raises InfrastructureError that says what every way met."""
    official, built = OFFICIAL[server].format(version=version), _BUILT.format(server=server, version=version)
    ways: dict[str, Callable[[], str]] = {
        "here": lambda: _here(daemon, explicit) if explicit else _here(daemon, official, built),
        "pull": lambda: _pull(daemon, explicit or official, say),
        "build": lambda: _build(daemon, server, version, binary, built, say),
    }
    wanted = ("here", "pull") if explicit else {"auto": tuple(ways), "pull": ("pull",), "build": ("build",)}[images]
    if binary and not explicit:  # named by the user: an image that was built before is of another one
        wanted = ("build",)
    failed = []
    for way in wanted:
        try:
            return ways[way]()
        except BedLost:
            raise
        except InfrastructureError as error:
            failed.append(f"  {way}: {error}")
    raise InfrastructureError(f"there is no image of {server} {version}:\n" + "\n".join(failed))


def _here(daemon: Daemon, *references: str) -> str:
    for reference in references:
        try:
            with daemon.asked(f"look for {reference}"):
                daemon.client.images.get(reference)
                return reference
        except InfrastructureError as error:
            if not isinstance(error.__cause__, ImageNotFound):
                raise
    raise InfrastructureError(f"the daemon has no {' or '.join(references)}")


def _pull(daemon: Daemon, reference: str, say: Say) -> str:
    say(f"pulling {reference} …")
    with daemon.asked(f"pull {reference}"):
        pulled = daemon.client.images.pull(reference)
        digests = pulled.attrs.get("RepoDigests") or [pulled.id]
    say(f"pulled {reference}, which is {digests[0]}")
    return reference


def _build(daemon: Daemon, server: str, version: str, binary: Path | None, tag: str, say: Say) -> str:
    """From scratch: no shell, no base image, nothing to download but the binaries themselves."""
    recipe = binaries.recipes_dir() / server / version / "Dockerfile"
    if not recipe.is_file():
        recipe = binaries.recipes_dir() / server / binaries.KNOWN_VERSIONS[server][-1] / "Dockerfile"
    programs = [
        binaries.find(program.name, version, explicit=binary, say=say).path
        for program in SERVERS[server].programs_of(version)
    ]
    say(f"building the image {tag} …")
    with _context(recipe, programs) as context, daemon.asked(f"build {tag}"):
        try:
            daemon.client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True)
        except BuildError as error:
            raise InfrastructureError(f"{tag} could not be built: {error}") from error
    return tag


def _context(recipe: Path, programs: list[Path]) -> IO[bytes]:
    """What the daemon needs for the build, as a tar file: the recipe and the binaries that it copies."""
    # not from the run: a context manager that the caller closes
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  type: ignore
    with tarfile.open(fileobj=file, mode="w") as tar:
        content = recipe.read_bytes()
        head = tarfile.TarInfo("Dockerfile")
        head.size = len(content)
        tar.addfile(head, io.BytesIO(content))
        for program in programs:
            tar.add(program.resolve(), arcname=program.name, filter=_executable)
    file.seek(0)
    return file


def _executable(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same bytes for everybody, so that the daemon's build cache knows them again."""
    info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname = 0o755, 0, 0, 0, "root", "root"
    return info
