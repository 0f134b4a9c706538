"""The look-up of server programs; shell scripts stand in for etcd and Go, a local server for the release page."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import io
import os
import platform
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chaoskit.clusters import go_builds, releases
from chaoskit.clusters.binaries import KNOWN_VERSIONS, Binary, cache_dir, cached, find, locked, recipes_dir
from chaoskit.clusters.programs import SERVERS, Unusable, check_version, run
from chaoskit.errors import ServerNotFound

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(platform.system() != "Linux", reason="release archives are used on Linux only"),
]

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
FOLDER = f"etcd-v9.9.9-linux-{ARCH}"
ARCHIVE = f"{FOLDER}.tar.gz"
ARCHIVE_PAGE = f"/etcd-io/etcd/releases/download/v9.9.9/{ARCHIVE}"
VERSION_LINE = {"etcd": "etcd Version: {}", "etcdctl": "etcdctl version: {}", "etcdutl": "etcdutl version: {}"}


def script(program: str, version: str) -> str:
    return f"#!/bin/sh\necho '{VERSION_LINE[program].format(version)}'\necho 'API version: 3.6'\n"


def put(folder: Path, version: str, *programs: str) -> Path:
    """Fake programs in a folder; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs:
        (folder / program).write_text(script(program, version))
        (folder / program).chmod(0o755)
    return folder / programs[0]


# The part of Go that the look-up uses. WHEN_BUILDING is shell that runs before the programs are written, in the folder
# they go to. PATH is the script's own, because the tests empty ours.
FAKE_GO = """#!/bin/sh
PATH=/usr/bin:/bin
echo "$CGO_ENABLED $*" >> LOG
[ "$1" = build ] || exit 0
while [ "$1" != -o ]; do shift; done
cat go.mod go.sum > SEEN 2>/dev/null
cd "$2" || exit 9
WHEN_BUILDING
for program in server etcdctl etcdutl; do
  name=$program; word=version
  [ $program = server ] && { name=etcd; word=Version; }
  printf '#!/bin/sh\\necho "%s %s: VERSION"\\n' $name $word > $program
  chmod +x $program
done
"""


@dataclass
class Bench:
    """A machine with nothing on it but what a test puts there."""

    root: Path
    lines: list[str] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def path(self) -> Path:
        return self.root / "bin"

    @property
    def home(self) -> Path:
        return self.cache / "servers" / "etcd" / "9.9.9"

    @property
    def go_log(self) -> Path:
        return self.root / "go.log"

    def find(self, name: str = "etcd", version: str = "9.9.9", explicit: Path | None = None) -> Binary:
        return find(name, version, explicit=explicit, say=self.lines.append, cache=self.cache)

    def failure(self, name: str = "etcd", version: str = "9.9.9", explicit: Path | None = None) -> str:
        with pytest.raises(ServerNotFound) as caught:
            self.find(name, version, explicit)
        return str(caught.value)

    def install_go(self, when_building: str = "", version: str = "9.9.9") -> None:
        text = FAKE_GO.replace("LOG", str(self.go_log)).replace("SEEN", str(self.root / "go.seen"))
        (self.path / "go").write_text(text.replace("WHEN_BUILDING", when_building).replace("VERSION", version))
        (self.path / "go").chmod(0o755)

    def leftovers(self) -> list[str]:
        """What an installation left in the cache; the lock file may stay."""
        return [
            str(path.relative_to(self.cache))
            for path in self.cache.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        ]

    def start(self) -> subprocess.Popen[str]:
        """The same look-up in a process of its own; it prints what is said and then the source."""
        code = (
            "from pathlib import Path; from chaoskit.clusters.binaries import find\n"
            f"said = lambda line: print(line, flush=True)\n"
            f"print(find('etcd', '9.9.9', cache=Path({str(self.cache)!r}), say=said).source)"
        )
        root = str(Path(__file__).parents[2])
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    made.path.mkdir()
    monkeypatch.setenv("PATH", str(made.path))
    for name in ("CHAOSKIT_ETCD", "CHAOSKIT_TOXIPROXY", "CHAOSKIT_CACHE", "CHAOSKIT_RELEASE_SHA256SUMS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHAOSKIT_RELEASE_URL", "http://127.0.0.1:1")  # nobody listens there: no test leaves this host
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return made


