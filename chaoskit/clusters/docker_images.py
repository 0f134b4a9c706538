"""Where a server's image comes from: what is here, what a registry has, what can be built from our own binaries.

    image: my-registry/etcd:tag    that one, pulled if it is not here
    images: pull                   the project's official image
    images: build                  from scratch around the binaries of the look-up chain (binaries.py, docker/)
    images: auto                   official or built if one is here; else official; else built

An official image is named by its digest where one is pinned here, and then nobody can give us another one; else by its
tag. `CHAOSKIT_IMAGE_MIRROR=registry.example:5000/path` stands for the registries of both projects.
"""

from __future__ import annotations

import io
import tarfile
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import IO, Any

from docker.errors import BuildError, ImageNotFound

from chaoskit.clusters import binaries
from chaoskit.clusters.docker_daemon import Daemon
from chaoskit.clusters.official_images import built_image, official_image
from chaoskit.clusters.programs import SERVERS
from chaoskit.contracts import ImageSource, Say
from chaoskit.errors import BedLost, ChaoskitError, InfrastructureError

_IN_MEMORY = 1 << 20
_PULL_SILENCE_S = 60.0  # a daemon gives up a registry that says nothing after 25 s, a download that stalls never


@dataclass(frozen=True, slots=True)
class Image:
    """One that containers can be made of."""

    reference: str
    identity: str  # by which the very same one is found again: digest in its registry, else its id at this daemon

    def __str__(self) -> str:
        return self.reference if self.identity in self.reference else f"{self.reference} ({self.identity})"


def image_for(
    daemon: Daemon, server: str, version: str, *, images: ImageSource, explicit: str, binary: Path | None, say: Say
) -> Image:
    """The image to make containers of. Raises InfrastructureError that says what every way met."""
    official, built = official_image(server, version), built_image(server, version)
    ways: dict[str, Callable[[], Image]] = {
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


def _here(daemon: Daemon, *references: str) -> Image:
    for reference in references:
        try:
            with daemon.asked(f"look for {reference}"):
                return _known(daemon.client.images.get(reference), reference)
        except InfrastructureError as error:
            if not isinstance(error.__cause__, ImageNotFound):
                raise
    raise InfrastructureError(f"the daemon has no {' or '.join(references)}")


def _pull(daemon: Daemon, reference: str, say: Say) -> Image:
    """Given up when nothing came for a while: docker-py would wait for ever, and takes a failed pull for a good one."""
    say(f"pulling {reference} …")
    told: Queue[dict[str, Any] | ChaoskitError] = Queue()
    threading.Thread(target=_listen_to_pull, args=(daemon, reference, told.put), daemon=True).start()
    while True:
        try:
            line = told.get(timeout=_PULL_SILENCE_S)
        except Empty:
            raise InfrastructureError(f"nothing of {reference} came in {_PULL_SILENCE_S:g} s") from None
        if isinstance(line, ChaoskitError):
            raise line
        if why := line.get("error"):
            raise InfrastructureError(f"{reference} cannot be pulled: {why}")
        if not line:
            break
    with daemon.asked(f"look for {reference}"):
        image = _known(daemon.client.images.get(reference), reference)
    say(f"pulled {image}")
    return image


def _listen_to_pull(daemon: Daemon, reference: str, tell: Callable[[dict[str, Any] | ChaoskitError], None]) -> None:
    """Every line of progress, then an empty one or why it ended."""
    try:
        with daemon.asked(f"pull {reference}"):
            for line in daemon.client.api.pull(reference, stream=True, decode=True):
                tell(line)
        tell({})
    except ChaoskitError as error:
        tell(error)


def _known(image: Any, reference: str) -> Image:
    """With its digest in the repository that it was asked of, if it came from there."""
    repository = reference.partition("@")[0]
    name, _, tag = repository.rpartition(":")
    if name and "/" not in tag:  # what follows the colon of a port is no tag
        repository = name
    digests = [str(each) for each in image.attrs.get("RepoDigests") or ()]
    digest = next((each.partition("@")[2] for each in digests if each.partition("@")[0] == repository), "")
    return Image(reference, digest or str(image.id))


def _build(daemon: Daemon, server: str, version: str, binary: Path | None, tag: str, say: Say) -> Image:
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
            image, _ = daemon.client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True, forcerm=True)
        except BuildError as error:
            raise InfrastructureError(f"{tag} could not be built: {error}") from error
    return Image(tag, str(image.id))


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
