"""Official release archives: downloaded, checked against a pinned SHA-256, unpacked with suspicion.

An archive without a known checksum is never used. The pins below are those that the projects publish beside their
archives (`SHA256SUMS`, `checksums.txt`); for another version the user hands in such a file.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import platform
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from chaoskit.clusters.programs import Server, Unusable

SITE = "https://github.com"
SITE_VARIABLE = "CHAOSKIT_RELEASE_URL"  # a mirror with the same paths below it
SUMS_VARIABLE = "CHAOSKIT_RELEASE_SHA256SUMS"  # a file in sha256sum's format, for versions that are not pinned here

PINS: dict[tuple[str, str, str], str] = {
    ("etcd", "3.5.33", "amd64"): "5025b5b24d81a9616b6e284ccd439b9a3df055ef8fdcdc142af3ec8f6a3b3c95",
    ("etcd", "3.5.33", "arm64"): "0764c5c0acef155f4bfa0487791cc5776adef66315bf16ec0653883bfd463a90",
    ("etcd", "3.6.14", "amd64"): "ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5",
    ("etcd", "3.6.14", "arm64"): "fa1b80565ee6fc2df1ae6f57a508b221f3ecc7d591c317c581cd8281b0842b3e",
    ("etcd", "3.7.1", "amd64"): "e8cd3fa8064c98137c5dbd78b76f969417ace84efb83c481041d7a52ffdd8fb9",
    ("etcd", "3.7.1", "arm64"): "d7e25e08f694b6ed7792fc7b7a891fe2c3f3d3dccfe2f3bfdb1547b0eb75b6da",
    ("toxiproxy", "2.12.0", "amd64"): "65e042d3fc2290c099527bc506446a6fd863a09f113b8944b636ece70221c2b3",
    ("toxiproxy", "2.12.0", "arm64"): "ab417dafc77ae8b54ec8461cc5da5180d0465a61dcbda86c72da72ee4ab843b7",
}

_ARCHES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_STALL_S = 20.0  # one connect or one read
_DEADLINE_S = 600.0
_TELL_EVERY_S = 10.0
_ARCHIVE_BYTES = 300 * 1024**2  # the largest so far has 24 MB
_UNPACKED_BYTES = 1024**3


def install(server: Server, version: str, *, work: Path, into: Path, say: Callable[[str], None]) -> None:
    """Put every program of the server from its release archive into the empty folder `into`, by way of `work`.

    Raises Unusable: no archive for this machine, no checksum, no download, wrong checksum, damaged archive.
    """
    arch = _ARCHES.get(platform.machine().lower())
    if platform.system() != "Linux" or arch is None:
        here = f"{platform.system()} {platform.machine()}"
        raise Unusable(f"release archives are used on Linux amd64 and arm64 only, this is {here}")
    path = server.archive.format(version=version, arch=arch)
    sha256 = _checksum(server.name, version, arch, path.rpartition("/")[2])
    archive = work / "archive.tar.gz"
    url = f"{os.environ.get(SITE_VARIABLE, SITE).rstrip('/')}/{path}"
    download(url, archive, sha256, say=say)
    folder = server.archive_folder.format(version=version, arch=arch)
    unpack(archive, {folder + program.name: into / program.name for program in server.programs_of(version)})


def _checksum(server: str, version: str, arch: str, file_name: str) -> str:
    """The user's own checksum of the archive, else the pinned one."""
    own = os.environ.get(SUMS_VARIABLE)
    if own:
        try:
            lines = Path(own).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"{SUMS_VARIABLE}={own} cannot be read: {error}") from error
        for line in lines:
            match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line.strip())
            if match and match[2].rpartition("/")[2] == file_name:
                return match[1].lower()
    pinned = PINS.get((server, version, arch))
    if pinned is None:
        raise Unusable(f"no pinned checksum for {file_name}; name the project's checksum file in {SUMS_VARIABLE}")
    return pinned


def download(
    url: str,
    target: Path,
    sha256: str,
    *,
    say: Callable[[str], None],
    stall_s: float = _STALL_S,
    deadline_s: float = _DEADLINE_S,
) -> None:
    """Write the body of `url` to `target`. Raises Unusable when it is not whole or has another checksum."""
    if not url.startswith(("https://", "http://")):
        raise Unusable(f"{url} is no http or https address; look at {SITE_VARIABLE}")
    say(f"downloading {url} …")
    began = told = time.monotonic()
    digest, size = hashlib.sha256(), 0
    try:
        # S310 fears file: addresses, which were refused above
        with urllib.request.urlopen(url, timeout=stall_s) as response, target.open("wb") as file:  # noqa: S310
            announced = response.headers.get("Content-Length")
            # read1 and not read: one recv each, so that a trickle cannot outrun the deadline
            while block := response.read1(1 << 20):
                size += len(block)
                now = time.monotonic()
                if size > _ARCHIVE_BYTES:
                    raise Unusable(f"{url} is larger than {_ARCHIVE_BYTES} bytes")
                if now - began > deadline_s:
                    raise Unusable(f"{url} was not down within {deadline_s:g} s: {size} bytes so far")
                if now - told >= _TELL_EVERY_S:
                    told = now
                    say(f"downloading {url}: {size / 1e6:.1f} MB in {now - began:.0f} s so far")
                digest.update(block)
                file.write(block)
    except urllib.error.HTTPError as error:
        raise Unusable(f"{url}: HTTP {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise Unusable(f"{url}: no answer for {stall_s:g} s") from error
    except urllib.error.URLError as error:
        stalled = isinstance(error.reason, TimeoutError)
        raise Unusable(f"{url}: {f'no answer for {stall_s:g} s' if stalled else error.reason}") from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise Unusable(f"{url}: {error or type(error).__name__}") from error
    if announced is not None and int(announced) != size:
        raise Unusable(f"{url} is truncated: {size} of {announced} bytes came")
    if digest.hexdigest() != sha256:
        raise Unusable(f"{url} has the wrong checksum: SHA-256 {digest.hexdigest()}, pinned is {sha256}")


def unpack(archive: Path, wanted: Mapping[str, Path]) -> None:
    """Copy the wanted members of a tar.gz to the files given with them; nothing else of the archive touches the disk.

    Raises Unusable when a member is missing, is no plain file, or the archive is damaged or swollen.
    """
    missing, unpacked = dict(wanted), 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                unpacked += member.size
                if unpacked > _UNPACKED_BYTES:
                    raise Unusable(f"the archive unpacks to more than {_UNPACKED_BYTES} bytes")
                target = missing.pop(member.name.removeprefix("./"), None)
                if target is None:
                    continue
                body = tar.extractfile(member) if member.isreg() else None
                if body is None:
                    raise Unusable(f"{member.name} in the archive is no plain file")
                with body, target.open("xb") as file:
                    shutil.copyfileobj(body, file)
                target.chmod(0o755)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise Unusable(f"the archive is damaged: {error}") from error
    if missing:
        raise Unusable(f"the archive has no {', '.join(missing)}")