def wait_until(true: Callable[[], bool], what: str, deadline_s: float = 20.0) -> None:
    ends = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < ends, f"waited {deadline_s} s for {what}"
        time.sleep(0.01)


def running_in_group(group: int) -> list[str]:
    """Processes of a group that are not mere zombies, as /proc/<pid>/stat has them: pid (name) state parent group …"""
    running = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended while we looked
            line = path.read_text()
            state, _, process_group = line.rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                running.append(line)
    return running


# --- explicit paths --------------------------------------------------------------------------------------------------


def test_an_explicit_file_of_the_wanted_version_is_taken_whatever_it_is_called(bench: Bench) -> None:
    path = put(bench.root / "own", "9.9.9", "etcd").rename(bench.root / "own" / "etcd-patched")
    put(bench.home, "9.9.9", "etcd")
    assert bench.find(explicit=path) == Binary("etcd", "9.9.9", path, "explicit")


def test_an_explicit_file_of_another_version_is_an_error_and_nothing_else_is_tried(bench: Bench) -> None:
    put(bench.home, "9.9.9", "etcd")
    path = put(bench.root / "own", "8.8.8", "etcd")
    message = bench.failure(explicit=path)
    assert f"explicit path: {path} is etcd 8.8.8, not 9.9.9 (given)" in message
    assert "cache: not tried, because a path was given" in message


