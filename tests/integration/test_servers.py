"""The recipes give real, static programs. Cheap when the cache has them; else each is downloaded or built."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chaoskit.clusters.binaries import KNOWN_VERSIONS, find
from chaoskit.clusters.programs import SERVERS, Program, check_version

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

EVERY_PROGRAM = [
    pytest.param(program, version, id=f"{program.name}-{version}")
    for server in SERVERS.values()
    for version in KNOWN_VERSIONS[server.name]
    for program in server.programs_of(version)
]


@pytest.mark.parametrize(("program", "version"), EVERY_PROGRAM)
def test_every_program_with_a_recipe_runs_and_says_its_version(program: Program, version: str) -> None:
    found = find(program.name, version)
    assert (found.name, found.version) == (program.name, version)
    check_version(program, found.path, version)


@pytest.mark.parametrize(("program", "version"), EVERY_PROGRAM)
def test_every_program_that_chaoskit_installs_is_static(program: Program, version: str) -> None:
    found = find(program.name, version)
    if found.source in ("explicit", "path"):
        pytest.skip(f"{found.path} is not ours")
    assert not needs_a_loader(found.path), f"{found.path} would not run in an image made from scratch"


def test_a_version_without_a_recipe_is_built_from_the_module_proxy(tmp_path: Path) -> None:
    assert "2.11.0" not in KNOWN_VERSIONS["toxiproxy"]  # the smallest server: 4 s
    lines: list[str] = []
    found = find("toxiproxy-server", "2.11.0", cache=tmp_path, say=lines.append)
    if found.source != "built":
        pytest.skip(f"this machine has one already: {found}")
    said = subprocess.run([found.path, "--version"], capture_output=True, text=True, timeout=20, check=True)
    assert said.stdout.strip() == "toxiproxy-server version 2.11.0"
    assert lines[0] == "toxiproxy 2.11.0 has no recipe: asking the Go module proxy for it …"


def needs_a_loader(path: Path) -> bool:
    """Whether an ELF file asks for a dynamic loader: it has a program header of type PT_INTERP (3)."""
    with path.open("rb") as file:
        head = file.read(64)
        assert head[:6] == b"\x7fELF\x02\x01", f"{path} is no 64-bit little-endian ELF file"
        offset, size, count = (
            int.from_bytes(head[at : at + width], "little") for at, width in ((32, 8), (54, 2), (56, 2))
        )
        file.seek(offset)
        headers = file.read(size * count)
    return any(int.from_bytes(headers[at : at + 4], "little") == 3 for at in range(0, len(headers), size))