@pytest.mark.parametrize("shape", ["own/etcd", "own", "own/9.9.9/etcd"])
def test_the_environment_variable_names_a_file_or_a_folder_or_a_folder_of_versions(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    inside = "own/9.9.9" if "9.9.9" in shape else "own"
    path = put(bench.root / inside, "9.9.9", "etcd")
    monkeypatch.setenv("CHAOSKIT_ETCD", str(bench.root / ("own/etcd" if shape == "own/etcd" else "own")))
    assert bench.find() == Binary("etcd", "9.9.9", path, "explicit")


def test_a_folder_of_versions_serves_each_version_from_its_own_folder(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_ETCD", str(bench.root / "own"))
    put(bench.root / "own", "7.7.7", "etcd")
    for version in ("8.8.8", "9.9.9"):
        put(bench.root / "own" / version, version, "etcd")
    assert [bench.find(version=version).path.parent.name for version in ("8.8.8", "9.9.9")] == ["8.8.8", "9.9.9"]


def test_a_mismatch_of_the_environment_variable_is_said_with_its_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_ETCD", str(put(bench.root / "own", "8.8.8", "etcd")))
    assert "is etcd 8.8.8, not 9.9.9 (from CHAOSKIT_ETCD)" in bench.failure()


def test_a_tool_is_taken_from_beside_the_server_that_the_variable_names(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_ETCD", str(put(bench.root / "own", "9.9.9", "etcd", "etcdctl")))
    assert bench.find("etcdctl") == Binary("etcdctl", "9.9.9", bench.root / "own" / "etcdctl", "explicit")


def test_a_tool_that_does_not_lie_beside_the_named_server_is_looked_for_elsewhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = put(bench.root / "own", "9.9.9", "etcd")
    monkeypatch.setenv("CHAOSKIT_ETCD", str(server))
    assert f"explicit path: none given (CHAOSKIT_ETCD names only {server})" in bench.failure("etcdctl")
    put(bench.home, "9.9.9", "etcdctl")
    assert bench.find("etcdctl").source == "cache"


def test_another_program_under_the_name_of_the_server_is_refused(bench: Bench) -> None:
    path = bench.root / "etcd"
    put(bench.root, "9.9.9", "etcdctl").rename(path)
    assert f"{path} does not say that it is etcd; exit code 0, printed 'etcdctl version: 9.9.9" in bench.failure(
        explicit=path
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no file"), ("", "cannot be run"), ("#!/bin/sh\nexit 3\n", "exit code 3, printed 'nothing'")],
)
def test_a_path_that_leads_to_no_program_says_why(bench: Bench, content: str | None, said: str) -> None:
    path = bench.root / "etcd"
    if content is not None:
        path.write_text(content)
        path.chmod(0o755)
    assert said in bench.failure(explicit=path)


# --- cache and PATH --------------------------------------------------------------------------------------------------


def test_the_cache_goes_before_path(bench: Bench) -> None:
    put(bench.path, "9.9.9", "etcd")
    path = put(bench.home, "9.9.9", "etcd")
    assert bench.find() == Binary("etcd", "9.9.9", path, "cache")
    assert bench.lines == []


def test_a_report_sees_what_the_cache_has_and_gets_nothing(bench: Bench) -> None:
    bench.install_go()
    put(bench.path, "9.9.9", "etcd")
    assert cached("etcd", "9.9.9", bench.cache) is None
    path = put(bench.home, "9.9.9", "etcd")
    assert cached("etcd", "9.9.9", bench.cache) == path
    path.write_text("broken")
    assert cached("etcd", "9.9.9", bench.cache) is None
    assert not bench.go_log.exists()


def test_a_program_on_path_with_another_version_is_passed_over_for_a_later_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bench.path, "8.8.8", "etcd")
    later = put(bench.root / "later", "9.9.9", "etcd")
    monkeypatch.setenv("PATH", f"{bench.path}:{bench.root / 'missing'}:{later.parent}")
    assert bench.find() == Binary("etcd", "9.9.9", later, "path")


def test_a_version_that_only_begins_alike_is_another_version(bench: Bench) -> None:
    put(bench.path, "9.9.99", "etcd")
    assert "is etcd 9.9.99, not 9.9.9" in bench.failure()
    put(bench.path, "9.9.9-rc.1", "etcd")
    assert "is etcd 9.9.9-rc.1, not 9.9.9" in bench.failure()


def test_nothing_is_run_from_the_current_folder(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bench.root / "here", "9.9.9", "etcd")
    monkeypatch.chdir(bench.root / "here")
    monkeypatch.setenv("PATH", ":.")
    assert "PATH: there is no etcd on PATH" in bench.failure()


def test_a_broken_program_in_the_cache_is_said_and_replaced(bench: Bench) -> None:
    put(bench.home, "9.9.9", "etcd").write_bytes(b"")
    bench.install_go()
    assert bench.find().source == "built"
    assert any(line.startswith("replacing the cached etcd 9.9.9: ") for line in bench.lines)
    assert bench.find().source == "cache"


# --- release archives ------------------------------------------------------------------------------------------------


@dataclass
class Page:
    body: bytes
    announce: int | None = None  # Content-Length, when it is not the truth
    go_on: threading.Event | None = None  # sends nothing after the headers until this is set
    trickle_s: float = 0  # pause after each byte


@dataclass
class Site:
    url: str
    pages: dict[str, Page]
    asked: list[str]


@pytest.fixture
def site(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A local server with the paths of the real release page, and our environment pointing at it."""
    pages: dict[str, Page] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(page.body) if page.announce is None else page.announce))
            self.end_headers()
            if page.go_on:
                page.go_on.wait(20)
            step = 1 if page.trickle_s else len(page.body)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
                for at in range(0, len(page.body), step or 1):
                    self.wfile.write(page.body[at : at + step])
                    time.sleep(page.trickle_s)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("CHAOSKIT_RELEASE_URL", url)
        try:
            yield Site(url, pages, asked)
        finally:
            server.shutdown()
            thread.join()


def archive(version: str = "9.9.9", programs: tuple[str, ...] = ("etcd", "etcdctl", "etcdutl")) -> bytes:
    """A release archive as the etcd project packs it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        add(tar, f"{FOLDER}/README.md", b"read me")
        for program in programs:
            add(tar, f"{FOLDER}/{program}", script(program, version).encode())
    return gzip.compress(packed.getvalue(), mtime=0)  # the same bytes at every call


def add(tar: tarfile.TarFile, name: str, body: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(body)
    tar.addfile(info, io.BytesIO(body))


def vouch_for(body: bytes, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the checksum file that the project would publish with this archive."""
    sha256 = hashlib.sha256(body).hexdigest()
    (bench.root / "SHA256SUMS").write_text(f"{'0' * 64}  etcd-v9.9.9-darwin-amd64.zip\n{sha256}  {ARCHIVE}\n")
    monkeypatch.setenv("CHAOSKIT_RELEASE_SHA256SUMS", str(bench.root / "SHA256SUMS"))
    return sha256


def test_a_release_archive_with_the_right_checksum_is_installed_whole(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages[ARCHIVE_PAGE] = Page(archive())
    vouch_for(archive(), bench, monkeypatch)
    assert bench.find() == Binary("etcd", "9.9.9", bench.home / "etcd", "release")
    assert bench.lines == [f"downloading {site.url}{ARCHIVE_PAGE} …"]
    assert sorted(path.name for path in bench.home.iterdir()) == ["etcd", "etcdctl", "etcdutl"]
    assert [bench.find(name).source for name in ("etcd", "etcdctl", "etcdutl")] == ["cache"] * 3
    assert site.asked == [ARCHIVE_PAGE]


def test_an_archive_with_the_wrong_checksum_is_never_unpacked(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = vouch_for(archive(), bench, monkeypatch)
    other = archive(programs=("etcd", "etcdutl", "etcdctl"))
    site.pages[ARCHIVE_PAGE] = Page(other)
    came = hashlib.sha256(other).hexdigest()
    assert f"has the wrong checksum: SHA-256 {came}, pinned is {pinned}" in bench.failure()
    assert bench.leftovers() == []


def test_a_download_that_ends_early_is_called_truncated(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = archive()
    vouch_for(whole, bench, monkeypatch)
    site.pages[ARCHIVE_PAGE] = Page(whole[:100], announce=len(whole))
    assert f"is truncated: 100 of {len(whole)} bytes came" in bench.failure()
    assert bench.leftovers() == []


@pytest.mark.parametrize("kept", [0, 5, 100, 220])
def test_an_archive_that_was_published_truncated_is_called_damaged(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    cut = archive()[:kept]
    vouch_for(cut, bench, monkeypatch)
    site.pages[ARCHIVE_PAGE] = Page(cut)
    assert "release archive: the archive is damaged: " in bench.failure()
    assert bench.leftovers() == []


def test_a_release_page_without_the_archive_leads_to_a_build(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    vouch_for(archive(), bench, monkeypatch)
    assert f"release archive: {site.url}{ARCHIVE_PAGE}: HTTP 404 Not Found" in bench.failure()
    bench.install_go()
    assert bench.find().source == "built"


def test_a_release_site_that_refuses_the_connection_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    vouch_for(archive(), bench, monkeypatch)
    assert re.search(r"release archive: http://127\.0\.0\.1:1/.*: .*[Rr]efused", bench.failure())


def test_a_download_that_hangs_is_given_up(bench: Bench, site: Site) -> None:
    go_on = threading.Event()
    site.pages["/x"] = Page(b"x" * 10, go_on=go_on)
    began = time.monotonic()
    try:
        with pytest.raises(Unusable, match=r"/x: no answer for 0\.2 s"):
            releases.download(f"{site.url}/x", bench.root / "x", "0" * 64, say=bench.lines.append, stall_s=0.2)
    finally:
        go_on.set()
    assert time.monotonic() - began < 2


def test_a_download_that_trickles_is_given_up_at_its_deadline(bench: Bench, site: Site) -> None:
    site.pages["/x"] = Page(b"x" * 80, trickle_s=0.05)
    began = time.monotonic()
    with pytest.raises(Unusable, match=r"/x was not down within 0\.2 s: \d bytes so far"):
        releases.download(f"{site.url}/x", bench.root / "x", "0" * 64, say=bench.lines.append, deadline_s=0.2)
    assert time.monotonic() - began < 2


def test_an_archive_that_nobody_vouches_for_is_not_even_downloaded(bench: Bench, site: Site) -> None:
    site.pages[ARCHIVE_PAGE] = Page(archive())
    assert f"release archive: no pinned checksum for {ARCHIVE}" in bench.failure()
    assert site.asked == []


def test_a_checksum_file_that_cannot_be_read_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAOSKIT_RELEASE_SHA256SUMS", str(bench.root / "missing"))
    assert f"CHAOSKIT_RELEASE_SHA256SUMS={bench.root / 'missing'} cannot be read" in bench.failure()


def test_only_http_addresses_are_downloaded_from(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.root / "page").mkdir()
    monkeypatch.setenv("CHAOSKIT_RELEASE_URL", f"file://{bench.root}/page")
    vouch_for(archive(), bench, monkeypatch)
    assert "is no http or https address; look at CHAOSKIT_RELEASE_URL" in bench.failure()


def test_an_archive_without_one_of_the_programs_is_refused(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = archive(programs=("etcd", "etcdctl"))
    site.pages[ARCHIVE_PAGE] = Page(body)
    vouch_for(body, bench, monkeypatch)
    assert f"release archive: the archive has no {FOLDER}/etcdutl" in bench.failure()
    assert bench.leftovers() == []


def test_an_archive_whose_server_says_another_version_is_refused(
    bench: Bench, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = archive(version="8.8.8")
    site.pages[ARCHIVE_PAGE] = Page(body)
    vouch_for(body, bench, monkeypatch)
    assert "is etcd 8.8.8, not 9.9.9" in bench.failure()
    assert bench.leftovers() == []


def test_nothing_but_the_wanted_members_of_an_archive_touches_the_disk(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        for name in ("../evil", f"{tmp_path}/evil", "into/evil", "evil", "good"):
            add(tar, name, b"body")
    releases.unpack(tmp_path / "a.tar.gz", {"good": tmp_path / "into" / "good"})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar.gz", "good", "into"]
    assert (tmp_path / "into" / "good").read_bytes() == b"body"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_wanted_member_that_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("good")
        info.type, info.linkname = kind, "/etc/hostname"
        tar.addfile(info)
    with pytest.raises(Unusable, match="good in the archive is no plain file"):
        releases.unpack(tmp_path / "a.tar.gz", {"good": tmp_path / "out"})
    assert not (tmp_path / "out").exists()


def test_an_archive_that_would_swell_is_refused_before_it_does(tmp_path: Path) -> None:
    info = tarfile.TarInfo("good")
    info.size = 2 * 1024**3  # only the header says so; reading on would fail in another way
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        assert tar.fileobj is not None
        tar.fileobj.write(info.tobuf())
    with pytest.raises(Unusable, match="unpacks to more than"):
        releases.unpack(tmp_path / "a.tar.gz", {"good": tmp_path / "out"})


# --- builds ----------------------------------------------------------------------------------------------------------


def test_a_version_without_a_recipe_is_built_on_the_fly(bench: Bench) -> None:
    bench.install_go()
    assert bench.find() == Binary("etcd", "9.9.9", bench.home / "etcd", "built")
    fetched, built = bench.go_log.read_text().splitlines()
    modules = [f"go.etcd.io/etcd/{part}/v3" for part in ("server", "etcdctl", "etcdutl")]
    assert fetched == "0 get -tool " + " ".join(f"{module}@v9.9.9" for module in modules)
    assert built.startswith("0 build -mod=mod -buildvcs=false -trimpath -ldflags -s -w -o /")
    assert built.endswith(" ".join(modules))
    assert bench.lines[0] == "etcd 9.9.9 has no recipe: asking the Go module proxy for it …"
    assert bench.lines[1] == "building etcd 9.9.9 with Go (one time, about a minute) …"
    assert bench.lines[2:] == ["etcd 9.9.9 built in 0 s"]
    assert bench.leftovers() == [f"servers/etcd/9.9.9/{path.name}" for path in bench.home.iterdir()]
    assert sorted(path.name for path in bench.home.iterdir()) == ["etcd", "etcdctl", "etcdutl"]


def test_a_version_with_a_recipe_is_built_from_a_copy_of_it_and_its_go_sum_holds(bench: Bench) -> None:
    version = KNOWN_VERSIONS["etcd"][0]
    recipe = recipes_dir() / "etcd" / version
    before = {path.name: path.read_bytes() for path in recipe.iterdir()}
    bench.install_go(when_building='echo "module changed" > "$OLDPWD/go.mod"', version=version)
    assert bench.find(version=version).source == "built"
    (built,) = bench.go_log.read_text().splitlines()
    assert built.startswith("0 build -mod=readonly ")
    assert (bench.root / "go.seen").read_bytes() == before["go.mod"] + before["go.sum"]
    assert {path.name: path.read_bytes() for path in recipe.iterdir()} == before


def test_toxiproxy_is_told_its_version_by_the_linker(bench: Bench) -> None:
    bench.install_go()
    bench.failure("toxiproxy-server", "2.12.0")
    assert "-X github.com/Shopify/toxiproxy/v2.Version=2.12.0 -o" in bench.go_log.read_text()


def test_a_long_build_says_how_long_it_has_taken(bench: Bench) -> None:
    bench.install_go(when_building="sleep 0.3")
    work, into = bench.root / "work", bench.root / "into"
    work.mkdir()
    into.mkdir()
    recipe = bench.root / "none"
    go_builds.build(SERVERS["etcd"], "9.9.9", recipe=recipe, work=work, into=into, say=bench.lines.append, every_s=0.1)
    assert bench.lines[2:4] == ["building etcd 9.9.9: 0 s so far"] * 2
    assert bench.lines[-1] == "etcd 9.9.9 built in 0 s"


def test_a_failed_build_quotes_go_and_leaves_nothing_half_made(bench: Bench) -> None:
    bench.install_go(when_building="echo half > server; echo 'undefined: raft' >&2; exit 2")
    assert "Go build: go build failed with exit code 2: undefined: raft" in bench.failure()
    assert bench.leftovers() == []
    bench.install_go()
    assert bench.find().source == "built"


def test_a_build_whose_server_says_another_version_is_not_installed(bench: Bench) -> None:
    bench.install_go(version="8.8.8")
    assert "Go build: " in bench.failure()
    assert "is etcd 8.8.8, not 9.9.9" in bench.failure()
    assert bench.leftovers() == []


def test_a_build_without_go_says_so(bench: Bench) -> None:
    assert "Go build: there is no go on PATH" in bench.failure()


def test_a_killed_build_leaves_nothing_that_the_next_run_takes_for_a_server(bench: Bench) -> None:
    pid = bench.root / "go.pid"
    bench.install_go(when_building=f"echo half > server; echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60")
    killed = bench.start()
    wait_until(pid.exists, "the build to start")
    killed.kill()
    killed.communicate()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert [name for name in bench.leftovers() if name.endswith("/server")], "the killed build left its half-made file"
    assert not bench.home.exists()
    bench.install_go()
    assert bench.find().source == "built"
    assert [path.name for path in bench.home.parent.iterdir() if path.is_dir()] == ["9.9.9"]


def test_an_interrupted_build_takes_go_with_it(bench: Bench) -> None:
    pid = bench.root / "go.pid"
    bench.install_go(when_building=f"echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 60")
    interrupted = bench.start()
    wait_until(pid.exists, "the build to start")
    interrupted.send_signal(signal.SIGINT)
    output, _ = interrupted.communicate(timeout=20)
    assert "KeyboardInterrupt" in output
    wait_until(lambda: not running_in_group(int(pid.read_text())), "Go and its children to die")
    assert bench.leftovers() == []


def test_two_runs_at_once_build_once(bench: Bench) -> None:
    building, go_on = bench.root / "building", bench.root / "go_on"
    bench.install_go(when_building=f"touch {building}; while [ ! -e {go_on} ]; do sleep 0.02; done")
    first = bench.start()
    wait_until(building.exists, "the first run to build")
    second = bench.start()
    assert second.stdout is not None
    assert second.stdout.readline() == "another chaoskit is building etcd 9.9.9, waiting …\n"
    go_on.touch()
    assert first.communicate(timeout=20)[0].splitlines()[-1] == "built"
    assert second.communicate(timeout=20)[0].splitlines()[-1] == "cache"
    assert [line.split()[1] for line in bench.go_log.read_text().splitlines()] == ["get", "build"]


def test_a_lock_that_is_never_let_go_ends_at_its_deadline(tmp_path: Path) -> None:
    lines: list[str] = []
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with (
            pytest.raises(Unusable, match=r"another chaoskit has held .* for more than 0 s"),
            locked(tmp_path / "lock", "etcd 9.9.9", lines.append, deadline_s=0),
        ):
            pytest.fail("the lock was given away")
    assert lines == ["another chaoskit is building etcd 9.9.9, waiting …"]
    with locked(tmp_path / "lock", "etcd 9.9.9", lines.append, deadline_s=0):
        pass


def test_stale_folders_of_other_versions_are_left_alone(bench: Bench) -> None:
    mine, other = bench.home.parent / ".9.9.9+dead.tmp", bench.home.parent / ".9.9.9-rc.1+alive.tmp"
    mine.mkdir(parents=True)
    other.mkdir()
    bench.install_go()
    bench.find()
    assert (mine.exists(), other.exists()) == (False, True)


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_command_that_takes_long_is_told_about_and_stopped_at_its_deadline(tmp_path: Path) -> None:
    told: list[float] = []
    # the grandchild keeps the output open, which would hold up a reader of a pipe
    ended = run(
        ["/bin/sh", "-c", f"echo $$ > {tmp_path / 'pid'}; sleep 60 & echo begun; wait"],
        deadline_s=0.3,
        every_s=0.1,
        tell=told.append,
    )
    assert (ended.code, ended.output) == (None, "begun")
    assert 0.3 <= ended.spent_s < 5
    assert len(told) >= 2
    assert told == sorted(told)
    wait_until(lambda: not running_in_group(int((tmp_path / "pid").read_text())), "the grandchild to die")


def test_the_end_of_a_long_output_is_kept() -> None:
    ended = run([sys.executable, "-c", "print('x' * 100_000); print('last words'); raise SystemExit(7)"], deadline_s=20)
    assert ended.code == 7
    assert ended.output.endswith("x\nlast words")
    assert len(ended.output) < 10_000


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        (
            "etcd",
            "etcd Version: 3.6.14\nGit SHA: Not provided (use ./build instead of go build)\nGo Version: go1.26.8\n",
        ),
        ("etcdctl", "etcdctl version: 3.6.14\nAPI version: 3.6\n"),
        ("etcdutl", "etcdutl version: 3.6.14\nAPI version: 3.6\n"),
        ("toxiproxy-server", "toxiproxy-server version 3.6.14\n"),
    ],
)
def test_every_program_is_understood_when_it_says_its_version(tmp_path: Path, name: str, printed: str) -> None:
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\ncat <<'.'\n{printed}.\n")
    path.chmod(0o755)
    program = next(program for server in SERVERS.values() for program in server.programs if program.name == name)
    check_version(program, path, "3.6.14")
    with pytest.raises(Unusable, match=f"is {name} 3.6.14, not 3.6.1"):
        check_version(program, path, "3.6.1")


# --- the whole -------------------------------------------------------------------------------------------------------


def test_the_error_lists_every_way_in_order_and_what_to_do(bench: Bench) -> None:
    put(bench.path, "8.8.8", "etcd")
    assert bench.failure().splitlines() == [
        "etcd 9.9.9 was not found. Ways, in their order:",
        "  explicit path: none given (CHAOSKIT_ETCD is not set)",
        f"  cache: no file {bench.home}/etcd",
        f"  PATH: {bench.path}/etcd is etcd 8.8.8, not 9.9.9",
        f"  release archive: no pinned checksum for {ARCHIVE}; "
        "name the project's checksum file in CHAOSKIT_RELEASE_SHA256SUMS",
        "  Go build: there is no go on PATH",
        "One of these helps: set CHAOSKIT_ETCD to a file or folder with etcd 9.9.9; put it on PATH; let this machine "
        "reach https://github.com, or a mirror of it named in CHAOSKIT_RELEASE_URL; install a current Go, and let it "
        f"reach a module proxy; or ask for a version with a recipe ({', '.join(KNOWN_VERSIONS['etcd'])}).",
    ]


def test_a_cache_that_cannot_be_written_is_an_error_of_both_ways_that_install(bench: Bench) -> None:
    bench.cache.write_text("a file, not a folder")
    bench.install_go()
    message = bench.failure()
    assert len(re.findall(r"(release archive|Go build): .*Not a directory", message)) == 2


@pytest.mark.parametrize("version", ["", "3.6", "v3.6.14", "3.6.14/../..", "3.6.14 -x", "latest", "3.6.14\n", "٣.٦.١٤"])
def test_a_version_that_is_none_never_becomes_a_path_or_an_argument(bench: Bench, version: str) -> None:
    bench.install_go()
    assert "is no version of etcd; write one like" in bench.failure(version=version)
    assert not bench.cache.exists()
    assert not bench.go_log.exists()


def test_an_unknown_program_is_answered_with_those_there_are(bench: Bench) -> None:
    assert bench.failure("zookeeper") == (
        "chaoskit knows no program 'zookeeper'; there are etcd, etcdctl, etcdutl, toxiproxy-server"
    )


def test_a_tool_from_before_its_time_is_not_looked_for(bench: Bench) -> None:
    assert bench.failure("etcdutl", "3.4.23") == "etcd 3.4.23 has no etcdutl; it came with 3.5"


def test_a_second_program_of_one_build_comes_from_the_cache(bench: Bench) -> None:
    bench.install_go()
    found = [find(name, "9.9.9", say=bench.lines.append, cache=bench.cache) for name in ("etcd", "etcdctl")]
    assert [(binary.name, binary.source) for binary in found] == [("etcd", "built"), ("etcdctl", "cache")]


def test_the_cache_is_where_the_user_wants_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == Path("/home/me/.cache/chaoskit")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")  # its specification says to ignore such
    assert cache_dir() == Path("/home/me/.cache/chaoskit")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    assert cache_dir() == Path("/var/xdg/chaoskit")
    monkeypatch.setenv("CHAOSKIT_CACHE", "~/mine")
    assert cache_dir() == Path("/home/me/mine")


def test_known_versions_recipes_and_pins_are_the_same() -> None:
    known = {(server, version) for server, versions in KNOWN_VERSIONS.items() for version in versions}
    folders = {(path.parent.name, path.name) for path in recipes_dir().glob("*/*") if path.is_dir()}
    assert known == folders
    assert set(releases.PINS) == {(server, version, arch) for server, version in known for arch in ("amd64", "arm64")}
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in releases.PINS.values())
    assert len(set(releases.PINS.values())) == len(releases.PINS)


@pytest.mark.parametrize(("server", "version"), [(s, v) for s, versions in KNOWN_VERSIONS.items() for v in versions])
def test_a_recipe_names_exactly_its_version_and_an_image_of_its_programs(server: str, version: str) -> None:
    recipe = recipes_dir() / server / version
    modules = (recipe / "go.mod").read_text()
    sums = (recipe / "go.sum").read_text()
    for program in SERVERS[server].programs_of(version):
        assert re.search(rf"^(tool )?\s*{re.escape(program.package)}$", modules, re.MULTILINE)
        required = [line.split()[:2] for line in modules.splitlines() if f" v{version}" in line]
        module = next(name for name, _ in required if program.package.startswith(name))
        assert f"{module} v{version} h1:" in sums
        assert program.name in (recipe / "Dockerfile").read_text()
    assert version in (recipe / "Dockerfile").read_text()
